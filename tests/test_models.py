"""Every model keeps the promises of DensityModel; what Glow promises besides comes below."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, jacrev, vmap

from immature_ood import registry
from immature_ood.checkpoints import WEIGHTS, Run, load_model, save_tensors
from immature_ood.config import ModelConfig
from immature_ood.density import Flow, bits_per_dim
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.models import make_model
from immature_ood.models._glow import ActNorm, Glow, InvertibleConv, squeeze, unsqueeze
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.models.tied_flow import Config as TiedFlowConfig
from immature_ood.study import TrainingConfig


@dataclass(frozen=True)
class Case:
    """A small model of one architecture."""

    config: ModelConfig
    shape: tuple[int, ...]

    def make(self, seed=0, perturbation=0.03, dtype=torch.float64):
        """The model, initialised on noise, its weights moved so that nothing is zero any more."""
        generator = torch.Generator().manual_seed(seed)
        model = make_model(self.config, self.shape, generator)
        model.initialise(self.samples(32, seed, torch.float32))
        model = model.to(dtype)
        with torch.no_grad():
            for _, parameter in model.layers():
                parameter += perturbation * torch.randn(parameter.shape, generator=generator).to(dtype)
        return model

    @property
    def data(self):
        """The kind of its data, of images as wide as high."""
        kind, *_ = getattr(registry.load("models", self.config.architecture), "KINDS", ("images",))
        if kind == "images":
            return ImageConfig(channels=self.shape[0], side=self.shape[1])
        return registry.parse("kinds", {"kind": kind, "length": self.shape[0]})

    def samples(self, number, seed=0, dtype=torch.float64):
        """Some x: images, or what a model of another kind of data gives as examples."""
        if isinstance(self.data, ImageConfig):
            return images(number, self.shape, seed, dtype)
        model = make_model(self.config, self.shape, torch.Generator())
        return model.example(number, torch.Generator().manual_seed(1000 + seed))

    @property
    def dtype(self):
        """In which the architecture trains."""
        return next(make_model(self.config, self.shape, torch.Generator()).parameters()).dtype


def images(number, shape, seed=0, dtype=torch.float64):
    """Dequantised images in [−0.5, 0.5)."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.rand(number, *shape, generator=generator, dtype=torch.float64).to(dtype) - 0.5


def cases():
    """The examples that each model gives of itself, of the package and of tests, by what they are."""
    plugins = Path(__file__).with_name("plugins")
    for name in [
        *registry.names("models"),
        *(str(plugins / f"{own}.py") for own in ("tiny_vae", "two_sided", "zuko_flow")),
    ]:
        for config, shape in registry.config_class("models", name).examples():
            case = Case(config.model_copy(update={"architecture": name}), shape)
            options = config.model_dump(exclude={"architecture"}).values()
            yield f"{registry.own_name(name)}, {'x'.join(map(str, shape))}, {' '.join(map(str, options))}", case


CASES = dict(cases())
FLOWS = {name: case for name, case in CASES.items() if isinstance(case.make(), Flow)}
GLOWS = {name: case for name, case in CASES.items() if case.config.architecture == "glow"}

every_model = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_flow = pytest.mark.parametrize("case", FLOWS.values(), ids=FLOWS.keys())
every_glow = pytest.mark.parametrize("case", GLOWS.values(), ids=GLOWS.keys())


def test_there_is_an_example_of_every_model():
    assert {case.config.architecture for case in CASES.values()} > {*registry.names("models")}


def noise_for(model, number, seed=0, objective=None):
    """The noise of an objective, by default of the one that trains the model; None if it needs none."""
    shape = model.objective(objective or model.trained_by).noise_shape
    if shape is None:
        return None
    generator = torch.Generator().manual_seed(2000 + seed)
    noise = torch.randn(number, *shape, generator=generator, dtype=torch.float64)
    return noise.to(next(model.parameters()))


def trained(model, x, noise=None):
    """The values of the objective that the model is trained by."""
    return model.objective(model.trained_by)(model, x, noise).value


def part(noise, place):
    return None if noise is None else noise[place : place + 1]


@every_model
def test_the_config_says_what_objectives_there_are_and_what_they_give(case):
    model, x = case.make(), case.samples(2)
    assert model.objectives().keys() == case.config.objectives().keys()
    assert model.trained_by in case.config.objectives()
    assert model.scored_by == case.config.scored_by()
    for name, statistics in case.config.objectives().items():
        assert model.objective(name).name == name
        value, given = model.objective(name)(model, x, noise_for(model, 2, objective=name))
        assert value.shape == (2,)
        assert (*given,) == statistics
        assert all(len(each) == 2 for each in given.values())


