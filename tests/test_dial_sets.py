"""Data sets that have the images of another one, changed: planned, made, and of the same units."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from immature_ood import registry
from immature_ood.datasets import SPLITS, make
from immature_ood.datasets.dial import Config
from immature_ood.dial_table import DIAL_COLUMNS, dial_table
from immature_ood.dials import DIALS, turn
from immature_ood.intervals import Units, evaluate
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.planning import plan
from immature_ood.study import EvaluationConfig, Study, StudyError

NOWHERE = Path("/nowhere")
PHOTOS = {"train": 60, "fit": 20, "test": 30, "seed": 3, "unit": "photograph", "inverted": True}
STUDY = {
    "name": "dials",
    "datasets": {
        "photos": PHOTOS | {"stands_for": "pictures"},
        "blurred": {"source": "dial", "of": "photos", "dial": "blur", "amount": 0.5},
    },
    "epochs": [0, 1],
    "training": {"batch_size": 32},
    "features": {"fit_images": 20, "test_images": 30},
}


def changed(**options):
    """The study with other options of its dial; None takes one away."""
    section = STUDY["datasets"]["blurred"] | options
    given = {key: value for key, value in section.items() if value is not None}
    return {**STUDY, "datasets": {**STUDY["datasets"], "blurred": given}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By data set of the study, with a third that has nothing changed, its images by split and its manifest."""
    study = plan(changed(), here=False)
    same = study.datasets["blurred"].model_copy(update={"amount": 0.0})
    found = {}
    for name, config in {**study.datasets, "same": same}.items():
        folder = tmp_path_factory.mktemp(name)
        make(name, config, study.data, folder, NOWHERE)
        manifest = json.loads((folder / "manifest.json").read_text())
        found[name] = {split: np.load(folder / f"{split}.npy") for split in SPLITS}, manifest
    return found


def test_a_study_names_every_dial():
    assert [*DIALS] == [*get_args(Config.model_fields["dial"].annotation)]


def test_it_has_as_many_images_as_the_other_set_and_no_model():
    study = plan(STUDY, here=False)
    assert study.id_datasets == study.own_datasets == ["photos"]
    assert study.ood_datasets("photos") == ["blurred"]
    assert study.changed == {"blurred": "photos"}
    assert study.images_of("blurred") == study.images_of("photos") == "pictures"
    assert study.stands_for("blurred") == "blurred"
    one, other = study.datasets.values()
    assert [getattr(one, key) for key in Config.ALIKE] == [getattr(other, key) for key in Config.ALIKE]
    assert other.original().unit == "photograph"
    assert Study.parse(study.model_dump()).datasets["blurred"].original() == other.original()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"of": "photoes"}, "datasets.blurred.of: unknown name 'photoes'; did you mean 'photos'?"),
        ({"of": "blurred"}, "datasets.blurred.of: unknown name 'blurred'; valid names: photos"),
        ({"of": None}, "datasets.blurred.of: is missing"),
        ({"dial": "blurr"}, r"datasets.blurred.dial: .* got 'blurr'; did you mean 'blur'\?"),
        ({"amount": 1.1}, "datasets.blurred.amount: .* less than or equal to 1, got 1.1"),
        ({"amount": -0.1}, "datasets.blurred.amount: .* greater than or equal to 0, got -0.1"),
        ({"test": 40}, "datasets.blurred.test: is 40, but 30 of photos, whose images it has; leave it out"),
        ({"unit": "photograph"}, "datasets.blurred.unit: unknown name 'photograph' .* of the original"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, fault):
    with pytest.raises(StudyError, match=fault):
        plan(changed(**options), here=False)


def test_it_is_not_drawn_as_well():
    study = changed(samples_of={"dataset": "photos", "epoch": 1})
    study["datasets"]["digits"] = {}
    with pytest.raises(
        StudyError, match=r"datasets.blurred.samples_of: its images are those of photos, changed; leave"
    ):
        plan(study, here=False)


def test_it_is_not_trained_on():
    with pytest.raises(StudyError, match="id_datasets: blurred has the images of photos, changed, and is only ever te"):
        plan({**STUDY, "id_datasets": ["blurred", "photos"]}, here=False)


def test_it_is_of_images_alone():
    study = changed() | {"data": {"kind": "tokens"}}
    study["datasets"]["photos"] = {}
    with pytest.raises(StudyError, match=r"datasets.blurred.source: dial is for images, but data.kind is tokens"):
        plan(study, here=False)


