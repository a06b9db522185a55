"""Gradient norms: every engine against a plain loop of backward passes, and what `extract` promises."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_models import every_model
from torch import nn

from immature_ood.density import DensityModel
from immature_ood.gradients import ENGINES, layer_norms, make_engine
from immature_ood.gradients.closed_form import ClosedForm, Uncovered, _Pass, uncovered
from immature_ood.gradients.engine import chosen_layers
from immature_ood.gradients.generic import Generic
from immature_ood.gradients.independence import trial
from immature_ood.gradients.norms import Outer, squared_norms
from immature_ood.layers import is_chosen
from immature_ood.models import make_model
from immature_ood.models._glow import FlowStep
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.models.glow import make
from immature_ood.models.tied_flow import Config as TiedFlowConfig

SHAPE = (3, 8, 8)
ROUNDING = 1e-5  # relative, of a squared norm in float32; at most 2.4e-6 was seen on models of this size


def glow(*, blocks=2, steps=2, hidden=8, shape=SHAPE, perturbation=0.05, dtype=torch.float64, seed=0):
    """A Glow whose weights are perturbed, so that no zero convolution is zero, after actnorm's initialisation."""
    generator = torch.Generator().manual_seed(seed)
    model = make(GlowConfig(blocks=blocks, steps=steps, hidden_channels=hidden), shape, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(perturbation * torch.randn(parameter.shape, generator=generator))
    model.initialise(images(8, shape, torch.float32, seed))
    return model.to(dtype)


def tied_flow(steps=3, hidden_layers=2, hidden=7, shape=SHAPE, seed=0):
    """A tied flow whose zero bias is perturbed."""
    generator = torch.Generator().manual_seed(seed)
    config = TiedFlowConfig(steps=steps, hidden_layers=hidden_layers, hidden_features=hidden)
    model = make_model(config, shape, generator)
    nn.init.normal_(model.rescaling.bias, std=0.1, generator=generator)
    return model


def images(number, shape=SHAPE, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(number, *shape, generator=generator) - 0.5).to(dtype)


def loop(model, x, b, objective="log_prob"):
    """The oracle: one backward pass a group, (N / b, layers)."""
    parameters = [parameter for _, parameter in model.layers()]
    rows = []
    for group in x.split(b):
        value = model.log_prob(group) if objective == "log_prob" else model.encode(group)[0].flatten(1)
        gradients = torch.autograd.grad(value.sum(), parameters, allow_unused=True)
        squares = [x.new_zeros(()) if gradient is None else gradient.square().sum() for gradient in gradients]
        rows.append(torch.stack(squares))
    return torch.stack(rows)


class Toy(DensityModel):
    """A density for tests, never sampled from."""

    def sample(self, number, generator, temperature=1.0):
        raise NotImplementedError


class Affine(Toy):
    """y = exp(logs)·x with a standard normal y: a model whose layers have no closed form."""

    def __init__(self, shape):
        super().__init__(shape)
        self.logs = nn.Parameter(torch.full(shape, 0.3))

    def log_prob(self, x):
        y = torch.exp(self.logs) * x
        return (self.logs - 0.5 * y**2 - 0.5 * math.log(2 * math.pi)).sum(dim=(1, 2, 3))


class Twice(Toy):
    """A density that uses its layers twice."""

    def __init__(self, shape):
        super().__init__(shape)
        self.glow = glow(shape=shape)

    def log_prob(self, x):
        return self.glow.log_prob(x) + self.glow.log_prob(-x)


class Linears(Toy):
    """A linear layer on every row of an image, used three times."""

    def __init__(self, shape, call=lambda layer, x: layer(x)):
        super().__init__(shape)
        self.layer = nn.utils.skip_init(nn.Linear, shape[2], shape[2], dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.call = call

    def log_prob(self, x):
        for _ in range(3):
            x = torch.tanh(self.call(self.layer, x))
        return x.sum(dim=(1, 2, 3))


class Unfinished(Twice):
    """A density that fails once its layers have been used."""

    def log_prob(self, x):
        self.glow.log_prob(x)
        raise ArithmeticError


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=12, deadline=None)
@given(
    blocks=st.integers(1, 3),
    steps=st.integers(1, 2),
    hidden=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 2),
    width=st.integers(1, 3),
    seed=st.integers(0, 99),
    objective=st.sampled_from(["log_prob", "sum_z"]),
)
def test_norms_are_those_of_the_loop(engine, blocks, steps, hidden, channels, height, width, seed, objective):
    shape = (channels, height * 2**blocks, width * 2**blocks)
    model = glow(blocks=blocks, steps=steps, hidden=hidden, shape=shape, seed=seed)
    x = images(10, shape, seed=seed)
    norms = layer_norms(model, x, [1, 2, 5], engine, objective)
    for b in (1, 2, 5):
        torch.testing.assert_close(norms[b].squared, loop(model, x, b, objective), rtol=1e-9, atol=1e-24)
        torch.testing.assert_close(norms[b].statistics["log_prob"], model.log_prob(x).reshape(-1, b))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=12, deadline=None)
