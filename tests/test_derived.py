"""Statistics of flows by passes of their own."""

import math

import numpy as np
import pytest
import torch
from test_extraction import VAE_FILE, extract
from test_gradients import SHAPE, glow
from test_models import every_flow, images

from immature_ood import registry
from immature_ood.config import OF_FLOWS
from immature_ood.density import Flow
from immature_ood.derived import DERIVED, Deriving
from immature_ood.gradients.engine import Forward
from immature_ood.models import make_model

PIXELS = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), dtype=np.uint8)


def derived(model, x, names=OF_FLOWS):
    return Deriving(Forward(model), model, names)(x, [1]).evaluated.statistics


def test_flows_say_what_there_is():
    assert {*OF_FLOWS} == {*DERIVED}


@every_flow
def test_the_likelihood_is_the_prior_of_the_latents_and_the_stretching_of_the_decoder(case):
    model, x = case.make(), images(3, case.shape)
    found = derived(model, x)
    expected = found["log_prior"] - found["log_singular_values"].sum(dim=1) - model.dimensions * math.log(256)
    torch.testing.assert_close(found["log_prob"], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.from_latents(found["latents"]), x, rtol=1e-8, atol=1e-8)
    assert (found["log_singular_values"].diff(dim=1) <= 0).all()


@every_flow
def test_singular_values_are_those_of_the_inverse_map(case):
    """The Jacobian of x → latents, by backward passes, has their reciprocals."""
    model, x = case.make(), images(1, case.shape)
    jacobian = torch.autograd.functional.jacobian(lambda one: model.latents(one).flatten(), x)
    expected = -torch.linalg.svdvals(jacobian.reshape(model.dimensions, -1)).log().flip(0)
    torch.testing.assert_close(derived(model, x)["log_singular_values"][0], expected, rtol=1e-6, atol=1e-6)


def test_features_hold_those_that_are_asked_for():
    model = glow(dtype=torch.float32)
    statistics = ("log_norms", *OF_FLOWS)
    one, two = extract(model, PIXELS, "noise", "test", [1, 2], statistics=statistics)
    assert {*one.statistics} == {"log_prob", *statistics}
    dimensions = math.prod(SHAPE)
    for features, b in ((one, 1), (two, 2)):
        assert features.of("log_prior").shape == (6 // b,)
        assert features.of("log_prior").dtype == np.float64
        for name in ("latents", "log_singular_values"):
            assert features.of(name).shape == (6 // b, b, dimensions)
            assert features.of(name).dtype == np.float32
    np.testing.assert_allclose(two.of("log_prior"), one.of("log_prior").reshape(-1, 2).mean(axis=1), rtol=1e-6)
    log_det = one.of("log_prob") - one.of("log_prior") + dimensions * math.log(256)
    np.testing.assert_allclose(-one.of("log_singular_values").sum(axis=(1, 2)), log_det, rtol=1e-4)


def test_they_change_nothing_else():
    model = glow(dtype=torch.float32)
    (alone,) = extract(model, PIXELS, "noise", "test", [1], statistics=["log_norms"])
    (beside,) = extract(model, PIXELS, "noise", "test", [1], statistics=["log_norms", "log_prior"])
    np.testing.assert_array_equal(alone.log_norms, beside.log_norms)
    np.testing.assert_array_equal(alone.log_prob, beside.log_prob)


def test_a_model_that_is_no_flow_has_none():
    config = registry.parse("models", {"architecture": str(VAE_FILE)})
    model = make_model(config, (1, 4, 4), torch.Generator().manual_seed(0))
    assert not isinstance(model, Flow)
    pixels = PIXELS[:, :1, :4, :4]
    with pytest.raises(ValueError, match="TinyVae gives no latents, only"):
        extract(model, pixels, "noise", "test", [1], config={"objective": "elbo"}, statistics=["latents"])