@every_model
def test_an_objective_treats_samples_one_by_one_and_leaves_them_alone(case):
    model, x = case.make(), case.samples(5)
    before = x.clone()
    for objective in model.objectives().values():
        noise = noise_for(model, 5, objective=objective.name)
        together = objective(model, x, noise)
        again = objective(model, x, noise)
        alone = [objective(model, image[None], part(noise, place)) for place, image in enumerate(x)]
        assert torch.equal(x, before)
        assert torch.equal(again.value, together.value)  # no hidden randomness
        torch.testing.assert_close(torch.cat([one.value for one in alone]), together.value, rtol=1e-12, atol=1e-10)
        for name, statistic in together.statistics.items():
            ones = torch.cat([one.statistics[name] for one in alone])
            torch.testing.assert_close(ones, statistic, rtol=1e-12, atol=1e-10)


@every_model
def test_noise_is_given_as_the_model_needs_it(case):
    model, x = case.make(), case.samples(2)
    needed = noise_for(model, 2)
    for wrong in [torch.zeros(2, 9)] if needed is None else [None, needed[..., 1:]]:
        with pytest.raises(ValueError, match="needs noise of the shape"):
            trained(model, x, wrong)


@every_model
def test_the_density_is_known_or_said_not_to_be(case):
    model, x = case.make(), case.samples(2)
    if "log_prob" in model.objectives():
        evaluated = model.objective("log_prob")(model, x, noise_for(model, 2, objective="log_prob"))
        assert torch.equal(evaluated.value, model.log_prob(x))
        assert torch.equal(evaluated.statistics["log_prob"], evaluated.value)
    else:
        with pytest.raises(NotImplementedError, match=rf"no log_prob, only {', '.join(model.objectives())}"):
            model.log_prob(x)


@every_model
def test_gradients_by_vmap_equal_those_of_a_loop(case):
    model, x = case.make(), case.samples(3)
    noise, objective = noise_for(model, 3), model.objective(model.trained_by)
    parameters = {f"model.{name}": parameter.detach() for name, parameter in model.layers()}

    class Value(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, image, own):
            return objective(self.model, image[None], None if own is None else own[None]).value[0]

    of_one = grad(lambda p, *inputs: functional_call(Value(), p, inputs))
    by_vmap = vmap(of_one, in_dims=(None, 0, None if noise is None else 0))(parameters, x, noise)
    for place, image in enumerate(x):
        value = trained(model, image[None], part(noise, place))
        loop = torch.autograd.grad(value.sum(), [p for _, p in model.layers()])
        for (name, _), expected in zip(model.layers(), loop, strict=True):
            torch.testing.assert_close(by_vmap[f"model.{name}"][place], expected, rtol=1e-10, atol=1e-10)


@every_model
def test_every_parameter_gets_a_gradient_but_those_that_the_model_calls_dead(case):
    model = case.make()
    trained(model, case.samples(4), noise_for(model, 4)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.layers()}
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients.values())
    assert {name for name, gradient in gradients.items() if not gradient.any()} == model.dead_layers


@every_model
def test_layers_are_all_parameters_in_a_fixed_order(case):
    first, second = ([name for name, _ in case.make(seed).layers()] for seed in (0, 1))
    assert first == second == [name for name, _ in case.make().named_parameters()]
    assert len({*first}) == len(first)


@every_model
def test_float32_is_close_to_float64(case):
    x, exact, single = case.samples(4), case.make(), case.make(dtype=torch.float32)
    expected = trained(exact, x, noise_for(exact, 4))
    found = trained(single, single.taken(x), noise_for(single, 4))
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-2)


@every_glow
def test_networks_may_compute_in_bfloat16_for_a_while(case):
    model, x = case.make(dtype=torch.float32), images(4, case.shape, dtype=torch.float32)
    exact = model.log_prob(x)
    with model.networks_in(torch.bfloat16):
        coarse = model.log_prob(x)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    torch.testing.assert_close(coarse, exact, rtol=0.02, atol=0.5)
    assert torch.equal(model.log_prob(x), exact)


