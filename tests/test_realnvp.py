"""Real NVP: what it promises beyond every flow, and that it is the paper's."""

import math

import pytest
import torch
from test_models import CASES, images
from torch.func import jacrev, vmap

from immature_ood.gradients.closed_form import uncovered
from immature_ood.models import make_model
from immature_ood.models._realnvp import Coupling
from immature_ood.models.realnvp import Config

REALNVPS = {name: case for name, case in CASES.items() if case.config.architecture == "realnvp"}

every_realnvp = pytest.mark.parametrize("case", REALNVPS.values(), ids=REALNVPS.keys())


@every_realnvp
def test_closed_forms_cover_every_layer(case):
    assert uncovered(case.make()) == []


@every_realnvp
def test_it_starts_as_the_standard_normal(case):
    """All couplings are the identity, so that log p(x) is that of x, D·log 256 less."""
    model, x = make_model(case.config, case.shape, torch.Generator().manual_seed(0)), images(4, case.shape)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(dim=(1, 2, 3)) - model.dimensions * math.log(256)
    torch.testing.assert_close(model.double().log_prob(x), expected)
    torch.testing.assert_close(model.latents(x).sort(dim=1).values, x.flatten(1).sort(dim=1).values)


@every_realnvp
def test_weights_follow_from_the_generator_alone(case):
    state = torch.get_rng_state()
    first, again, other = (
        torch.cat(
            [p.flatten() for p in make_model(case.config, case.shape, torch.Generator().manual_seed(s)).parameters()]
        )
        for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@every_realnvp
def test_a_coupling_keeps_half_of_the_numbers_and_changes_each_other_one_by_the_kept(case):
    """∂ y / ∂ x is the identity on what is kept, diagonal on what is not, and only the kept act on others."""
    model = case.make()
    shapes = {}
    for coupling in (module for module in model.modules() if isinstance(module, Coupling)):
        coupling.register_forward_pre_hook(lambda module, inputs: shapes.update({module: inputs[0].shape[1:]}))
    model.log_prob(images(1, case.shape))
    for coupling, shape in shapes.items():
        of_one = jacrev(lambda flat: coupling(flat.reshape(1, *shape))[0].flatten())  # noqa: B023
        jacobian = vmap(of_one)(images(8, shape).flatten(1))
        kept = coupling.kept.expand(shape).flatten().bool()
        assert abs(2 * kept.sum() - len(kept)) <= shape[0]  # a checkerboard of an odd number of squares has one more
        identity = torch.eye(len(kept), dtype=torch.float64)
        torch.testing.assert_close(jacobian[:, kept], identity[kept].expand(8, -1, -1))
        among_changed = jacobian[:, ~kept][:, :, ~kept]
        torch.testing.assert_close(among_changed, torch.diag_embed(among_changed.diagonal(dim1=1, dim2=2)))
        assert jacobian[:, ~kept][:, :, kept].any(dim=2).any(dim=0).all()


@every_realnvp
def test_every_number_is_changed_in_every_scale(case):
    for scale in case.make().scales:
        for couplings in filter(len, (scale.checkerboard, scale.channelwise)):
            masks = torch.stack([coupling.kept for coupling in couplings])
            assert torch.equal(masks[0] + masks[1], torch.ones_like(masks[0]))
            assert (masks.sum(dim=0) < len(masks)).all()


def test_the_couplings_of_the_last_scale_are_of_a_checkerboard_alone():
    model = make_model(Config(scales=3), (1, 8, 8), torch.Generator())
    assert [(len(scale.checkerboard), len(scale.channelwise)) for scale in model.scales] == [(3, 3), (3, 3), (4, 0)]
    assert model.latent_shapes == [(2, 4, 4), (4, 2, 2), (4, 2, 2)]


@pytest.mark.parametrize(("shape", "scales"), [((1, 6, 6), 3), ((1, 8, 6), 3), ((3, 5, 5), 2)])
def test_sides_that_cannot_be_halved_are_refused(shape, scales):
    config = Config(scales=scales)
    line = f"scales: {scales} scales halve the side {scales - 1} times, but image.side is {shape[-1]}"
    assert [*config.faults(shape)] == [line]
    with pytest.raises(ValueError, match=line):
        make_model(config, shape, torch.Generator())
