"""Extraction: features hold what was asked for, the same in any chunk, with whatever noise there is."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_gradients import ROUNDING, SHAPE, glow

from immature_ood import extraction, registry
from immature_ood.dequantisation import fixed_noise
from immature_ood.extraction import Split
from immature_ood.gradients import ENGINES, layer_norms
from immature_ood.gradients.closed_form import ClosedForm
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images.tensors import dequantise
from immature_ood.models import make_model
from immature_ood.study import FeatureConfig

VAE_FILE = Path(__file__).with_name("plugins") / "tiny_vae.py"


def extract(model, pixels, dataset, split, batch_sizes, chunk=None, *, units=None, config=None, **options):
    """extraction.extract, with the few values of a FeatureConfig that tests choose."""
    chosen = FeatureConfig(batch_sizes=batch_sizes, chunk_images=chunk, **(config or {}))
    return extraction.extract(model, Split(pixels, ImageConfig(), dataset, split, units), chosen, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_extract_is_the_same_for_any_chunk_but_for_rounding(engine):
    model = glow(dtype=torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (53, *SHAPE), dtype=np.uint8)
    whole = extract(model, pixels, "noise", "test", [1, 5], 50, engine=engine)
    for chunk in (5, 10):
        for one, other in zip(
            extract(model, pixels, "noise", "test", [1, 5], chunk, engine=engine), whole, strict=True
        ):
            np.testing.assert_allclose(one.log_norms, other.log_norms, rtol=0, atol=ROUNDING)
            np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=1e-6)


def test_the_noise_of_scoring_is_chosen():
    """Fixed noise is alike at every checkpoint, fresh noise another at each; neither depends on the chunk."""
    model = glow(dtype=torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), dtype=np.uint8)

    def log_prob(noise, key=(), chunk=6):
        (features,) = extract(model, pixels, "noise", "test", [1], chunk, config={"noise": noise}, noise_key=key)
        return features.log_prob

    assert np.array_equal(log_prob("fixed", (1,)), log_prob("fixed", (2,)))
    assert (log_prob("fresh", (1,)) != log_prob("fresh", (2,))).all()
    np.testing.assert_allclose(log_prob("fresh", (1,), chunk=2), log_prob("fresh", (1,)), rtol=1e-6)
    with torch.no_grad():
        expected = model.log_prob(torch.from_numpy(pixels).float() / 256 - 0.5)
    np.testing.assert_allclose(log_prob("none"), expected, rtol=1e-6)


def test_extract_names_layers_and_images():
    model, done = glow(perturbation=0, dtype=torch.float32), []
    pixels = np.random.default_rng(0).integers(0, 256, (17, *SHAPE), dtype=np.uint8)
    features = {f.batch_size: f for f in extract(model, pixels, "noise", "fit", [1, 5], 10, on_chunk=done.append)}
    assert done == [10, 5, 2]
    for b, used in ((1, 17), (5, 15)):  # what fills no group of 5 is used alone
        assert features[b].images.ravel().tolist() == [*range(used)]
        assert features[b].units.tolist() == [*range(used // b)]
    for b, one in features.items():
        assert (one.dataset, one.split, one.dimensions) == ("noise", "fit", math.prod(SHAPE))
        assert one.layers == tuple(name for name, _ in model.layers())
        assert one.log_norms.shape == (17 // b, len(one.layers))
        assert one.log_norms.dtype == np.float32
        dead = one.log_norms[:, one.layers.index("top.weight")]
        assert np.isneginf(dead).all()
        assert np.isfinite(one.log_norms[:, one.layers.index("top.bias")]).all()
    np.testing.assert_allclose(features[1].log_prob[:15].reshape(-1, 5).mean(axis=1), features[5].log_prob, rtol=1e-6)


@pytest.mark.parametrize("noise", ["fixed", "fresh"])
def test_groups_are_of_different_units_and_images_keep_their_noise(noise):
    model = glow(dtype=torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (12, *SHAPE), dtype=np.uint8)
    units = [0, 0, 0, 1, 1, 2, 3, 3, 2, 2, 1, 4]
    alone, pairs = extract(model, pixels, "noise", "test", [1, 2], 4, config={"noise": noise}, units=units)
    (plain,) = extract(model, pixels, "noise", "test", [1], config={"noise": noise})
    np.testing.assert_array_equal(alone.images, plain.images)
    np.testing.assert_allclose(alone.log_prob, plain.log_prob, rtol=1e-6)
    np.testing.assert_allclose(alone.log_norms, plain.log_norms, rtol=0, atol=ROUNDING)
    assert alone.units.tolist() == units  # they are numbered by size already
    assert pairs.images.tolist() == [[0, 3], [1, 4], [2, 10], [5, 6], [8, 7]]
    assert pairs.units.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(pairs.log_prob, plain.log_prob[pairs.images].mean(axis=1), rtol=1e-6)


def test_images_of_too_few_units_are_refused():
    pixels = np.zeros((20, *SHAPE), np.uint8)
    with pytest.raises(ValueError, match=r"photos, fit: 20 images of 4 units make no group of 5 .* another unit"):
        extract(glow(), pixels, "photos", "fit", [1, 5], units=[0, 1, 2, 3] * 5)


@pytest.mark.parametrize(
    ("engine", "sizes", "fit", "expected"),
    [
        ("closed-form", [1, 5], 1, [100, 5]),  # holds none
        ("closed-form", [2, 7], 1, [98]),  # 7 images do not fill a group of each size
        ("generic", [1, 5], 1000, [100, 5]),
        ("generic", [1, 5], 17, [15] * 7),
        ("generic", [1, 5], 0, [5] * 21),  # never less than one group
    ],
)
def test_by_default_as_many_images_are_worked_on_as_memory_allows(monkeypatch, engine, sizes, fit, expected):
    """fit: of how many images the gradients fit into the memory."""
    model, done = glow(blocks=1, steps=1, hidden=1, shape=(1, 2, 2), dtype=torch.float32), []
    memory = fit * sum(parameter.nbytes for _, parameter in model.layers())
    monkeypatch.setattr("immature_ood.extraction.CPU_MEMORY", memory)
    extract(model, np.zeros((105, 1, 2, 2), np.uint8), "noise", "test", sizes, on_chunk=done.append, engine=engine)
    assert done == expected


@pytest.mark.parametrize("fits", [7, 2])
def test_a_chunk_that_does_not_fit_is_halved(monkeypatch, fits):
    """An engine that runs out of memory above some number of images stands for a small device."""
    model, pixels = glow(dtype=torch.float32), np.random.default_rng(0).integers(0, 256, (12, *SHAPE), dtype=np.uint8)
    whole = extract(model, pixels, "digits", "test", [1, 2], chunk=12)
    sizes = []
    call = ClosedForm.__call__

    def small(self, x, batch_sizes, noise):
        sizes.append(len(x))
        if len(x) > fits:
            raise torch.OutOfMemoryError("no memory")
        return call(self, x, batch_sizes, noise)

    monkeypatch.setattr(ClosedForm, "__call__", small)
    done = []
    halved = extract(model, pixels, "digits", "test", [1, 2], chunk=12, on_chunk=done.append)
    assert sum(done) == 12
    assert max(done) <= fits
    assert all(size % 2 == 0 for size in sizes)
    for expected, found in zip(whole, halved, strict=True):
        np.testing.assert_allclose(found.log_norms, expected.log_norms, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(
        ClosedForm, "__call__", lambda self, x, b, noise: (_ for _ in ()).throw(torch.OutOfMemoryError("none"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        extract(model, pixels, "digits", "test", [1, 2], chunk=12)


@pytest.mark.slow
def test_ten_thousand_images_stream_through_at_constant_memory():
    """Beyond the features themselves, twenty times the images take no more memory."""
    code = """