@every_model
def test_samples_are_finite_and_depend_on_the_generator_alone(case):
    model = case.make(perturbation=0.02, dtype=torch.float32)
    first, again, other = (model.sample(3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == (3, *case.shape)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    still = [model.sample(1, torch.Generator().manual_seed(seed), temperature=0.0) for seed in (0, 1)]
    assert torch.equal(*still)


@every_model
def test_saved_weights_load_to_the_same_values_and_the_same_bytes(case, tmp_path):
    data = case.data
    case = replace(case, shape=data.shape)
    model = case.make(dtype=case.dtype)
    run = Run("digits", "name", case.config, TrainingConfig(), data, 0, 1, "hash", {})
    metadata = {"checkpoint": {**vars(run.checkpoint(3, 99))}}
    save_tensors(tmp_path / "first.safetensors", WEIGHTS, model.state_dict(), run, metadata)
    loaded, checkpoint = load_model(tmp_path / "first.safetensors")
    assert checkpoint == run.checkpoint(3, 99)
    x, noise = case.samples(3, dtype=torch.float32), noise_for(model, 3)
    assert torch.equal(trained(loaded, x, noise), trained(model.eval(), x, noise))
    save_tensors(tmp_path / "second.safetensors", WEIGHTS, loaded.state_dict(), run, metadata)
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()


@every_flow
def test_the_inverse_of_the_latents_is_the_image(case):
    model, x = case.make(), images(3, case.shape)
    with torch.no_grad():
        latents = model.latents(x)
        assert latents.shape == (3, model.dimensions)
        torch.testing.assert_close(model.from_latents(latents), x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(model.latents(model.from_latents(latents)), latents, rtol=1e-8, atol=1e-8)


PRIORS = {  # as the field writes them
    "glow": lambda z: torch.distributions.Normal(0.0, 1.0).log_prob(z),
    "realnvp": lambda z: torch.distributions.Normal(0.0, 1.0).log_prob(z),
    "tied_flow": lambda z: -F.softplus(z, threshold=50) - F.softplus(-z, threshold=50),
}


@pytest.mark.parametrize("name", PRIORS)
def test_the_prior_is_the_one_that_the_model_names(name):
    model = next(case for case in FLOWS.values() if case.config.architecture == name).make()
    latents = 3 * images(4, (model.dimensions,))
    torch.testing.assert_close(model.prior_log_prob(latents), PRIORS[name](latents).sum(dim=1))


@every_flow
@pytest.mark.parametrize("seed", range(3))
def test_log_prob_is_the_latents_density_times_the_jacobian(case, seed):
    """log p(x) = log prior(latents) + log |det ∂ latents / ∂ x| − D log 256."""
    model, x = case.make(seed, 0.03), images(1, case.shape, seed)
    jacobian = jacrev(lambda flat: model.latents(flat.reshape(x.shape))[0])(x.flatten())
    log_det = torch.linalg.slogdet(jacobian).logabsdet
    expected = model.prior_log_prob(model.latents(x))[0] + log_det - model.dimensions * math.log(256)
    torch.testing.assert_close(model.log_prob(x)[0], expected, rtol=1e-9, atol=1e-8)


@every_flow
def test_the_latent_is_that_of_the_log_prob(case):
    model, x = case.make(), images(3, case.shape)
    log_prob, z = model.log_prob_and_latent(x)
    value, statistics = model.objective("sum_z")(model, x)
    assert torch.equal(statistics["log_prob"], log_prob)
    assert torch.equal(statistics["latent"], z)
    assert torch.equal(model.log_prob(x), log_prob)
    torch.testing.assert_close(value, z.sum(dim=(1, 2, 3)))


# Glow ----------------------------------------------------------------------------------------------------------------


def test_the_density_integrates_to_one():
    """Over the images 1×2×2, by importance sampling from a wide Gaussian; of the continuous x, so without log 256."""
    case = Case(GlowConfig(blocks=1, steps=2, hidden_channels=4), (1, 2, 2))
    model = case.make(perturbation=0.03)
    drawn = model.sample(4000, torch.Generator().manual_seed(1)).flatten(1)
    mean, factor = drawn.mean(dim=0), torch.linalg.cholesky(torch.cov(drawn.T) * 2.0)
    proposal = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        points = proposal.sample((400_000,))
    with torch.no_grad():
        log_prob = model.log_prob(points.reshape(-1, 1, 2, 2)) + 4 * math.log(256)
    weights = torch.exp(log_prob - proposal.log_prob(points))
    error = weights.std() / math.sqrt(len(weights))
    assert error < 0.01
    assert abs(weights.mean() - 1) < 4 * error


@every_glow
def test_every_actnorm_puts_out_mean_zero_and_variance_one_after_initialisation(case):
    x = images(64, case.shape)
    model = make_model(case.config, case.shape, torch.Generator().manual_seed(0)).double()
    seen = {}
    original = ActNorm.initialise

    def spy(actnorm, z):
        seen[actnorm] = original(actnorm, z)
        return seen[actnorm]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActNorm, "initialise", spy)
        model.initialise(x)
    actnorms = [module for module in model.modules() if isinstance(module, ActNorm)]
    assert {*seen} == {*actnorms}
    for actnorm, y in seen.items():
        assert actnorm.initialised
        torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(y.shape[1], dtype=y.dtype), rtol=0, atol=1e-9)
        variance = y.var(dim=(0, 2, 3), correction=0)
        constant = variance < 1e-9  # a channel of a network that a ReLU shut
        torch.testing.assert_close(variance[~constant], torch.ones_like(variance[~constant]), rtol=1e-6, atol=0)
        assert (~constant).any()


def test_a_constant_channel_leaves_initialisation_finite():
    model = make_model(GlowConfig(blocks=1, steps=1, hidden_channels=4), (1, 4, 4), torch.Generator().manual_seed(0))
    model.initialise(torch.zeros(8, 1, 4, 4))
    assert torch.isfinite(model.log_prob(torch.zeros(2, 1, 4, 4))).all()


def plain_log_prob(model, x):
    """Glow as the paper states it, operation by operation, nothing folded."""
    total = torch.full((len(x),), -x[0].numel() * math.log(256), dtype=x.dtype)

    def gaussian(z, h):
        mean, logs = h[:, 0::2], h[:, 1::2]
        normal = torch.distributions.Normal(mean.expand_as(z), torch.exp(logs).expand_as(z))
        return normal.log_prob(z).sum(dim=(1, 2, 3))

    def actnorm(layer, z):
        return (z + layer.bias) * torch.exp(layer.logs)

    def zero_conv(layer, z):
        return F.conv2d(z, layer.weight, layer.bias, padding=1) * torch.exp(3 * layer.logs)

    z = x
    for block in model.blocks:
        z = squeeze(z)
        positions = z.shape[2] * z.shape[3]
        for step in block.steps:
            z = actnorm(step.actnorm, z)
            weight = step.mixing.weight()
            z = torch.einsum("ij,njhw->nihw", weight, z)
            total = total + positions * (step.actnorm.logs.sum() + torch.linalg.slogdet(weight)[1])
            net, half = step.coupling, z.shape[1] // 2
            h = F.relu(actnorm(net.first.actnorm, F.conv2d(z[:, :half], net.first.weight, padding=1)))
            h = F.relu(actnorm(net.second.actnorm, F.conv2d(h, net.second.weight)))
            h = zero_conv(net.last, h)
            scale = torch.sigmoid(h[:, 1::2] + 2)
            z = torch.cat([z[:, :half], (z[:, half:] + h[:, 0::2]) * scale], dim=1)
            total = total + torch.log(scale).sum(dim=(1, 2, 3))
        if block.split is not None:
            half = z.shape[1] // 2
            total = total + gaussian(z[:, half:], zero_conv(block.split.prior, z[:, :half]))
            z = z[:, :half]
    zeros = torch.zeros(1, 2 * z.shape[1], *z.shape[2:], dtype=z.dtype)
    return total + gaussian(z, zero_conv(model.top, zeros))


@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(
    blocks=st.integers(1, 2),
    steps=st.integers(1, 3),
    hidden=st.integers(1, 6),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_log_prob_equals_the_unfolded_model(blocks, steps, hidden, channels, seed):
    case = Case(GlowConfig(blocks=blocks, steps=steps, hidden_channels=hidden), (channels, 8, 4))
    model, x = case.make(seed, 0.03), images(3, case.shape, seed)
    torch.testing.assert_close(model.log_prob(x), plain_log_prob(model, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("config", "shape", "tensors", "parameters"),
    [
        (GlowConfig(blocks=3, steps=32, hidden_channels=512), (3, 32, 32), 1353, 44_235_312),
        (GlowConfig(blocks=1, steps=10, hidden_channels=1000), (1, 28, 28), 143, 10_581_112),
    ],
    ids=["the paper's RGB Glow", "the paper's grey Glow"],
)
def test_the_papers_models_have_their_published_sizes(config, shape, tensors, parameters):
    layers = [parameter for _, parameter in Glow(config, shape, torch.Generator().manual_seed(0)).layers()]
    assert (len(layers), sum(parameter.numel() for parameter in layers)) == (tensors, parameters)


def test_a_side_that_cannot_be_squeezed_is_refused():
    with pytest.raises(ValueError, match="sides divisible by 8, got 28×28"):
        make_model(GlowConfig(blocks=3), (1, 28, 28), torch.Generator())


def test_the_invertible_convolution_starts_as_a_rotation():
    weight = InvertibleConv(6, torch.Generator().manual_seed(0)).weight()
    torch.testing.assert_close(weight @ weight.T, torch.eye(6), rtol=0, atol=1e-5)


def test_unsqueeze_undoes_squeeze_and_squares_become_channels():
    x = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    assert torch.equal(unsqueeze(squeeze(x)), x)
    assert squeeze(x)[0, :4, 0, 0].tolist() == x[0, 0, :2, :2].flatten().tolist()


def test_bits_per_dim_of_uniform_noise_is_eight():
    log_prob = torch.tensor([-784 * math.log(256)])
    np.testing.assert_allclose(bits_per_dim(log_prob, 784), 8.0)


# Tied flow -----------------------------------------------------------------------------------------------------------


def plain_tied_log_prob(model, x):
    """The released code's model, operation by operation, without the constant 1 that it adds at every step."""
    z, total = x + 0.5, torch.zeros(len(x), dtype=x.dtype)
    weight, bias = model.rescaling.weight.view(1, -1, 1, 1), model.rescaling.bias.view(1, -1, 1, 1)
    positions = x.shape[2] * x.shape[3]
    for step in range(model.steps):
        z = weight * z + bias
        z = torch.einsum("ij,njhw->nihw", model.mixing.weight, z)
        total = total + positions * (
            torch.log(torch.abs(weight)).sum() + torch.log(torch.abs(torch.det(model.mixing.weight)))
        )
        flat = z.flatten(1)
        kept = torch.tensor([float(place % 2 == step % 2) for place in range(flat.shape[1])], dtype=x.dtype)
        s, t = torch.tanh(model.coupling.scale(kept * flat)), model.coupling.shift(kept * flat)
        total = total + ((1 - kept) * s).sum(dim=1)
        z = (kept * flat + (1 - kept) * ((1 - kept) * flat * torch.exp(s) + t)).reshape(x.shape)
    logistic = z - 2 * torch.log(1 + torch.exp(z))
    return total + logistic.sum(dim=(1, 2, 3)) - x[0].numel() * math.log(256)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_tied_flow_equals_the_plain_one(steps, channels):
    case = Case(TiedFlowConfig(steps=steps, hidden_layers=3, hidden_features=6), (channels, 4, 3))
    model, x = case.make(steps), images(3, case.shape)
    torch.testing.assert_close(model.log_prob(x), plain_tied_log_prob(model, x), rtol=1e-11, atol=1e-10)


def test_the_released_grey_model_has_its_size():
    model = make_model(TiedFlowConfig(), (1, 28, 28), torch.Generator().manual_seed(0))
    layers = [parameter for _, parameter in model.layers()]
    assert (len(layers), sum(parameter.numel() for parameter in layers)) == (51, 23_159_571)
    assert {parameter.dtype for parameter in layers} == {torch.float64}
    assert model.log_prob(torch.zeros(2, 1, 28, 28)).dtype == torch.float64


def test_a_tied_flow_follows_from_its_generator_alone():
    config = TiedFlowConfig(steps=2, hidden_layers=1, hidden_features=4)
    state = torch.random.get_rng_state()
    first, again, other = (make_model(config, (1, 2, 2), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, parameter), (_, same), (_, different) in zip(
        first.layers(), again.layers(), other.layers(), strict=True
    ):
        assert torch.equal(parameter, same)
        assert name == "rescaling.bias" or not torch.equal(parameter, different)


def test_networks_of_a_tied_flow_have_no_precision_of_their_own():
    model = make_model(TiedFlowConfig(steps=1, hidden_features=2), (1, 2, 2), torch.Generator())
    with pytest.raises(ValueError, match="TiedFlow has no networks apart"), model.networks_in(torch.bfloat16):
        pass