def test_its_images_are_those_of_the_other_set_turned(made):
    photos, blurred, same = (images for images, _ in made.values())
    for split in SPLITS:
        np.testing.assert_array_equal(blurred[split], turn(photos[split], "blur", 0.5))
        np.testing.assert_array_equal(same[split], photos[split])
    assert made["same"][1]["splits"]["test"]["sha256"] == made["photos"][1]["splits"]["test"]["sha256"]


def test_its_units_are_those_of_the_other_set(made):
    photos, blurred = (made[name][1] for name in ("photos", "blurred"))
    assert (photos["unit"], blurred["unit"]) == ("photograph", "of the original")
    for split in SPLITS:
        assert blurred["splits"][split]["units"] == photos["splits"][split]["units"]
    assert 1 < len({*blurred["splits"]["test"]["units"]}) < 30


@pytest.fixture
def section(tmp_path):
    """That of a file of noise."""
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8))
    return {"source": "array", "path": str(tmp_path / "mine.npy")}


@pytest.mark.parametrize(("dial", "lossy", "resized"), [("jpeg", True, False), ("resize", False, True)])
def test_the_manifest_says_what_leaves_traces(dial, lossy, resized, section, tmp_path):
    for amount, traces in ((0, False), (0.5, True)):
        options = {"source": "dial", "of": "mine", "section": section, "dial": dial, "amount": amount}
        config = registry.parse("datasets", options | {"train": 0, "fit": 0, "test": 20})
        make("set", config, ImageConfig(), tmp_path, NOWHERE)
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        assert (manifest["lossy"], manifest["resized"]) == (lossy and traces, resized and traces)


def test_it_is_made_anew_with_the_files_of_the_other_set(section):
    own = registry.parse("datasets", section, ImageDatasetConfig)
    config = registry.parse("datasets", changed()["datasets"]["blurred"] | {"section": section})
    assert config.contents() == own.contents() is not None


def test_the_table_has_the_dials_of_the_id_set_by_amount():
    columns = ["id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "detector"]
    sets = ("a", "b", "strong", "weak", "noisy", "of_b")
    rows = [(own, other, "glow", 0, epoch, 1, "likelihood") for own in "ab" for other in sets for epoch in (0, 1)]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(auroc=np.arange(24) / 24, auroc_low=0.0, auroc_high=1.0, aupr=0.5)
    dials = {
        "strong": {"of": "a", "dial": "shuffle", "amount": 1},
        "noisy": {"of": "a", "dial": "noise", "amount": 0.5},
        "weak": {"of": "a", "dial": "shuffle", "amount": 0.5},
        "of_b": {"of": "b", "dial": "noise", "amount": 0.5},
    }
    found = dial_table([table[table.id_dataset == own] for own in "ab"], dials)
    assert [*found.columns] == [*DIAL_COLUMNS]
    assert [*found[["id_dataset", "dial", "amount", "epoch"]].itertuples(index=False, name=None)] == [
        *(("a", "shuffle", 0.5, 0), ("a", "shuffle", 0.5, 1), ("a", "shuffle", 1, 0), ("a", "shuffle", 1, 1)),
        *(("a", "noise", 0.5, 0), ("a", "noise", 0.5, 1), ("b", "noise", 0.5, 0), ("b", "noise", 0.5, 1)),
    ]
    of = table.set_index(["id_dataset", "ood_dataset", "epoch"])["auroc"]
    expected = [of["a", each, epoch] for each in ("weak", "strong", "noisy") for epoch in (0, 1)]
    assert found["auroc"].tolist() == [*expected, of["b", "of_b", 0], of["b", "of_b", 1]]


@pytest.mark.parametrize(("correlation", "least", "most"), [(0.5, 0.97, 1), (-0.5, 0.8, 0.95)])
def test_intervals_of_images_against_themselves_changed(correlation, least, most):
    """What datasets/dial.py says: too wide where both scores of a unit rise together, too narrow where one falls."""
    generator, config = np.random.default_rng(0), EvaluationConfig()
    units, truth = np.arange(300), norm.cdf(1 / np.sqrt(2))
    held = []
    for _ in range(300):
        own, other = generator.multivariate_normal([0, 1], [[1, correlation], [correlation, 1]], 300).T
        found = evaluate(own, other, config, Units.numbered(units, units))["auroc"]
        held.append(found.low <= truth <= found.high)
    assert least <= np.mean(held) <= most
