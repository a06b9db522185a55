"""Norms of weights by products in bfloat16: how far they are from the exact ones, and where they are refused."""

import numpy as np
import pytest
import torch
from test_extraction import extract
from test_gradients import SHAPE, Affine, Toy, glow, images, loop, tied_flow
from test_models import every_model
from torch import nn

import immature_ood as ood
from immature_ood import gradients
from immature_ood.gradients import Generic, layer_norms, make_engine, products
from immature_ood.gradients.closed_form import ClosedForm, uncovered
from immature_ood.gradients.independence import trial
from immature_ood.gradients.norms import Outer, in_bfloat16, squared_norms
from immature_ood.layers import is_chosen

ERROR = 0.01  # of a log squared norm; at most 0.006 was seen on the Glows here, 0.0028 on trained ones of 64 channels
ERROR_OF_FEW = 0.02  # where a layer has but a few numbers, whose errors do not cancel; at most 0.012 was seen
MOST_OF_FEW = 0.011  # of 99 of 100 of them, where there are fewer than 100 layers and groups; 0.0101 was seen
CPU = torch.device("cpu")


@pytest.fixture
def instructions(monkeypatch):
    """Engines take this processor for one that multiplies bfloat16; products know better."""
    monkeypatch.setattr(gradients, "has_bfloat16", lambda device: True)


def rounded(x):
    """float32 → its nearest bfloat16, ties to even, as float64: the upper 16 of its 32 bits."""
    bits = np.ascontiguousarray(x.numpy()).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return torch.from_numpy(bits.astype(np.uint32).view(np.float32)).double()


def assert_near(found, expected, error=ERROR):
    """Log norms differ by the error at most, 99 of 100 by ERROR or MOST_OF_FEW, and what is zero is zero."""
    assert torch.equal(found == 0, expected == 0)
    alive = expected > 0
    differences = (found.double()[alive].log() - expected[alive].log()).abs()
    assert differences.max() <= error
    few = error == ERROR_OF_FEW and len(differences) < 100
    assert differences.quantile(0.99) <= (MOST_OF_FEW if few else ERROR)


@every_model
def test_log_norms_of_every_model_are_near_the_exact_ones(case):
    model = case.make()
    objective = model.trained_by
    if without := uncovered(model):
        pytest.skip(f"no closed form covers {', '.join(without)}")
    x, noise = trial(model, model.objective(objective), 10)
    exact = layer_norms(model, x, [1, 5], "generic", objective, noise)
    for dtype in (torch.float64, torch.float32):
        engine = ClosedForm(model.to(dtype), objective, precision="bf16-norms")
        found = engine(model.taken(x), [1, 5], None if noise is None else noise.to(dtype)).squared
        for b in (1, 5):
            assert_near(found[b], exact[b].squared, ERROR_OF_FEW)


@pytest.mark.parametrize(
    "options",
    [
        {"perturbation": 0},
        {"blocks": 1, "steps": 1, "hidden": 192, "shape": (3, 16, 16)},  # whose products are taken one by one
        {"blocks": 1, "steps": 1, "hidden": 64, "shape": (1, 28, 28)},
    ],
    ids=["untrained", "wide", "many positions"],
)
def test_log_norms_of_a_glow_are_near_those_of_the_loop(options):
    exact, single = glow(**options), glow(**options, dtype=torch.float32)
    x = images(10, exact.shape)
    found = ClosedForm(single, precision="bf16-norms")(x.float(), [1, 5]).squared
    for b in (1, 5):
        assert_near(found[b], loop(exact, x, b))


@pytest.mark.parametrize("model", [glow(dtype=torch.float32), tied_flow().float()], ids=["glow", "tied flow"])
def test_what_is_no_norm_of_a_weight_is_as_it_is(model):
    x = images(4, dtype=torch.float32)
    found, expected = (ClosedForm(model, precision=each)(x, [2]) for each in ("bf16-norms", "fp32"))
    others = [place for place, (name, _) in enumerate(model.layers()) if is_chosen(name, "without_weights")]
    assert torch.equal(found.squared[2][:, others], expected.squared[2][:, others])
    assert torch.equal(found.evaluated.value, expected.evaluated.value)
    assert not torch.equal(found.squared[2], expected.squared[2])


