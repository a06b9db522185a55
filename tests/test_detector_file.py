"""A detector file holds all that scoring needs, is the same bytes for the same detector, and is not trusted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors
from test_estimator import NORMS, TINY, smooth

from immature_ood import fitting, registry
from immature_ood.detector_file import DetectorFileError, ImageDetector, card_of, load
from immature_ood.fitting import Recipe, parts_of, sizes_of, why_enough
from immature_ood.storage import METADATA_KEY, load_arrays, save_arrays
from immature_ood.training import TrainingInterrupted


def splits(number=300, shape=(1, 8, 8)):
    images, sizes = smooth(number, shape), sizes_of(number)
    ends = np.cumsum([*sizes.values()])
    return dict(zip(sizes, np.split(images, ends[:-1]), strict=True))


def made(work, **options):
    return fitting.fit(parts_of(splits()), Recipe(TINY, **{"epochs": 1, **options}), work)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return made(tmp_path_factory.mktemp("work"), batch_sizes=[1, 2])


@pytest.fixture
def path(detector, tmp_path):
    detector.save(tmp_path / "mine.iood")
    return tmp_path / "mine.iood"


def test_what_is_loaded_scores_as_what_was_saved(detector, path):
    again, images = load(path), smooth(20, seed=2)
    for b in (1, 2):
        scores = again.score(images, b)
        np.testing.assert_array_equal(scores, detector.score(images, b))
        np.testing.assert_array_equal(again.p_values(scores, b), detector.p_values(scores, b))
    assert again.card == json.loads(json.dumps(detector.card)) == card_of(path)


def test_the_same_images_recipe_and_threads_give_the_same_bytes(detector, path, tmp_path):
    assert made(tmp_path / "work", batch_sizes=[1, 2]).to_bytes() == path.read_bytes()
    assert ImageDetector.from_bytes(path.read_bytes()).to_bytes() == path.read_bytes()
    assert made(tmp_path / "other", batch_sizes=[1, 2], seed=1).to_bytes() != path.read_bytes()


def test_it_is_arrays_and_one_key_of_sorted_json(path):
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert [*header["__metadata__"]] == [METADATA_KEY]
    described = header["__metadata__"][METADATA_KEY]
    assert json.dumps(json.loads(described), sort_keys=True) == described
    assert all(array.dtype != object for array in load_safetensors(path.read_bytes()).values())


def test_groups_are_images_one_after_another_and_what_fills_none_is_left_out(detector):
    images = smooth(7, seed=3)
    scores = detector.score(images, 2)
    assert scores.shape == (3,)
    np.testing.assert_allclose(detector.score(images[2:4], 2), scores[1:2], rtol=1e-4, atol=1e-4)
    assert detector.score(images[:0]).shape == (0,)
    with pytest.raises(ValueError, match="fitted to groups of 1, 2, not of 5"):
        detector.score(images, 5)


def test_large_numbers_are_scored_in_chunks_as_they_are_whole(detector, monkeypatch):
    images = smooth(23, seed=4)
    whole = detector.score(images, 2)
    monkeypatch.setattr("immature_ood.detector_file.CHUNK", 5)
    np.testing.assert_allclose(detector.score(images, 2), whole, rtol=1e-4, atol=1e-4)


def test_the_threshold_is_where_the_p_value_reaches_the_level(detector):
    calibration = detector.calibration[1]
    for level in (0.05, 0.2, 0.5):
        threshold = detector.threshold(level)
        just_above, at = detector.p_values(np.array([np.nextafter(threshold, np.inf), threshold]))
        assert just_above <= level < at
    with pytest.raises(ValueError, match=f"less than {len(calibration)} calibration groups can tell; 999 are needed"):
        detector.threshold(0.001)
    with pytest.raises(ValueError, match="are a share, 0 to 1, not 5"):
        detector.threshold(5)


def test_the_four_parts_share_no_image_and_calibration_is_of_neither_training_nor_fit(detector):
    parts = parts_of(splits())
    assert [len(each) for each in vars(parts).values()] == [150, 60, 60, 30]
    np.testing.assert_array_equal(np.sort(detector.score(parts.calibration)), detector.calibration[1])
    seen = [image.tobytes() for each in vars(parts).values() for image in each]
    assert len({*seen}) == len(seen) == 300


def test_p_values_of_unseen_images_that_belong_are_valid(detector):
    """P(p ≤ a) ≤ a in the mean over calibration sets; of this one set within what 60 images leave open."""
    from scipy.stats import betabinom

    p = detector.p_values(detector.score(smooth(1000, seed=5)))
    for level in (0.05, 0.2, 0.5):
        rank = int(61 * level)
        assert (p <= level).sum() <= betabinom(1000, rank, 61 - rank).isf(1e-3)


# --- files that are no detectors ---


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    for reader in (load, card_of):
        with pytest.raises(
            DetectorFileError, match=r"mine\.iood: is no detector file, or a damaged one: .*fit it again"
        ):
            reader(path)


def test_a_file_with_one_bit_changed_is_refused(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DetectorFileError, match="damaged on disk; fit it again"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"no file of ours", b"\x80\x04pickle", b"\x08" + bytes(7) + b'{"a": 1}'])
def test_a_foreign_file_is_refused_and_not_to_be_deleted(tmp_path, content):
    path = tmp_path / "other.iood"
    path.write_bytes(content)
    with pytest.raises(DetectorFileError, match="is no detector file") as error:
        load(path)
    assert "delete" not in str(error.value)


def test_a_file_of_another_schema_and_none_at_all_are_refused(tmp_path):
    save_arrays(tmp_path / "features.iood", "features/3", {}, {})
    with pytest.raises(DetectorFileError, match="is 'features/3', expected 'detector/1'; fit it again"):
        load(tmp_path / "features.iood")
    with pytest.raises(DetectorFileError, match="there is no detector file"):
        load(tmp_path / "none.iood")


def edited(path, edit):
    arrays, metadata = load_arrays(path, "detector/1")
    edit(metadata)
    save_arrays(path, "detector/1", arrays, metadata)


EDITS = {
    "fitted": lambda metadata, evil: metadata["fitted"][0].update(file=evil),
    "part": lambda metadata, evil: metadata["fitted"][0]["parts"]["parts"][0].update(file=evil),
    "model": lambda metadata, evil: metadata["model"].update(architecture=evil),
    "detector": lambda metadata, evil: metadata["detector"]["parts"]["norms"].update(detector=evil),
}


@pytest.mark.parametrize("place", EDITS)
@pytest.mark.parametrize("name", ["{}/evil.py", "evil.py", "../evil", "os.path"])
def test_a_file_that_names_code_runs_none(path, tmp_path, monkeypatch, place, name):
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    edited(path, lambda metadata: EDITS[place](metadata, name.format(tmp_path)))
    with pytest.raises(DetectorFileError, match="which is no plug-in of this package"):
        load(path)
    assert not Path("ran").exists()


@pytest.mark.parametrize("key", ["model", "detector", "shape", "fitted", "card"])
def test_a_file_that_lacks_something_is_refused(path, key):
    edited(path, lambda metadata: metadata.pop(key))
    with pytest.raises(DetectorFileError, match="is no whole detector"):
        load(path)


def test_a_detector_with_a_plug_in_of_ones_own_is_no_file(detector, tmp_path):
    own = replace(detector, config=detector.config.model_copy(update={"architecture": "plugins/mine.py"}))
    with pytest.raises(DetectorFileError, match=r"plugins/mine\.py is a file of your own"):
        own.save(tmp_path / "mine.iood")
    assert not (tmp_path / "mine.iood").exists()


# --- when training is enough, and going on after an interruption ---


def log(*bits, seconds=1.0):
    return [{"epoch": e, "fit_bits_per_dim": value, "seconds": seconds} for e, value in enumerate(bits)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (log(8.0), ""),
        (log(8.0, 6.0), ""),
        (log(8.0, 6.0, 5.81), "fell by 0.190 in the last pass, less than 0.2"),
        (log(8.0, 9.0), "fell by -1.000"),
        (log(8.0, 6.0, float("nan")), "fell by nan"),
        (log(*np.linspace(9, 1, 13)), "12 passes"),
        (log(8.0, 6.0, 5.0, seconds=31), "90 s of training"),
    ],
)
def test_training_is_enough_when_a_pass_brings_little(rows, said):
    assert said in why_enough(rows)
    assert bool(said) == bool(why_enough(rows))


def test_training_stops_by_itself_at_the_first_epoch_that_is_enough(tmp_path):
    found = made(tmp_path, epochs=None, detector=NORMS)
    bits = [row["fit_bits_per_dim"] for row in found.card["training"]]
    falls = -np.diff(bits)
    assert (falls[:-1] >= 0.2 - 1e-4).all()
    assert falls[-1] < 0.2 + 1e-4 or len(falls) == 12
    same = made(tmp_path / "again", epochs=len(falls), detector=NORMS)
    assert {**same.card, "stopped": ""} == {**found.card, "stopped": ""}
    np.testing.assert_array_equal(same.score(smooth(9)), found.score(smooth(9)))


@pytest.mark.parametrize("step", [2, 6])
def test_a_training_that_was_interrupted_goes_on_to_the_same_bytes(tmp_path, monkeypatch, step):
    """Four steps an epoch: in the middle of the first, and of the second."""
    from immature_ood import training

    whole, taken = made(tmp_path / "whole", epochs=3).to_bytes(), []
    real = training._step

    def interrupted(*arguments, **options):
        taken.append(1)
        if len(taken) == step:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    import signal

    monkeypatch.setattr(training, "_step", interrupted)
    with pytest.raises(TrainingInterrupted):
        made(tmp_path / "work", epochs=3)
    assert made(tmp_path / "work", epochs=3).to_bytes() == whole
    assert len(taken) == 12  # no step twice
    assert made(tmp_path / "work", epochs=3).to_bytes() == whole  # of what was trained before, but not written
    assert len(taken) == 12


def test_the_default_recipe_names_plug_ins_that_there_are():
    assert registry.parse("detectors", fitting.DETECTOR).needs() == ("pixels", "log_norms")
    with pytest.raises(ValueError, match="both sides must be even"):
        fitting.model_for((1, 9, 9))
