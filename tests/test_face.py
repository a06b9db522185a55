"""What `import immature_ood` offers: from arrays to scores, and one clear error for each call that cannot be meant."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import immature_ood as ood
from immature_ood import training
from immature_ood.checkpoints import Run
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.registry import names, parse
from immature_ood.study import TrainingConfig

PAGE = (Path(__file__).parents[1] / "docs/python.md").read_text(encoding="utf-8")
SMALL = {"architecture": "glow", "blocks": 1, "steps": 1, "hidden_channels": 4}
OPTIONS = {"batch_size": 16, "initialisation_images": 32}


def some_images(number, seed=0, shape=(1, 4, 4)):
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), np.uint8)


@pytest.fixture(scope="module")
def model():
    return ood.train(SMALL, some_images(48), epochs=1, training=OPTIONS)


@pytest.fixture(scope="module")
def features(model):
    return ood.extract(model, some_images(40, seed=1), batch_sizes=[1, 5])


def test_the_import_is_light():
    code = "import sys, immature_ood; print(*{'torch', 'numpy', 'pandas', 'pydantic', 'yaml'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_name_is_there_for_people_and_for_type_checkers():
    for name in ood.__all__:
        assert getattr(ood, name).__name__ == name
    assert {*ood.__all__} <= {*dir(ood)}
    block, _ = (node for node in ast.parse(Path(ood.__file__).read_text()).body if isinstance(node, ast.If))
    assert sorted(alias.name for line in block.body for alias in line.names) == ood.__all__
    with pytest.raises(AttributeError, match="no attribute 'extarct'"):
        _ = ood.extarct


def test_the_first_lines_from_python_run(capsys):
    lines = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    assert len(lines.splitlines()) <= 10
    exec(compile(lines, "docs/python.md", "exec"), {})
    said, expected = capsys.readouterr().out, re.search(r"value=(.*), low=(.*), high=([0-9.]+)", lines)
    found = re.search(r"value=(.*), low=(.*), high=([0-9.]+)", said)
    assert [round(float(each), 2) for each in found.groups()] == [float(each) for each in expected.groups()]


@pytest.mark.parametrize("epochs", [0, 2])
def test_weights_are_those_that_a_study_keeps(tmp_path, epochs):
    images = some_images(48)
    config, options = parse("models", SMALL), TrainingConfig.model_validate(OPTIONS)
    run = Run("images", "glow", config, options, ImageConfig(side=4), 3, torch.get_num_threads(), "", {})
    study = training.train(training.start(run, images), epochs, images, images[:8], tmp_path / "scratch")
    found = ood.train(SMALL, images, epochs, seed=3, training=OPTIONS).state_dict()
    training.save(study, tmp_path / "kept")
    model, checkpoint = ood.load_model(tmp_path / "kept/weights.safetensors")
    assert (checkpoint.seed, checkpoint.epoch, model.training) == (3, epochs, False)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def test_random_numbers_follow_from_the_seed_and_the_name():
    images = some_images(32)
    first, again, seed, name = (
        ood.train(SMALL, images, 1, training=OPTIONS, **other).state_dict()
        for other in ({}, {}, {"seed": 1}, {"name": "x"})
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    for other in (seed, name):
        assert not all(torch.equal(first[key], other[key]) for key in first)


def test_models_by_name_or_description():
    assert ood.make_model("glow", (1, 8, 8)).shape == (1, 8, 8)
    few, many = (ood.make_model(SMALL | {"steps": steps}, (1, 4, 4)) for steps in (1, 2))
    assert len([*few.layers()]) < len([*many.layers()])
    again = ood.make_model(parse("models", SMALL), (1, 4, 4))
    assert all(torch.equal(one, other) for one, other in zip(few.parameters(), again.parameters(), strict=True))


def test_features_and_scores_by_batch_size(model, features):
    assert {b: each.log_norms.shape[0] for b, each in features.items()} == {1: 40, 5: 8}
    alone = ood.extract(model, some_images(40, seed=1)[:5], batch_sizes=[5])[5]
    np.testing.assert_allclose(alone.log_norms, features[5].log_norms[:1], rtol=1e-4)
    for name in ("gradient_norms", "likelihood", "typicality"):
        assert ood.fit(name, features[5]).score(features[5]).shape == (8,)


def test_options_of_a_detector(features):
    every, weights = (
        ood.fit({"detector": "gradient_norms", "layers": layers}, features[1]) for layers in ("all", "weights")
    )
    assert not np.array_equal(every.score(features[1]), weights.score(features[1]))
    assert {*weights.dead_layers} <= {*every.dead_layers}


def test_auroc_with_its_interval():
    scores = np.arange(40.0)
    found = ood.auroc(scores, scores + 10)
    assert found.value == pytest.approx(1 - (30 * 29 / 2 + 30 / 2) / 1600)
    assert found.low < found.value < found.high
    wider, narrower = ood.auroc(scores, scores + 10, confidence=0.99), ood.auroc(scores, scores + 10, confidence=0.5)
    assert wider.low < found.low < narrower.low
    by_unit = ood.auroc(scores, scores + 10, units=(scores // 4, scores // 4))
    assert (by_unit.value, by_unit.low < found.low) == (found.value, True)
    assert np.isnan(ood.auroc([0.0, 1.0], [2.0]).low)


FLOATS = np.full((40, 1, 4, 4), 0.5)
BAD_IMAGES = [
    (some_images(40).tolist(), "images: must be a NumPy array, not list"),
    (FLOATS, "images: must be uint8, not float64; if they are in 0 … 1, take (255 * images).round().astype('uint8')"),
    (FLOATS * np.nan, "images: hold NaN"),
    (some_images(40).astype(int), "images: must be uint8, not int64"),
    (some_images(40)[:, 0], "images: must be (N, C, H, W), not (40, 4, 4); take images[:, None]"),
    (some_images(40)[:, 0, 0], "images: must be (N, C, H, W), not (40, 4)"),
    (
        some_images(40, shape=(4, 4, 3)),
        "images: must be (N, C, H, W), not (40, 4, 4, 3); take images.transpose(0, 3, 1, 2)",
    ),
    (some_images(0), "images: are none, (0, 1, 4, 4)"),
]


@pytest.mark.parametrize(("images", "said"), BAD_IMAGES, ids=[said for _, said in BAD_IMAGES])
def test_what_is_no_array_of_images_is_refused_by_name(model, images, said):
    for call in (lambda: ood.train(SMALL, images, 1), lambda: ood.extract(model, images)):
        with pytest.raises(ValueError, match="^" + re.escape(said) + "$"):
            call()


BAD_CALLS = {
    "train: 10 images are too few for batch_size 16; lower it, or give more": lambda model, features: ood.train(
        SMALL, some_images(10), 1, training=OPTIONS
    ),
    "epochs: must be 0 or more, not -1": lambda model, features: ood.train(SMALL, some_images(40), -1),
    "unknown name 'glwo'; did you mean 'glow'?": lambda model, features: ood.train("glwo", some_images(40), 1),
    "block: unknown key; did you mean 'blocks'?": lambda model, features: ood.make_model(
        {"architecture": "glow", "block": 1}, (1, 4, 4)
    ),
    f"architecture: is missing; name one of {', '.join(names('models'))}": lambda model, features: ood.make_model(
        {}, (1, 4, 4)
    ),
    "blocks: 2 blocks halve the side 2 times, but image.side is 6": lambda model, features: ood.make_model(
        "glow", (1, 6, 6)
    ),
    "learning_rat: unknown key; did you mean 'learning_rate'?": lambda model, features: ood.train(
        SMALL, some_images(40), 1, training={"learning_rat": 1}
    ),
    "images: are (1, 8, 8) each, but the model takes (1, 4, 4)": lambda model, features: ood.extract(
        model, some_images(5, shape=(1, 8, 8))
    ),
    "4 images make no group of 5; give more, or a smaller b": lambda model, features: ood.extract(
        model, some_images(4), [1, 5]
    ),
    "batch_sizes: List should have at least 1 item after validation, not 0, got []": lambda model, features: (
        ood.extract(model, some_images(4), [])
    ),
    "batch_sizes.0: Input should be greater than 0, got 0": lambda model, features: ood.extract(
        model, some_images(4), [0]
    ),
    "noise: Input should be 'fixed', 'fresh' or 'none', got 'Fixed'; did you mean 'fixed'?": lambda model, features: (
        ood.extract(model, some_images(4), noise="Fixed")
    ),
    "Glow has no objective 'logprob'; did you mean 'log_prob'?": lambda model, features: ood.extract(
        model, some_images(4), objective="logprob"
    ),
    "units: 4, one for each image, got 3": lambda model, features: ood.extract(model, some_images(4), units=[0, 1, 2]),
    "unknown name 'likelihod'; did you mean 'likelihood'?": lambda model, features: ood.fit("likelihod", features[1]),
    "features: there are none; give what extract found, such as features[1]": lambda model, features: ood.fit(
        "likelihood"
    ),
    "features: must be of one batch size, such as features[1], not dict": lambda model, features: ood.fit(
        "likelihood", features
    ),
    "features: must be of groups of 5, not of 1": lambda model, features: ood.fit("likelihood", features[5]).score(
        features[1]
    ),
    "features: have other layers than those of the fit; use the same model": lambda model, features: ood.fit(
        "likelihood", features[1]
    ).score(ood.extract(ood.make_model(SMALL | {"steps": 2}, (1, 4, 4)), some_images(4))[1]),
    "id_scores: hold NaN": lambda model, features: ood.auroc([np.nan], [1.0]),
    "ood_scores: must be some numbers in a row, (n,), not (0,)": lambda model, features: ood.auroc([1.0], []),
    "id_scores: must be some numbers in a row, (n,), not (2, 1)": lambda model, features: ood.auroc([[1], [2]], [1.0]),
    "units: 1 and 2, one for each score, got [1, 1]": lambda model, features: ood.auroc([1], [1, 2], units=([1], [1])),
    "confidence: Input should be less than 1, got 95": lambda model, features: ood.auroc([1], [2], confidence=95),
}


@pytest.mark.parametrize("said", BAD_CALLS)
def test_a_call_that_cannot_be_meant_is_refused_by_name(model, features, said):
    with pytest.raises(ValueError, match="^" + re.escape(said) + "$"):
        BAD_CALLS[said](model, features)
