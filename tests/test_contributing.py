"""CONTRIBUTING.md: the code of its stories keeps what every plug-in promises; a commit is checked as make checks it."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import test_detectors
import test_epoch_rules
import torch
import yaml

from immature_ood import registry
from immature_ood.models import make_model
from immature_ood.planning import plan

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STORY = re.compile(r"`src/immature_ood/(\w+)/(\w+)\.py`:\n\n```python\n(.*?)```", re.DOTALL)
STORIES = {(kind, name): code for kind, name, code in STORY.findall(PAGE)}
STUDY = """
name: stories
datasets: {optdigits: {train: 900, fit: 400, test: 400}, glyphs: {}}
features: {fit_images: 400, test_images: 400}
models: {pixelwise: {}}
detectors:
  gradient_norms: {}
  near: {detector: nearest, neighbours: 10}
epoch_rules: {live_layers: {share: 0.5}}
epochs: [0, 1]
"""
CONTRACT = [
    test
    for test in vars(test_detectors).values()
    if test_detectors.every_detector.mark in getattr(test, "pytestmark", [])
]


RULE_CONTRACT = [
    test
    for test in vars(test_epoch_rules).values()
    if test_epoch_rules.every_rule.mark in getattr(test, "pytestmark", [])
]


@pytest.fixture
def stories(tmp_path, monkeypatch):
    """The files of the stories lie in their folders of the package."""
    written = {kind: {name for other, name in STORIES if other == kind} for kind, _ in STORIES}
    known = {kind: sorted([*registry.names(kind), *(n for n in written[kind] if n[0] != "_")]) for kind in written}
    for (kind, name), code in STORIES.items():
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{name}.py").write_text(code, encoding="utf-8")
        package = importlib.import_module(f"immature_ood.{kind}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / kind)])
    names = registry.names
    monkeypatch.setattr(registry, "names", lambda kind: known.get(kind) or names(kind))
    importlib.invalidate_caches()
    yield
    for kind, name in STORIES:
        sys.modules.pop(f"immature_ood.{kind}.{name}", None)


def test_there_is_a_story_of_each_kind():
    assert {*STORIES} == {
        ("detectors", "nearest"),
        ("models", "pixelwise"),
        ("models", "_pixelwise"),
        ("datasets", "optdigits"),
        ("epoch_rules", "live_layers"),
    }


@pytest.fixture
def study(stories):
    return plan(yaml.safe_load(STUDY))


def test_a_study_may_name_them(study):
    assert study.detectors["near"].neighbours == 10
    assert study.models["pixelwise"].architecture == "pixelwise"


@pytest.mark.parametrize("test", CONTRACT, ids=lambda test: test.__name__)
def test_the_detector_promises_what_all_do(stories, tmp_path, test):
    asked = {"name": "nearest", "tmp_path": tmp_path}
    test(**{name: asked[name] for name in inspect.signature(test).parameters})


@pytest.mark.parametrize("test", RULE_CONTRACT, ids=lambda test: test.__name__)
def test_the_epoch_rule_promises_what_all_do(stories, test):
    asked = {"rule": "live_layers", "seed": 0}
    test(**{name: asked[name] for name in inspect.signature(test).parameters})


def test_the_epoch_rule_takes_the_first_epoch_of_enough_live_layers(study):
    norms = {epoch: np.random.default_rng(0).normal(size=(9, 4)) for epoch in (0, 1, 4)}
    norms[0][:, :3], norms[1][:, :2] = -np.inf, 1.0
    evidence = test_epoch_rules.Evidence((0, 1, 4), log_norms=norms)
    assert test_epoch_rules.choose(study.epoch_rules["live_layers"], evidence) == {1: 1}
    assert test_epoch_rules.chosen("live_layers", evidence) == 4


@pytest.mark.parametrize("neighbours", [1, 3, 200])
def test_the_detector_is_the_distance_to_a_neighbour(stories, neighbours):
    fit, test = test_detectors.make_features(), test_detectors.make_features(20, seed=1, shift=0.5, split="test")
    unit = fit.log_norms.astype(np.float64).std(axis=0)
    distances = np.linalg.norm((test.log_norms[:, None] - fit.log_norms[None]).astype(np.float64) / unit, axis=2)
    detector = test_detectors.fitted_to("nearest", fit, neighbours=neighbours)
    np.testing.assert_allclose(detector.score(test), np.sort(distances, axis=1)[:, neighbours - 1], rtol=1e-5)


def test_the_detector_needs_groups_and_leaves_dead_layers_out(stories):
    with pytest.raises(ValueError, match="digits/fit: 200 groups and 3 live layers; 201 neighbours need"):
        test_detectors.fitted_to("nearest", test_detectors.make_features(), neighbours=201)
    dead = test_detectors.with_column(test_detectors.make_features(), "conv.bias", -np.inf)
    assert test_detectors.fitted_to("nearest", dead).dead_layers == ("conv.bias",)
    test = test_detectors.with_column(test_detectors.make_features(3, seed=1), "prior", -np.inf)
    assert (test_detectors.fitted_to("nearest", dead).score(test) == np.inf).all()


def test_the_model_is_normal_in_every_pixel(study):
    model = make_model(study.models["pixelwise"], (1, 4, 4), torch.Generator())
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    density = torch.distributions.Normal(model.mean, model.log_deviation.exp())
    expected = density.log_prob(x).sum(dim=(1, 2, 3)) - 16 * np.log(256)
    torch.testing.assert_close(model.log_prob(x), expected)
    drawn = model.sample(2000, torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 1, 4, 4)
    assert float(drawn.std()) == pytest.approx(np.exp(-1), rel=0.02)


def test_the_data_set_has_its_images_in_disjoint_splits(study, tmp_path):
    source, config = registry.load("datasets", "optdigits"), study.datasets["optdigits"]
    splits = source.load(config, study.data, tmp_path)
    assert {split: images.pixels.shape for split, images in splits.items()} == {
        "train": (900, 1, 28, 28),
        "fit": (400, 1, 28, 28),
        "test": (400, 1, 28, 28),
    }
    assert len({origin for images in splits.values() for origin in images.origins}) == 1700
    assert {int(images.pixels.max()) for images in splits.values()} == {255}


def test_a_commit_is_checked_as_make_checks():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert [hook["entry"] for hook in hooks] == [line.strip() for line in recipe.splitlines()]
    assert not any(hook["pass_filenames"] for hook in hooks)
    assert {hook["language"] for hook in hooks} == {"system"}