from pathlib import Path
import numpy as np
from immature_ood import runtime
runtime.prepare(1, keep_memory=False)
from test_extraction import extract
from test_gradients import glow
import torch
model = glow(hidden=16, dtype=torch.float32)
for number in (500, 10_000):
    pixels = np.random.default_rng(0).integers(0, 256, (number, *model.shape), dtype=np.uint8)
    extract(model, pixels, "noise", "test", [1, 5])
    lines = Path("/proc/self/status").read_text().splitlines()
    print(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    few, many = map(float, done.stdout.split())
    layers = sum(1 for _ in glow().layers())
    features = 10_000 * 1.2 * (layers * 28 + 192) / 2**20  # of each number: the parts, joined, double, its log, single
    assert many - few < features + 5
    print(f"{few:.0f} MiB for 500 images, {many:.0f} MiB for 10,000")


# A model with noise of its own, and no log_prob -------------------------------------------------------------------


def tiny_vae():
    config = registry.parse("models", {"architecture": str(VAE_FILE)})
    return make_model(config, (1, 4, 4), torch.Generator().manual_seed(0))


def greys(number=23):
    return np.random.default_rng(0).integers(0, 256, (number, 1, 4, 4), dtype=np.uint8)


def elbo(model, pixels, dataset="noise", statistics=("log_norms", "latent"), **options):
    """Features by b, of the objective elbo."""
    config = {"objective": "elbo", **options.pop("config", {})}
    sizes = options.pop("sizes", [1, 5])
    found = extract(model, pixels, dataset, "test", sizes, config=config, statistics=statistics, **options)
    return {features.batch_size: features for features in found}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("noise", ["fixed", "fresh", "none"])
def test_a_model_with_noise_has_the_same_features_alone_and_in_a_chunk(engine, noise):
    model, pixels = tiny_vae(), greys()
    options = {"engine": engine, "config": {"noise": noise}, "noise_key": ("epoch", 1)}
    whole = elbo(model, pixels, chunk=20, **options)
    parts = elbo(model, pixels, chunk=5, **options)
    for b, features in whole.items():
        np.testing.assert_allclose(parts[b].log_norms, features.log_norms, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(parts[b].of("latent"), features.of("latent"), rtol=1e-5, atol=1e-6)
    if noise != "fresh":  # which follows from the place
        alone = elbo(model, pixels[7:8], sizes=[1], **options)[1]
        np.testing.assert_allclose(alone.log_norms, whole[1].log_norms[7:8], rtol=0, atol=ROUNDING)


def test_a_models_own_noise_is_fixed_or_fresh_as_that_of_dequantisation():
    model, pixels = tiny_vae(), greys(5)

    def norms(noise, key=(), dataset="noise"):
        return elbo(model, pixels, dataset, sizes=[1], config={"noise": noise}, noise_key=key)[1].log_norms

    assert np.array_equal(norms("fixed", (1,)), norms("fixed", (2,)))
    assert np.array_equal(norms("none", (1,)), norms("none", (2,)))
    assert (norms("fresh", (1,)) != norms("fresh", (2,))).any(axis=1).all()
    assert (norms("none") != norms("none", dataset="other")).any(axis=1).all()  # the model's own, of the data set


@pytest.mark.parametrize("engine", ENGINES)
def test_norms_of_a_model_with_noise_are_those_of_a_loop(engine):
    model, generator = tiny_vae().double(), torch.Generator().manual_seed(1)
    x = torch.rand(10, 1, 4, 4, generator=generator).double() - 0.5
    noise = torch.randn(10, *model.objective("elbo").noise_shape, generator=generator).double()
    for b, norms in layer_norms(model, x, [1, 2, 5], engine, "elbo", noise).items():
        for place, (group, own) in enumerate(zip(x.split(b), noise.split(b), strict=True)):
            value = model.objective("elbo")(model, group, own).value.sum()
            gradients = torch.autograd.grad(value, [parameter for _, parameter in model.layers()])
            expected = torch.stack([gradient.square().sum() for gradient in gradients])
            torch.testing.assert_close(norms.squared[place], expected, rtol=1e-9, atol=0)


TWO_SIDED = {"architecture": str(Path(__file__).with_name("plugins") / "two_sided.py")}


def test_several_objectives_are_groups_of_layers_and_others_give_what_is_missing():
    model = make_model(registry.parse("models", TWO_SIDED), (1, 3, 3), torch.Generator().manual_seed(0))
    stored = np.random.default_rng(0).integers(0, 256, (6, 1, 3, 3), dtype=np.uint8)
    config = {"batch_sizes": [1, 2]}

    def features(statistics, **changes):
        options = FeatureConfig.model_validate({**config, **changes})
        found = extraction.extract(model, Split(stored, ImageConfig(side=3), "digits", "test"), options, statistics)
        return {one.batch_size: one for one in found}

    together = features(["log_norms", "log_prob", "spread", "error"])
    for b in (1, 2):
        layers = together[b].layers
        assert layers == ("near/guess.weight", "near/guess.bias", "far/guess.weight", "far/guess.bias")
        for place, name in enumerate(("near", "far")):
            alone = features(["log_norms", "error"], objective=name)[b]
            assert alone.layers == ("guess.weight", "guess.bias")
            assert np.array_equal(together[b].log_norms[:, 2 * place : 2 * place + 2], alone.log_norms)
            assert place or np.array_equal(together[b].of("error"), alone.of("error"))  # the first that gives it
        assert np.array_equal(together[b].log_prob, features(["log_prob"], objective="bound")[b].log_prob)
        assert together[b].of("spread").shape == (6 // b, b, 2)
        # The noise of one draw is the first of two, whoever asks for it.
        far = features(["error"], objective="far")[b].of("error")
        assert np.allclose(together[b].of("spread")[..., 0].mean(axis=1), -far, rtol=1e-6)
    assert "log_prob" not in features(["log_norms"])[1].statistics
    assert features(["log_norms"], objective=["far", "near"])[1].layers[0] == "far/guess.weight"


def test_features_hold_what_was_asked_for_and_log_prob_where_it_is_known():
    asked = {"log_norms": ["log_norms"], "latent": ["latent"], "pixels": ["pixels"], "elbo": ["elbo"]}
    for name, statistics in asked.items():
        (features,) = elbo(tiny_vae(), greys(4), statistics=statistics, sizes=[2]).values()
        assert [*features.statistics] == [name]
        assert np.isnan(features.bits_per_dim)
        with pytest.raises(ValueError, match=rf"noise/test: the features hold {name}, but no log_prob; .* its needs"):
            features.log_prob  # noqa: B018
    model = glow(dtype=torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    (features,) = extract(model, pixels, "noise", "test", [2], statistics=["latent", "pixels"])
    assert {name: (each.shape, str(each.dtype)) for name, each in features.statistics.items()} == {
        "log_prob": ((2,), "float64"),
        "latent": ((2, 2, 24, 2, 2), "float32"),
        "pixels": ((2, 2, *SHAPE), "uint8"),
    }
    assert np.array_equal(features.of("pixels").reshape(pixels.shape), pixels)
    with torch.no_grad():
        x = dequantise(torch.from_numpy(pixels), fixed_noise(pixels, "noise"))
        log_prob, z = model.log_prob_and_latent(x)
    np.testing.assert_array_equal(features.of("latent").reshape(z.shape), z)
    np.testing.assert_array_equal(features.log_prob, log_prob.reshape(2, 2).mean(dim=1))


@pytest.mark.parametrize(
    ("config", "statistics", "message"),
    [
        ({"objective": "elbo"}, ["log_prob"], "TinyVae gives no log_prob, only elbo, latent"),
        ({"objective": "log_prob"}, [], "TinyVae has no objective 'log_prob'; valid names: elbo"),
        ({"objective": "elb"}, [], r"TinyVae has no objective 'elb'; did you mean 'elbo'\?"),
    ],
)
def test_what_a_model_has_not_is_refused_by_name(config, statistics, message):
    with pytest.raises(ValueError, match=message):
        extract(tiny_vae(), greys(2), "noise", "test", [1], config=config, statistics=statistics)


def test_a_kind_of_noise_that_there_is_not_is_refused_by_name():
    config = FeatureConfig(batch_sizes=[1]).model_copy(update={"noise": "Fixed"})
    with pytest.raises(ValueError, match=r"no 'Fixed' among the kinds of noise; did you mean 'fixed'\?"):
        extraction.extract(glow(), Split(np.zeros((1, *SHAPE), np.uint8), ImageConfig(), "noise", "test"), config)
