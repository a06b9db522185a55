"""The table of data sets and the warnings, from manifests as they are."""

import json

import pytest

from immature_ood.cues import cues, dataset_table
from immature_ood.datasets import make
from immature_ood.study import DatasetConfig, ImageConfig

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
        *("source", "train", "fit", "test", "dropped", "formats"),
        *("lossy", "resized", "inverted", "jpeg_quality", "fit_from", "seed"),
    ]
    assert table["source"].to_dict() == {"glyphs": "glyphs", "photos": "photos", "letters": "glyphs"}
    assert table[["train", "fit", "test", "dropped"]].to_numpy().tolist() == [[30, 10, 20, 0]] * 3
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
    one, other = ({**manifests["glyphs"], "name": name, "resized": name == "large"} for name in ("large", "small"))
    assert cues([one, other]) == [
        "large: some or all images resampled to the size of the study; small: not resampled. "
        "This alone may tell them apart."
    ]


@pytest.mark.parametrize("names", [[], ["glyphs"], ["photos", "letters"]])
def test_what_is_alike_is_no_warning(names, manifests):
    """Inverted images are another content."""
    assert cues([manifests[name] for name in names]) == []
