"""The table of data sets and the warnings, from manifests as they are."""

import json

import pytest

from immature_ood.cues import cues, dataset_table, left_out
from immature_ood.datasets import make
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig as DatasetConfig

FEW = {"train": 30, "fit": 10, "test": 20}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """Of real sets: two as they are, and one put through JPEG."""
    found = {}
    for name, options in {
        "glyphs": {"inverted": True},
        "photos": {},
        "letters": {"source": "glyphs", "jpeg_quality": 75, "seed": 3},
    }.items():
        folder = tmp_path_factory.mktemp(name)
        make(name, DatasetConfig(**{"source": name, **FEW, **options}), ImageConfig(), folder, folder)
        found[name] = json.loads((folder / "manifest.json").read_text())
    return found


def test_the_table_has_a_row_a_data_set(manifests):
    table = dataset_table(iter(manifests.values())).set_index("name")
    assert [*table.columns] == [
        *("source", "train", "fit", "test", "dropped", "repeated", "left_out", "unit", "test_units", "formats"),
        *("lossy", "resized", "inverted", "jpeg_quality", "fit_from", "seed"),
    ]
    assert table["source"].to_dict() == {"glyphs": "glyphs", "photos": "photos", "letters": "glyphs"}
    assert table[["train", "fit", "test", "dropped"]].to_numpy().tolist() == [[30, 10, 20, 0]] * 3
    assert table["unit"].to_dict() == {"glyphs": "letter", "photos": "block", "letters": "letter"}
    assert 1 < table.loc["photos", "test_units"] <= 20
    assert table.loc["photos", "left_out"] == "flat patches 1264"
    assert table.loc["glyphs", "formats"] == "TrueType 60"
    assert table.loc["photos", "formats"].startswith("JPEG ")
    assert table["lossy"].to_dict() == {"glyphs": False, "photos": True, "letters": True}
    assert table["inverted"].to_dict() == {"glyphs": True, "photos": False, "letters": False}
    assert table.loc["letters", "jpeg_quality"] == 75
    assert table["seed"].tolist() == [0, 0, 3]


def test_what_is_dropped_is_counted(manifests):
    splits = {split: {**entry, "dropped": 2} for split, entry in manifests["glyphs"]["splits"].items()}
    assert dataset_table([{**manifests["glyphs"], "splits": splits}])["dropped"].tolist() == [6]


def test_storage_that_differs_is_a_warning(manifests):
    assert cues(iter(manifests.values())) == [
        "photos, letters: some or all images stored with loss (JPEG); glyphs: stored without loss. "
        "This alone may tell them apart."
    ]


def test_resampling_that_differs_is_a_warning(manifests):
    one, other = ({**sharing(manifests["glyphs"], name), "resized": name == "large"} for name in ("large", "small"))
    assert cues([one, other]) == [
        "large: some or all images resampled to the size of the study; small: not resampled. "
        "This alone may tell them apart."
    ]


@pytest.mark.parametrize("names", [[], ["glyphs"], ["photos", "letters"]])
def test_what_is_alike_is_no_warning(names, manifests):
    """Inverted images are another content."""
    assert cues([manifests[name] for name in names]) == []


def test_what_is_left_out_is_said_by_reason(manifests):
    splits = {split: {**entry, "dropped": 2, "repeated": 1} for split, entry in manifests["photos"]["splits"].items()}
    mine = {**manifests["photos"], "name": "mine", "left_out": {".heic": 12, "hidden": 1}, "splits": splits}
    assert left_out([mine, {**manifests["photos"], "left_out": {}}]) == [
        "mine: left out: .heic 12, hidden 1, images of a later split 6; "
        "3 images repeat another of their split, and count as one unit with it."
    ]
    assert dataset_table([mine])[["dropped", "repeated", "left_out"]].to_numpy().tolist() == [
        [6, 3, ".heic 12, hidden 1"]
    ]


def sharing(manifest, name, **hashes):
    splits = {split: {**entry, "hashes": hashes.get(split, [])} for split, entry in manifest["splits"].items()}
    return {**manifest, "name": name, "splits": splits}


def test_images_in_two_data_sets_are_a_warning(manifests):
    a = sharing(manifests["photos"], "a", train=["1", "2", "3"], fit=["4"], test=["5", "6"])
    b = sharing(manifests["photos"], "b", train=["5", "7"], fit=["8"], test=["1", "1", "3", "5"])
    assert cues([a, b]) == [
        "1 of a's 2 test images are also in b's test images.",
        "1 of a's 2 test images are also in b's training images.",
        "3 of b's 4 test images are also in a's training images.",
    ]
    assert cues([a, sharing(manifests["photos"], "c", train=["3"])]) == [
        "1 of a's 3 training images are also in c's training images."
    ]


def test_pictures_that_use_few_of_their_bits_are_a_warning(manifests):
    formats = {"PNG": 8, "PNG (12 of 16 bits)": 30, "TIFF (12 of 16 bits)": 2}
    assert cues([{**manifests["photos"], "name": "mine", "formats": formats}]) == [
        "mine: 32 pictures use 12 of their 16 bits at most, and are nearly black."
    ]