@pytest.mark.parametrize("sizes", [(7, 5, 9), (130, 140, 150)], ids=["small", "one by one"])
@pytest.mark.parametrize("native", [False, True])
def test_products_are_those_of_the_rounded_factors(monkeypatch, native, sizes):
    """Summed in float32 and rounded once more, whether the processor has instructions or not."""
    if native and sizes[0] > 100 and not products.has_bfloat16(CPU):
        pytest.skip("oneDNN multiplies no bfloat16 on this processor")
    p, q, k = sizes
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, n, k, generator=generator) for n in (p, q))
    expected = rounded((rounded(x) @ rounded(y).mT).float()).float()
    monkeypatch.setattr(products, "has_bfloat16", lambda device: native)
    found = products.products(x.bfloat16(), y.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-4)  # a sum between two may be rounded to either
    assert (found == expected).double().mean() > 0.95


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("widths", [(3, 200), (200, 200), (5, 4)])
def test_the_scale_is_taken_in_before_rounding(widths, scaled):
    """Of numbers that bfloat16 has, small whole ones and powers of two, norms are exact but for the sums' rounding."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(-8, 9, (6, 20, n), generator=generator).float() for n in widths)
    scale = 2.0 ** torch.randint(-3, 4, (widths[1],), generator=generator) if scaled else None
    outer = Outer(rows, columns, scale)
    expected = squared_norms(Outer(rows.double(), columns.double(), None if scale is None else scale.double()), [1, 3])
    for b, norms in squared_norms(in_bfloat16(outer), [1, 3]).items():
        torch.testing.assert_close(norms.log().double(), expected[b].log(), rtol=0, atol=ERROR)


@pytest.mark.usefixtures("instructions")
def test_features_are_extracted_so():
    model, pixels = glow(dtype=torch.float32), np.random.default_rng(0).integers(0, 256, (10, *SHAPE), dtype=np.uint8)
    exact = extract(model, pixels, "noise", "test", [1, 5])
    found = extract(model, pixels, "noise", "test", [1, 5], config={"precision": "bf16-norms"})
    from_python = ood.extract(model, pixels, [1, 5], precision="bf16-norms", name="noise")
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one.log_norms, other.log_norms, atol=ERROR)
        assert not np.array_equal(one.log_norms, other.log_norms)
        assert np.array_equal(one.log_prob, other.log_prob)
        assert np.array_equal(one.log_norms, from_python[one.batch_size].log_norms)


@pytest.mark.usefixtures("instructions")
def test_a_model_without_closed_forms_is_as_it_is(caplog):
    model, x = Affine(SHAPE), images(4, dtype=torch.float32)
    assert isinstance(make_engine(model, precision="bf16-norms"), Generic)
    assert "no closed form covers logs" in caplog.text
    found, expected = (layer_norms(model, x, [1], precision=each)[1].squared for each in ("bf16-norms", "fp32"))
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "no 'bf16' among the precisions"),
        ({"precision": "bf16-norms", "name": "generic"}, "the generic engine forms none"),
    ],
)
def test_a_precision_that_an_engine_has_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_engine(glow(), **options)


@pytest.mark.parametrize("capability", [None, "avx512_bf16", "amx_bf16"])
def test_it_is_refused_where_there_are_no_instructions(monkeypatch, capability):
    has = {"avx2": True} | ({} if capability is None else {capability: True})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    if capability is None:
        with pytest.raises(ValueError, match="this processor has no instructions for bfloat16"):
            make_engine(glow(), precision="bf16-norms")
    else:
        assert products.has_bfloat16(CPU)
        gradients._check_precision("bf16-norms", CPU)


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_multiply_bfloat16_from_compute_capability_8(monkeypatch, capability, has):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert products.has_bfloat16(torch.device("cuda")) == has


class Linear(Toy):
    """A density of one linear layer."""

    def __init__(self, shape):
        super().__init__(shape)
        self.layer = nn.Linear(shape[-1], 3)

    def log_prob(self, x):
        return torch.tanh(self.layer(x)).flatten(1).sum(dim=1)


def test_layers_of_torch_are_rounded_too():
    model, x = Linear((5, 8)), images(6, (5, 8), torch.float32)
    nn.init.normal_(model.layer.weight, generator=torch.Generator().manual_seed(0))
    found, expected = (ClosedForm(model, precision=each)(x, [1, 3]) for each in ("bf16-norms", "fp32"))
    for b in (1, 3):
        assert_near(found.squared[b], expected.squared[b].double())
        assert not torch.equal(found.squared[b][:, 0], expected.squared[b][:, 0])
        assert torch.equal(found.squared[b][:, 1], expected.squared[b][:, 1])
