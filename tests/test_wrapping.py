"""Modules of other libraries: what is drawn, trained and scored of them is what they say themselves."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_models import Case, images
from torch import nn

import immature_ood as ood
from immature_ood import registry
from immature_ood.gradients import make_engine
from immature_ood.gradients.loop import Loop

FILE = str(Path(__file__).with_name("plugins") / "zuko_flow.py")
SHAPE = (1, 3, 3)


def zuko_flow():
    return Case(registry.parse("models", {"architecture": FILE, "transforms": 1, "hidden": 8}), SHAPE).make()


def wrapped(module=lambda: nn.Linear(9, 4), seed=0, **functions):
    return ood.Wrapped(module, SHAPE, torch.Generator().manual_seed(seed), **functions)


def error(module, x):
    return (module(x.flatten(1)) - 1).square().sum(dim=1)


class Deciding(nn.Module):
    """Looks at its numbers to decide what to compute, which torch.func cannot follow."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(9, 4), nn.Linear(9, 4)

    def forward(self, x):
        return -torch.stack([(self.first if one.sum() > 0 else self.second)(one).square().sum() for one in x])


def test_log_prob_is_the_librarys_own_of_images_of_8_bits():
    model, x = zuko_flow(), images(4, SHAPE)
    theirs = model.module().log_prob(8 * x.flatten(1)) + 9 * math.log(8)
    torch.testing.assert_close(model.log_prob(x), theirs - 9 * math.log(256))


def test_weights_follow_from_the_generator_and_torchs_own_stays_as_it_was():
    before = torch.random.get_rng_state()
    first, again, other = (wrapped(seed=seed, loss=error).module.weight for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_loss_of_each_sample_is_lowered_and_scored():
    model, stored = wrapped(loss=error), np.random.default_rng(0).integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    x = images(4, SHAPE, dtype=torch.float32)
    assert model.objectives().keys() == {"loss"}
    value, statistics = model.objective("loss")(model, x)
    assert torch.equal(value, -error(model.module, x))
    assert torch.equal(statistics["loss"], error(model.module, x))
    with pytest.raises(NotImplementedError, match="Wrapped has no log_prob, only loss"):
        model.log_prob(x)
    with pytest.raises(NotImplementedError, match="Wrapped draws no samples"):
        model.sample(1, torch.Generator())
    features = ood.extract(model, stored, [1, 2])
    assert features[2].layers == ("module.weight", "module.bias")
    assert ood.fit("gradient_norms", features[1]).score(features[1]).shape == (40,)


@pytest.mark.parametrize("functions", [{}, {"loss": error, "log_prob": error}])
def test_one_of_both_is_given(functions):
    with pytest.raises(ValueError, match="give either log_prob or loss"):
        wrapped(**functions)


def test_a_model_that_looks_at_its_numbers_takes_a_loop(caplog):
    model = wrapped(Deciding, log_prob=lambda module, x: module(x.flatten(1))).double()
    engine = make_engine(model)
    assert isinstance(engine, Loop)
    assert "takes a loop, which is slowest: torch.func says" in caplog.text
    x = images(10, SHAPE)
    found = engine(x, [1, 2, 5])
    for b in (1, 2, 5):
        for norms, group in zip(found.squared[b], x.split(b), strict=True):
            value = model.log_prob(group).sum()
            gradients = torch.autograd.grad(value, [*model.parameters()], allow_unused=True, materialize_grads=True)
            torch.testing.assert_close(norms, torch.stack([each.square().sum() for each in gradients]))
    assert torch.equal(found.evaluated.statistics["log_prob"], model.log_prob(x).detach())


def test_a_flow_of_another_library_is_trained_and_scored_from_python():
    ramp = np.linspace(60, 190, 9).reshape(SHAPE)
    stored = np.random.default_rng(0).normal(ramp, 10, (256, *SHAPE)).astype(np.uint8)
    section = {"architecture": FILE, "transforms": 1, "hidden": 8}
    before, after = (
        ood.train(section, stored, epochs, training={"batch_size": 16, "learning_rate": 0.02}) for epochs in (0, 8)
    )
    fit, shuffled = (ood.extract(after, each)[1] for each in (stored[:100], stored[:100, :, ::-1].copy()))
    assert ood.extract(after, stored)[1].bits_per_dim < ood.extract(before, stored)[1].bits_per_dim - 0.3
    for detector, least in (("gradient_norms", 0.7), ("likelihood", 0.95)):
        scores = [ood.fit(detector, fit).score(each) for each in (fit, shuffled)]
        assert ood.auroc(*scores).value > least
