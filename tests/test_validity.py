"""What results say of themselves counts where Snakemake does not know them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from snakemake.persistence.file import FilePersistence

from immature_ood import validity
from immature_ood.storage import save_arrays, write_json
from immature_ood.validity import Claim, adopt, contradictions, metadata_of, remember, remembered

FOLDER = "results/study"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(path, **made_from):
    write_json(path, {"made_from": made_from})
    return path


def record(path):
    """What Snakemake writes when it has made a file."""
    place = validity._record(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("{}", encoding="utf-8")


def claim(path, **expected):
    return Claim(path, lambda: metadata_of(path).get("made_from"), lambda: expected, f"{FOLDER}/data")


def asked(*claims, known=False):
    return contradictions(claims, lambda file: known)


@pytest.mark.parametrize("length", [3, 180, 200, 400])
def test_records_are_where_snakemake_keeps_them(length, tmp_path):
    file = f"{FOLDER}/{'n' * length}"
    memory = FilePersistence(nolock=True, path=Path(".snakemake").absolute())
    assert Path(memory._record_path(".snakemake/metadata", file)) == validity._record(file)


def test_a_file_that_agrees_with_the_study_is_well():
    path = made(f"{FOLDER}/data/a.json", image={"side": 28}, shape=[1, 28, 28])
    assert asked(claim(path, image={"side": 28}, shape=(1, 28, 28))) == []
    assert asked(claim(f"{FOLDER}/data/b.json", image={"side": 28})) == []  # is not there


def test_each_key_that_differs_is_named_once_with_both_values_and_the_mend():
    files = [made(f"{FOLDER}/data/{name}.json", training={"rate": 1, "clip": None}, seed=0) for name in "abc"]
    found = asked(*(claim(file, training={"rate": 50, "clip": None}, seed=1) for file in files))
    mend = f"set it back, give the study another name, or delete {FOLDER}/data (2 more files)"
    assert found == [
        f"{files[0]}: {key} is {old}, but {new} in this study, and Snakemake does not know the file; {mend}"
        for key, old, new in (("training.rate", 1, 50), ("seed", 0, 1))
    ]


@pytest.mark.parametrize("content", ["", "{}", "[]", "{", '{"made_from": 3}'])
def test_a_file_that_says_nothing_is_not_trusted(content):
    Path("a.json").write_text(content, encoding="utf-8")
    (line,) = asked(claim("a.json", seed=1))
    assert line.startswith("a.json: what it was made from is not said")


@pytest.mark.parametrize(("known", "recorded", "lines"), [(True, True, 0), (True, False, 1), (False, True, 1)])
def test_what_snakemake_remembers_is_left_to_it(known, recorded, lines):
    path = made(f"{FOLDER}/data/a.json", seed=0)
    if recorded:
        record(path)
    assert len(asked(claim(path, seed=1), known=known)) == lines


def test_memory_is_that_of_a_folder_if_both_hold_the_same_token():
    assert remembered(FOLDER)  # it is new
    remember(FOLDER)
    assert remembered(FOLDER)
    shutil.copytree(FOLDER, "results/copy")
    assert not remembered("results/copy")
    shutil.rmtree(".snakemake")
    assert not remembered(FOLDER)


def test_results_of_another_run_with_the_same_name_are_not_remembered():
    remember(FOLDER)
    shutil.copytree(FOLDER, "older")
    remember(FOLDER)
    shutil.rmtree(FOLDER)
    shutil.move("older", FOLDER)
    assert not remembered(FOLDER)


def test_results_from_before_there_were_tokens_are_remembered_if_there_is_a_memory():
    path = made(f"{FOLDER}/data/a.json")
    assert not remembered(FOLDER)
    record(path)
    assert remembered(FOLDER)


def test_a_token_that_is_shared_stays():
    remember(FOLDER)
    before = Path(FOLDER, ".memory").read_text(encoding="utf-8")
    remember(FOLDER, anew=False)
    assert Path(FOLDER, ".memory").read_text(encoding="utf-8") == before
    remember(FOLDER)
    assert Path(FOLDER, ".memory").read_text(encoding="utf-8") != before


def test_what_is_taken_over_and_does_not_say_how_it_was_made_is_made_anew():
    stay = [made(f"{FOLDER}/{name}") for name in ("data/a/manifest.json", "checkpoints/a.json", "features/a.json")]
    cheap = [made(f"{FOLDER}/{name}") for name in ("scores/a.json", "tables/a.json", "provenance.json")]
    for path in stay + cheap:
        record(path)
    adopt(FOLDER)
    assert remembered(FOLDER)
    assert not any(validity._record(path).exists() for path in stay + cheap)
    assert [os.path.getmtime(path) == validity.LONG_AGO for path in stay + cheap] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("used", "older"),
    [
        ({"a/train": "1"}, False),
        ({"a/train": "2"}, True),
        ({"b/train": "2"}, False),
        ({"a/train": "1", "a/fit": "2"}, True),
    ],
)
def test_a_file_made_from_other_images_than_are_there_is_made_anew_whatever_the_clock_says(used, older):
    path = made("a.json")
    validity.date_back_if_other(path, used, {"a/train": "1", "a/fit": "1"})
    assert (os.path.getmtime(path) == validity.LONG_AGO) == older
    validity.date_back_if_other("not there", {"a/train": "2"}, {"a/train": "1"})


def test_metadata_are_read_from_the_head_of_a_file_alone(tmp_path):
    arrays = {f"layer {k}": np.zeros(3) for k in range(1353)}
    save_arrays(tmp_path / "a.safetensors", "features/1", arrays, {"made_from": {"names": [*arrays]}})
    assert metadata_of(tmp_path / "a.safetensors")["made_from"] == {"names": [*arrays]}
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[: len(whole) // 20])
    assert metadata_of(tmp_path / "a.safetensors") == {}
    assert metadata_of(tmp_path / "not there") == {}
    assert json.loads(json.dumps(metadata_of(tmp_path))) == {}
