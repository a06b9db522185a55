"""The paper's RGB Glow written plainly, with a backward pass a group: this project's norms are the same, all 1353."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from immature_ood.extraction import Split, extract
from immature_ood.gradients import layer_norms
from immature_ood.gradients.closed_form import uncovered
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.models.glow import make
from immature_ood.study import FeatureConfig

SHAPE = (3, 32, 32)
SPEC = importlib.util.spec_from_file_location("plain", Path(__file__).parents[1] / "benchmarks" / "public_glow.py")
plain = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plain)

# What the sum of the last latent does not depend on: the priors of the other latents and of the last one itself,
UNUSED = {
    f"{prior}.{name}"
    for prior in ("blocks.0.split.prior", "blocks.1.split.prior", "top")
    for name in ("weight", "bias", "logs")
}
# and the last coupling of a block before its split, which changes only the half that the split takes out.
CUT_OFF = {
    f"blocks.{block}.steps.31.coupling.{name}"
    for block in (0, 1)
    for name in (
        "first.weight",
        "first.actnorm.bias",
        "first.actnorm.logs",
        "second.weight",
        "second.actnorm.bias",
        "second.actnorm.logs",
        "last.weight",
        "last.bias",
        "last.logs",
    )
}


def rgb_glow(hidden):
    """L = 3, K = 32 in float64, initialised on noise, its weights moved so that no zero convolution is zero."""
    generator = torch.Generator().manual_seed(0)
    model = make(GlowConfig(blocks=3, steps=32, hidden_channels=hidden), SHAPE, generator)
    model.initialise(images(8).float())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return model.double()


def images(number):
    return torch.rand(number, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5


def plain_gradients(model, group, objective):
    """{layer: its gradient by autograd, None where there is none} of the plain Glow with the model's weights."""
    public = plain.PublicGlow(model)
    log_prob, z = public.log_prob_and_latent(group)
    value = log_prob if objective == "log_prob" else z
    named = {plain.own_name(name): parameter for name, parameter in public.named_parameters()}
    return dict(zip(named, torch.autograd.grad(value.sum(), [*named.values()], allow_unused=True), strict=True))


def plain_norms(model, x, b, objective):
    """(N / b, layers) in the order of the model's layers; zero where there is no gradient."""
    rows = []
    for group in x.split(b):
        gradients = plain_gradients(model, group, objective)
        squares = (gradients[name] for name, _ in model.layers())
        rows.append(torch.stack([x.new_zeros(()) if g is None else g.square().sum() for g in squares]))
    return torch.stack(rows)


def agree(hidden, number, sizes, objective):
    model, x = rgb_glow(hidden), images(number)
    assert not uncovered(model)
    assert sum(1 for _ in model.layers()) == 1353
    for b, norms in layer_norms(model, x, sizes, objective=objective).items():
        expected = plain_norms(model, x, b, objective)
        torch.testing.assert_close(norms.squared, expected, rtol=1e-9, atol=0)
        assert ((norms.squared == 0) == (expected == 0)).all()


@pytest.mark.parametrize("objective", ["log_prob", "sum_z"])
def test_norms_are_those_of_the_plain_glow(objective):
    agree(8, 4, [1, 4], objective)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["log_prob", "sum_z"])
def test_norms_at_the_papers_width_are_those_of_the_plain_glow(objective):
    agree(512, 2, [1, 2], objective)


def test_the_sum_of_the_latent_leaves_27_of_1353_layers_without_gradient():
    """As the code released with the paper takes it: nine layers get no gradient, eighteen one of zeros."""
    model = rgb_glow(4)
    gradients = plain_gradients(model, images(2), "sum_z")
    assert {name for name, gradient in gradients.items() if gradient is None} == UNUSED
    assert {name for name, gradient in gradients.items() if gradient is not None and not gradient.any()} == CUT_OFF
    assert (len(gradients), len(UNUSED), len(CUT_OFF)) == (1353, 9, 18)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    (features,) = extract(
        model, Split(pixels, ImageConfig(), "noise", "test"), FeatureConfig(batch_sizes=[1], objective="sum_z")
    )
    without = np.isneginf(features.log_norms)
    assert (without == without[0]).all()
    assert {name for name, dead in zip(features.layers, without[0], strict=True) if dead} == UNUSED | CUT_OFF
    assert np.isfinite(features.log_norms[~without]).all()


def test_of_the_log_likelihood_only_the_top_priors_weight_has_no_gradient():
    gradients = plain_gradients(rgb_glow(4), images(2), "log_prob")
    assert {name for name, gradient in gradients.items() if gradient is None or not gradient.any()} == {"top.weight"}
