"""Damaged files and configs: a clear error or the same content, never a crash, a hang or code that is run."""

import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import test_detectors
import test_scores
import test_training
import yaml

from immature_ood import training
from immature_ood.checkpoints import load_model
from immature_ood.detectors import fit_all, load_fitted, save_fitted
from immature_ood.features import load_features, save_features
from immature_ood.scores import ScoreKey, Scores, load_scores, save_scores
from immature_ood.sidecars import read_checkpoint
from immature_ood.storage import StorageError, load_split, read_json_lines
from immature_ood.study import Study, StudyError

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One of every kind of file the workflow reads, with how it is read."""
    folder = tmp_path_factory.mktemp("files")
    test_training.train(folder, 1)
    checkpoint, features = test_scores.CHECKPOINT, test_scores.make_features()
    np.save(folder / "split.npy", test_training.pixels(5))
    save_features(folder / "features.safetensors", checkpoint, [features])
    configs = test_detectors.detectors("gradient_norms", "typicality")
    save_fitted(folder / "fitted.safetensors", fit_all(checkpoint, configs, {checkpoint: {1: features}}))
    key = ScoreKey("typicality", 1, "digits", "test")
    save_scores(folder / "scores.safetensors", Scores(checkpoint, 3.0, {("typicality", 1): ()}, {key: np.arange(9.0)}))
    return {
        folder / "1/weights.safetensors": load_model,
        folder / "1/state.safetensors": lambda path: training.restore(test_training.RUN, path.parent),
        folder / "1/log.jsonl": read_json_lines,
        folder / "1/checkpoint.json": read_checkpoint,
        folder / "split.npy": lambda path: load_split(path, test_training.DATA.check),
        folder / "features.safetensors": load_features,
        folder / "fitted.safetensors": load_fitted,
        folder / "scores.safetensors": load_scores,
    }


def mutated(content, generator):
    """The bytes with one to four of them changed, a stretch cut out, doubled or zeroed, or the end missing."""
    damaged = bytearray(content)
    start = generator.randrange(len(damaged))
    stop = min(start + generator.choice((1, 8, 300)), len(damaged))
    match generator.randrange(5):
        case 0:
            for _ in range(generator.randint(1, 4)):
                place = generator.randrange(min(len(damaged), generator.choice((16, 2000, len(damaged)))))
                damaged[place] = generator.randrange(256)
        case 1:
            del damaged[start:stop]
        case 2:
            damaged[start:start] = damaged[start:stop]
        case 3:
            damaged[start:stop] = bytes(stop - start)
        case 4:
            del damaged[start:]
    return bytes(damaged)


def damage(files, tries, seed):
    """Reads every file damaged `tries` times; returns how many were refused."""
    generator, refused = random.Random(seed), 0
    for path, load in files.items():
        content = path.read_bytes()
        try:
            for _ in range(tries):
                path.write_bytes(mutated(content, generator))
                try:
                    load(path)
                except StorageError as error:
                    refused += 1
                    assert path.name in str(error)  # noqa: PT017
                    assert "\n" not in str(error)  # noqa: PT017
        finally:
            path.write_bytes(content)
        load(path)
    return refused


def test_damaged_files_are_refused_by_name(files):
    assert damage(files, 40, seed=0) > 250


@pytest.mark.slow
def test_thousands_of_damaged_files_are_refused_by_name(files):
    tries = 300
    refused = damage(files, tries, seed=1)
    print(f"{tries * len(files)} damaged files: {refused} refused, the others still readable as they were")
    assert refused > 0.8 * tries * len(files)


@pytest.mark.parametrize("kind", ["features", "scores", "fitted", "1/weights", "1/state"])
def test_no_changed_bit_of_a_safetensors_file_goes_unnoticed(files, kind):
    path, load = next((path, load) for path, load in files.items() if str(path).endswith(f"{kind}.safetensors"))
    content, generator = path.read_bytes(), random.Random(2)
    header = 8 + int.from_bytes(content[:8], "little")
    try:
        for _ in range(50):
            damaged = bytearray(content)
            damaged[generator.randrange(header, len(content))] ^= 1 << generator.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(StorageError, match="damaged on disk"):
                load(path)
    finally:
        path.write_bytes(content)


class Bomb:
    """Unpickling it runs code."""

    def __reduce__(self):
        return (Path.touch, (Path("code-was-run"),))


def test_a_pickle_is_refused_and_never_run(files, tmp_path, monkeypatch):
    import pickle

    monkeypatch.chdir(tmp_path)
    array = tmp_path / "bomb.npy"
    np.save(array, np.array([Bomb()], dtype=object), allow_pickle=True)
    archive = tmp_path / "torch.zip"  # as torch.save writes
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    for path, load in files.items():
        content = path.read_bytes()
        for hostile in (pickle.dumps(Bomb()), array.read_bytes(), archive.read_bytes()):
            path.write_bytes(hostile)
            try:
                with pytest.raises(StorageError, match=path.name):
                    load(path)
            finally:
                path.write_bytes(content)
    assert not (tmp_path / "code-was-run").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "code-was-run").exists()  # the bomb was a bomb


def test_headers_that_lie_are_refused(files):
    """Of sizes and offsets that safetensors and numpy would have to trust."""
    path, load = next((path, load) for path, load in files.items() if path.name == "features.safetensors")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    lies = [2**63, 2**40, length + 1, 0]
    hostile = [lie.to_bytes(8, "little") + content[8:] for lie in lies]
    for entry in ({"shape": [2**40, 2**40]}, {"data_offsets": [0, 2**60]}, {"data_offsets": [8, 0]}, {"dtype": "F99"}):
        changed = json.dumps(header | {name: header[name] | entry}).encode()
        hostile.append(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    try:
        for damaged in hostile:
            path.write_bytes(damaged)
            with pytest.raises(StorageError, match="features"):
                load(path)
    finally:
        path.write_bytes(content)


def damaged_configs(tries, seed):
    """Reads studies whose text or values were changed; returns (refused by YAML, refused as studies, valid)."""
    generator, counts = random.Random(seed), [0, 0, 0]
    texts = [path.read_bytes() for path in sorted(STUDIES.glob("*.yaml"))]
    junk = [None, -1, 0, 1.5, float("nan"), "x", "", [], {}, [None], {"a": {}}, True, 10**30, "../../etc", "digits"]
    for number in range(tries):
        text = generator.choice(texts)
        try:
            config = yaml.safe_load(mutated(text, generator) if number % 2 else text)
            if not isinstance(config, dict):
                raise yaml.YAMLError("not a mapping")
        except (yaml.YAMLError, UnicodeDecodeError, ValueError):
            counts[0] += 1
            continue
        if number % 2 == 0:
            replace_a_value(config, generator, junk)
        try:
            study = Study.parse(config)
            assert study.chain()
            assert study.name
            counts[2] += 1
        except StudyError as error:
            assert str(error).strip()  # noqa: PT017
            counts[1] += 1
    return counts


def replace_a_value(config, generator, junk):
    """Somewhere in the config, a value becomes something else or a key becomes unknown."""
    place = config
    while True:
        keys = [*place] if isinstance(place, dict) else [*range(len(place))]
        if not keys:
            return
        key = generator.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and generator.random() < 0.7:
            place = place[key]
            continue
        place[key] = generator.choice(junk)
        return


def test_damaged_configs_are_refused_without_a_traceback():
    counts = damaged_configs(300, seed=0)
    assert min(counts) > 10


@pytest.mark.slow
def test_thousands_of_damaged_configs_are_refused_without_a_traceback():
    by_yaml, as_studies, valid = damaged_configs(3000, seed=1)
    print(f"3000 damaged configs: {by_yaml} are no YAML, {as_studies} are no study, {valid} are valid")
    assert as_studies > 1000