@given(
    steps=st.integers(1, 6),
    hidden_layers=st.integers(1, 3),
    hidden=st.integers(1, 20),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 4), st.integers(2, 4)),
    seed=st.integers(0, 99),
    objective=st.sampled_from(["log_prob", "sum_z"]),
)
def test_norms_of_tied_weights_are_those_of_the_loop(engine, steps, hidden_layers, hidden, shape, seed, objective):
    model, x = tied_flow(steps, hidden_layers, hidden, shape, seed), images(10, shape, seed=seed)
    norms = layer_norms(model, x, [1, 2, 5], engine, objective)
    for b in (1, 2, 5):
        torch.testing.assert_close(norms[b].squared, loop(model, x, b, objective), rtol=1e-9, atol=1e-24)
        torch.testing.assert_close(norms[b].statistics["log_prob"], model.log_prob(x).reshape(-1, b))


@pytest.mark.parametrize("layers", ["all", "weights", "without_weights"])
@pytest.mark.parametrize("engine", ENGINES)
@every_model
def test_norms_of_some_layers_are_theirs_among_those_of_all(case, engine, layers):
    model = case.make()
    objective = model.trained_by
    if engine == "closed-form" and (without := uncovered(model, layers)):
        pytest.skip(f"no closed form covers {', '.join(without)}")
    x, noise = trial(model, model.objective(objective), 4)
    chosen = [place for place, (name, _) in enumerate(model.layers()) if is_chosen(name, layers)]
    every = layer_norms(model, x, [1, 2], "generic", objective, noise)
    assert make_engine(model, engine, objective, layers).layers == tuple(chosen_layers(model, layers))
    for b, norms in layer_norms(model, x, [1, 2], engine, objective, noise, layers).items():
        torch.testing.assert_close(norms.squared, every[b].squared[:, chosen], rtol=1e-9, atol=1e-24)
        for name, statistic in every[b].statistics.items():
            torch.testing.assert_close(norms.statistics[name], statistic)


def test_without_weights_no_activation_is_kept_that_no_norm_reads(monkeypatch):
    """Of a network's convolutions their outputs alone, of splits and priors too; of flow steps input and no output."""
    engine, seen = ClosedForm(glow(), layers="without_weights"), {}
    take = _Pass._take
    monkeypatch.setattr(_Pass, "_take", lambda run, *use: seen.update(run._activations) or take(run, *use))
    engine(images(2), [1])
    kept = {name: (a.numel() > 0, y.numel() > 0) for (name, _), (a, _, y) in seen.items()}
    steps = {name for name, module in glow().named_modules() if isinstance(module, FlowStep)}
    assert steps < kept.keys()
    assert kept == {name: (name in steps, name not in steps) for name in kept}


def test_what_a_relu_is_given_is_not_held_beside_what_it_makes_of_it(monkeypatch):
    """The output that is kept of a coupling's convolution is the input of its next."""
    engine, seen = ClosedForm(glow()), {}
    take = _Pass._take
    monkeypatch.setattr(_Pass, "_take", lambda run, *use: seen.update(run._activations) or take(run, *use))
    engine(images(2), [1])
    for first, second in (("first", "second"), ("second", "last")):
        outputs = [y.data_ptr() for (name, _), (_, _, y) in seen.items() if name.endswith(f"coupling.{first}")]
        inputs = [a.data_ptr() for (name, _), (a, _, _) in seen.items() if name.endswith(f"coupling.{second}")]
        assert outputs == inputs
        assert outputs


def test_a_coupling_with_which_the_graph_begins_is_as_any_other():
    class Alone(Toy):
        def __init__(self, shape):
            super().__init__(shape)
            self.coupling = glow().blocks[0].steps[0].coupling

        def log_prob(self, x):
            z, log_det = self.coupling(x)
            return log_det - z.square().sum(dim=(1, 2, 3))

    model, x = Alone((12, 4, 4)), images(4, (12, 4, 4))
    norms = layer_norms(model, x, [2], "closed-form")[2]
    torch.testing.assert_close(norms.squared, loop(model, x, 2), rtol=1e-9, atol=1e-24)


def test_layers_that_a_model_has_not_are_refused():
    with pytest.raises(ValueError, match="no layer of Affine is among the layers 'weights'; choose others"):
        make_engine(Affine(SHAPE), layers="weights")


def test_only_the_layers_chosen_need_a_closed_form():
    """Weights that two modules share are no hindrance where they are left out."""
    model, x = glow(), images(2)
    first, second = (model.blocks[0].steps[i].coupling for i in range(2))
    first.second.weight = second.second.weight
    assert isinstance(make_engine(model, layers="without_weights"), ClosedForm)
    found = layer_norms(model, x, [1], layers="without_weights")[1].squared
    chosen = [place for place, (name, _) in enumerate(model.layers()) if is_chosen(name, "without_weights")]
    torch.testing.assert_close(found, loop(model, x, 1)[:, chosen], rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", [Twice, Linears])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_gradient_of_a_layer_is_the_sum_over_its_uses(engine, kind):
    model, x = kind(SHAPE), images(10)
    for b, norms in layer_norms(model, x, [1, 2, 5], engine).items():
        torch.testing.assert_close(norms.squared, loop(model, x, b), rtol=1e-9, atol=1e-24)


def test_a_use_that_the_objective_does_not_depend_on_adds_nothing():
    """The first of two uses of a Glow counts; where none counts, the gradient is exactly zero."""

    class Once(Twice):
        def log_prob(self, x):
            self.glow.log_prob(-x)
            return self.glow.log_prob(x)

    class Never(Twice):
        def log_prob(self, x):
            self.glow.log_prob(x)
            return x.square().sum(dim=(1, 2, 3)).requires_grad_()

    x = images(4)
    once, alone = layer_norms(Once(SHAPE), x, [2])[2], layer_norms(glow(), x, [2])[2]
    torch.testing.assert_close(once.squared, alone.squared, rtol=1e-12, atol=0)
    assert not layer_norms(Never(SHAPE), x, [2])[2].squared.any()


@pytest.mark.parametrize("engine", ENGINES)
def test_dead_layers_are_exactly_zero_where_the_loop_says_so(engine):
    model, x = glow(perturbation=0), images(10)
    for b, norms in layer_norms(model, x, [1, 5], engine).items():
        expected = loop(model, x, b)
        assert (expected == 0).all(dim=0).sum() > expected.shape[1] / 4
        assert ((norms.squared == 0) == (expected == 0)).all()


@pytest.mark.parametrize("positions", [1, 7, 150])
@pytest.mark.parametrize("widths", [(3, 200), (200, 200), (5, 4)])
@pytest.mark.parametrize("scaled", [False, True])
def test_outer_products_have_the_norms_of_what_they_stand_for(positions, widths, scaled):
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randn(6, positions, n, generator=generator, dtype=torch.float64) for n in widths)
    scale = torch.rand(widths[1], generator=generator, dtype=torch.float64) if scaled else None
    formed = torch.einsum("ipn,ipm->inm", rows, columns) * (1 if scale is None else scale)
    for sizes in ([1], [2], [1, 3], [2, 6]):
        for b, norms in squared_norms(Outer(rows, columns, scale), sizes).items():
            expected = formed.unflatten(0, (-1, b)).sum(dim=1).square().sum(dim=(1, 2))
            torch.testing.assert_close(norms, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_float32_with_channels_last_differs_by_rounding(engine):
    model, x = glow(hidden=40), images(10)
    expected = layer_norms(model, x, [1, 5], engine)
    single = glow(hidden=40, dtype=torch.float32).to(memory_format=torch.channels_last)
    x = x.float().contiguous(memory_format=torch.channels_last)
    for b, norms in layer_norms(single, x, [1, 5], engine).items():
        torch.testing.assert_close(norms.squared.double(), expected[b].squared, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_the_caller_is_changed(engine):
    model, x = glow(), images(4).requires_grad_()
    model.top.weight.requires_grad_(False)
    model.log_prob(x).sum().backward()
    before = {name: (parameter.clone(), parameter.requires_grad) for name, parameter in model.named_parameters()}
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    x_before, x_gradient = x.detach().clone(), x.grad.clone()
    layer_norms(model, x, [1, 2], engine)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None if gradients[name] is None else torch.equal(parameter.grad, gradients[name])
    assert x.requires_grad
    assert torch.equal(x, x_before)
    assert torch.equal(x.grad, x_gradient)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_in_the_model_leaves_it_as_it_was(engine):
    model = Unfinished(SHAPE)
    with pytest.raises(ArithmeticError):
        layer_norms(model, images(2), [1], engine)
    assert all(parameter.requires_grad and parameter.grad is None for _, parameter in model.layers())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("engine", ENGINES)
def test_it_works_where_gradients_are_off(engine):
    model, x = glow(), images(2)
    with torch.no_grad():
        norms = layer_norms(model, x, [1], engine)[1]
    torch.testing.assert_close(norms.squared, loop(model, x, 1), rtol=1e-9, atol=0)
    assert not norms.squared.requires_grad
    assert not norms.statistics["log_prob"].requires_grad


def test_the_engine_follows_from_the_model():
    assert isinstance(make_engine(glow()), ClosedForm)
    assert isinstance(make_engine(tied_flow()), ClosedForm)
    affine, x = Affine(SHAPE).double(), images(4)
    assert isinstance(make_engine(affine), Generic)
    torch.testing.assert_close(layer_norms(affine, x, [2])[2].squared, loop(affine, x, 2))


@pytest.mark.parametrize(
    ("model", "engine", "message"),
    [
        (Affine(SHAPE), "closed-form", "no closed form covers logs; take engine='generic'"),
        (Affine(SHAPE), "closed_form", "did you mean 'closed-form'"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused(model, engine, message):
    with pytest.raises(ValueError, match=message):
        make_engine(model, engine)


def test_a_model_that_goes_around_a_module_is_refused():
    """Where a module's weights are used without it, or it sees an image in several rows, its gradients are not seen."""
    for model, message in (
        (Linears(SHAPE, lambda layer, x: x @ layer.weight.mT + layer.bias), "the model does not call layer"),
        (Linears(SHAPE, lambda layer, x: layer(x.repeat(3, 1, 1, 1))), "layer is given 6 inputs for 2 images"),
    ):
        with pytest.raises(Uncovered, match=message):
            layer_norms(model, images(2), [1], "closed-form")
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_parameters_that_two_modules_share_have_no_closed_form():
    model, x = glow(), images(2)
    first, second = (model.blocks[0].steps[i].coupling for i in range(2))
    first.second.weight = second.second.weight
    assert isinstance(make_engine(model), Generic)
    torch.testing.assert_close(layer_norms(model, x, [1])[1].squared, loop(model, x, 1), rtol=1e-9, atol=0)


def test_groups_that_do_not_fill_are_refused():
    with pytest.raises(ValueError, match="10 images do not make groups of 4"):
        layer_norms(glow(), images(10), [1, 4])


@pytest.mark.parametrize("model", [glow(), tied_flow()], ids=["glow", "tied flow"])
def test_nothing_but_norms_is_kept(model):
    """All that outlives a pass is images × layers numbers, whatever the engine was given."""
    engine = make_engine(model, "closed-form")
    engine(images(4), [1])
    kept = [value for value in vars(engine._pass).values() if isinstance(value, list | dict)]
    tensors = [
        t for value in kept for t in (value.values() if isinstance(value, dict) else value) if torch.is_tensor(t)
    ]
    layers = len([*model.layers()])
    assert sum(tensor.numel() for tensor in tensors) == 4 * layers


def test_an_objective_that_a_model_has_not_is_refused():
    with pytest.raises(ValueError, match=r"Affine has no objective 'sum_z'; valid names: log_prob"):
        layer_norms(Affine((1, 2, 2)), images(2, (1, 2, 2)), [1], objective="sum_z")
    with pytest.raises(ValueError, match=r"Glow has no objective 'logprob'; did you mean 'log_prob'\?"):
        layer_norms(glow(), images(2), [1], objective="logprob")
    with pytest.raises(ValueError, match="Affine has no networks apart"), Affine((1, 2, 2)).networks_in(torch.bfloat16):
        pass
