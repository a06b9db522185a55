"""The variational autoencoder: exact probabilities, bounds against integrals, and the likelihood regret."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import roots_hermitenorm
from scipy.stats import logistic

from immature_ood.detectors import fit
from immature_ood.extraction import Split, extract
from immature_ood.gradients import layer_norms
from immature_ood.gradients.closed_form import uncovered
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.models import make_model
from immature_ood.models._vae import LEAST_LOG_SCALE, log_probability, parameters_of
from immature_ood.models.vae import Config
from immature_ood.registry import parse
from immature_ood.study import FeatureConfig, Study, StudyError

VALUES = torch.arange(256, dtype=torch.float64)
SHAPE = (1, 2, 2)
NODES, WEIGHTS = (torch.from_numpy(each) for each in roots_hermitenorm(60))
WEIGHTS = WEIGHTS / WEIGHTS.sum()  # of the standard normal distribution


def vae(shape=SHAPE, seed=0, dtype=torch.float64, spread=0.1, **options):
    """A small model, its weights moved so that nothing is zero and the latent matters."""
    config = Config(**{"latents": 1, "channels": 3, "levels": 1, "regret_steps": 5, **options})
    generator = torch.Generator().manual_seed(seed)
    model = make_model(config, shape, generator).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator).to(dtype)
    return model


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quantiles(number):
    """(number, 1): as evenly spread as draws of one normal number can be, of variance 1."""
    spread = torch.special.ndtri((torch.arange(number, dtype=torch.float64)[:, None] + 0.5) / number)
    return spread / spread.square().mean().sqrt()


def images(number, shape=SHAPE, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, *shape, generator=generator, dtype=torch.float64) - 0.5


def pixels(x):
    return torch.floor((x + 0.5) * 256)


def at_each(model, x, z):
    """log P(x | z) of N images at M latents each: z (M, N, 1) → (M, N)."""
    images = pixels(x).expand(len(z), *x.shape).flatten(0, 1)
    return model.log_likelihood(images, z.flatten(0, 1)).unflatten(0, z.shape[:2])


def integrated(model, x, points=301):
    """The oracle: log ∫ P(x | z) N(z) dz of one latent, (N,)."""
    z = torch.linspace(-9, 9, points, dtype=torch.float64)
    joint = at_each(model, x, z[:, None, None].expand(-1, len(x), 1))
    density = -0.5 * (z**2 + math.log(2 * math.pi)) + math.log(18 / (points - 1))
    return torch.logsumexp(joint + density[:, None], dim=0)


def expected_elbo(model, x, posterior):
    """The oracle: the mean of the bound over the noise of one latent, by quadrature, (N,)."""
    mean, log_deviation = posterior.chunk(2, dim=1)
    deviation = torch.exp(log_deviation)
    likelihoods = at_each(model, x, mean + deviation * NODES[:, None, None])
    prior, own = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, deviation)
    return (WEIGHTS[:, None] * likelihoods).sum(dim=0) - torch.distributions.kl_divergence(own, prior)[:, 0]


@pytest.mark.parametrize("mean", [-3.0, -0.5, -0.2, 0.0, 0.4999, 2.0])
@pytest.mark.parametrize("log_scale", [LEAST_LOG_SCALE, -4.0, -1.0, 3.0])
def test_the_values_of_a_pixel_have_probabilities_that_sum_to_one(mean, log_scale):
    one = partial(torch.full_like, VALUES)
    probability = log_probability(VALUES, one(mean), one(log_scale)).exp()
    assert probability.sum() == pytest.approx(1, abs=1e-12)
    edges = np.concatenate([[-np.inf], np.arange(1, 256) / 256 - 0.5, [np.inf]])
    expected = np.diff(logistic.cdf(edges, mean, math.exp(log_scale)))
    np.testing.assert_allclose(probability, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("mean", [-50.0, -0.5, 0.1, 50.0])
@pytest.mark.parametrize("log_scale", [LEAST_LOG_SCALE, -2.0, 4.0])
def test_the_probability_of_a_pixel_is_finite_and_exact_in_float32_as_is_its_gradient(mean, log_scale):
    def evaluated(dtype):
        parameters = [torch.full((256,), each, dtype=dtype, requires_grad=True) for each in (mean, log_scale)]
        value = log_probability(VALUES.to(dtype), *parameters)
        return value, *torch.autograd.grad(value.sum(), parameters)

    for single, exact in zip(evaluated(torch.float32), evaluated(torch.float64), strict=True):
        assert torch.isfinite(single).all()
        torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-3)


def test_a_probability_too_small_for_a_number_has_its_logarithm():
    """100 scales from the mean σ(a) − σ(b) is zero in float64 above and exact below: the two are alike."""
    mean, log_scale = torch.zeros(2, dtype=torch.float64), torch.full((2,), -8.0, dtype=torch.float64)
    found = log_probability(torch.tensor([28.0, 227.0], dtype=torch.float64), mean, log_scale)
    upper = (29 / 256 - 0.5) * math.exp(8)
    assert found.tolist() == pytest.approx([upper + math.log(-math.expm1(-math.exp(8) / 256))] * 2)


def test_the_noise_of_dequantisation_changes_nothing():
    model, x, noise = vae(), images(3), drawn(3, 1)
    quantised = pixels(x) / 256 - 0.5
    assert torch.equal(model.elbo(x, noise).value, model.elbo(quantised, noise).value)


def test_the_density_sums_to_one():
    """Over all 256⁴ images of 4 pixels, by importance sampling from a distribution that is wider."""
    model = vae()
    z = torch.zeros(1, 1, dtype=torch.float64)
    mean, log_scale = (each.detach() for each in parameters_of(model.decoder(z)))
    uniform = torch.rand(4000, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = mean + torch.exp(log_scale + 0.2) * torch.logit(uniform)
    proposal = log_probability(pixels(x).clamp(0, 255), mean, log_scale + 0.2).flatten(1).sum(dim=1)
    with torch.no_grad():
        weights = torch.exp(integrated(model, x.clamp(-0.5, 0.499), 101) - proposal)
    error = weights.std() / math.sqrt(len(weights))
    assert error < 0.02
    assert abs(weights.mean() - 1) < 4 * error


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_bounds_are_below_log_p_and_rise_to_it_with_the_samples(seed):
    """Means over the noise are exact: of one sample over the nodes of a quadrature, of two over their pairs."""
    x = images(1, seed=seed)
    models = [vae(seed=seed, spread=0.2, importance_samples=samples) for samples in (1, 2, 500)]
    exact = integrated(models[0], x).item()
    elbo = WEIGHTS @ models[0].elbo(x.expand(60, *SHAPE), NODES[:, None]).value
    assert elbo.item() == pytest.approx(expected_elbo(models[0], x, models[0].posterior(pixels(x))).item(), abs=1e-9)
    one = WEIGHTS @ models[0].iwae(x.expand(60, *SHAPE), NODES[:, None, None]).value
    pairs = torch.cartesian_prod(NODES, NODES)[:, :, None]
    two = torch.cartesian_prod(WEIGHTS, WEIGHTS).prod(dim=1) @ models[1].iwae(x.expand(3600, *SHAPE), pairs).value
    many = models[2].iwae(x, quantiles(500)[None]).value.item()
    assert one.item() == pytest.approx(elbo.item(), abs=1e-9)
    assert elbo < two < many
    assert many == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_the_regret_is_what_the_best_posterior_gains(seed):
    model = vae(seed=seed, spread=0.2, regret_steps=100, importance_samples=100)
    x = images(1, seed=seed)
    start = model.posterior(pixels(x)).detach()

    def lost(place):
        return -expected_elbo(model, x, torch.from_numpy(place)[None]).item()

    with torch.no_grad():
        best = minimize(lost, start[0].numpy(), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4})
        found = model.regret(x, torch.cat([drawn(100, 1), quantiles(100)])[None]).value.item()
        gained = lost(start[0].numpy()) - best.fun
        assert gained > 0.05
        assert found == pytest.approx(gained, rel=0.02, abs=0.03)


def test_the_regret_is_infinite_where_the_encoder_leaves_no_bound(monkeypatch):
    """Its deviation overflows: seen of one of 300 digits, under a model of photographs after its 128th epoch."""
    model, x, noise = vae(importance_samples=2), images(2), drawn(2, 7, 1)
    expected, chosen = model.regret(x, noise).value, model.posterior
    overflow = torch.tensor([[0.0, 0.0], [0.0, 800.0]])
    monkeypatch.setattr(model, "posterior", lambda pixels: chosen(pixels) + overflow)
    found = model.regret(x, noise).value
    torch.testing.assert_close(found[0], expected[0])
    assert found[1] == torch.inf


def test_the_regret_is_alike_with_and_without_a_graph_and_changes_no_weights():
    model, x, noise = vae(importance_samples=2), images(3), drawn(3, 7, 1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        still = model.regret(x, noise).value
    value = model.regret(x, noise).value
    torch.testing.assert_close(value, still, rtol=1e-12, atol=1e-12)
    value.sum().backward()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("objective", ["elbo", "iwae", "regret"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5)])
def test_closed_forms_cover_every_objective(objective, shape):
    model, x = vae(shape, latents=3, levels=2, importance_samples=3), images(4, shape)
    noise = drawn(4, *model.objective(objective).noise_shape)
    assert uncovered(model) == []
    fast, generic = (layer_norms(model, x, [1, 2], engine, objective, noise) for engine in ("closed-form", "generic"))
    for b in (1, 2):
        torch.testing.assert_close(fast[b].squared, generic[b].squared, rtol=1e-9, atol=1e-24)
    of_loop = gradients(model, x[:1], noise[:1], objective)
    torch.testing.assert_close(fast[1].squared[0], torch.stack([g.square().sum() for g in of_loop]), rtol=1e-9, atol=0)


def gradients(model, x, noise, objective):
    value = model.objective(objective)(model, x, noise).value.sum()
    return torch.autograd.grad(value, [parameter for _, parameter in model.layers()])


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 5, 3), (3, 28, 28), (2, 17, 32)])
def test_any_side_comes_back_as_it_was(shape):
    model = vae(shape, channels=2, dtype=torch.float32)
    assert model.sample(2, torch.Generator()).shape == (2, *shape)
    assert torch.isfinite(model.elbo(images(2, shape).float(), drawn(2, 1).float()).value).all()


@pytest.mark.parametrize(("side", "levels", "fault"), [(28, 4, False), (28, 5, True), (3, 1, False), (3, 2, True)])
def test_a_side_too_short_is_refused_when_the_study_is_planned(side, levels, fault):
    config = {"name": "s", "image": {"channels": 1, "side": side}, "models": {"vae": {"levels": levels}}}
    config |= {"datasets": {"digits": {}, "glyphs": {}}, "epochs": [0, 1], "detectors": ["likelihood_regret"]}
    if not fault:
        assert "likelihood_regret" in Study.parse(config).statistics("vae")
        return
    with pytest.raises(StudyError, match=f"levels: {levels} levels halve the side {levels} times, but image.side is"):
        Study.parse(config)


def test_samples_have_the_probabilities_of_the_model():
    """Of one pixel given the latent's mean over the prior, at three cuts, and by temperature 0 the mean alone."""
    model = vae()
    x = model.sample(20_000, torch.Generator().manual_seed(3))
    assert torch.equal(pixels(x) + 0.5, (x + 0.5) * 256)
    z = NODES[:, None]
    mean, log_scale = (each.detach().double() for each in parameters_of(model.decoder(z)))
    for cut in (-0.3, 0.0, 0.25):
        expected = WEIGHTS @ torch.sigmoid((cut - mean) / torch.exp(log_scale)).flatten(1)
        found = (x < cut).double().mean(dim=0).flatten()
        torch.testing.assert_close(found, expected, rtol=0, atol=4 * 0.5 / math.sqrt(20_000))
    still = model.sample(1, torch.Generator(), temperature=0.0)
    middle, _ = parameters_of(model.decoder(torch.zeros(1, 1, dtype=torch.float64)))
    assert (still - middle.detach()).abs().max() <= 0.5 / 256 + 1e-12


def features(statistics=("log_norms",), **options):
    """Of random images, by a small model: b = 1."""
    model = vae((1, 8, 8), dtype=torch.float32, latents=2, importance_samples=3)
    stored = (256 * (images(12, (1, 8, 8)) + 0.5)).to(torch.uint8).numpy()
    split = Split(stored, ImageConfig(channels=1, side=8), "digits", "fit")
    (found,) = extract(model, split, FeatureConfig(batch_sizes=[1], **options), statistics)
    return found


def test_detectors_get_what_they_read_of_the_objective_that_gives_it():
    found = features(("log_norms", "likelihood_regret", "kl", "latent"))
    assert {*found.statistics} == {"log_norms", "log_prob", "likelihood_regret", "kl", "latent"} - {"log_prob"}
    assert found.of("latent").shape == (12, 1, 2)
    regret = fit(parse("detectors", {"detector": "likelihood_regret"}), found)
    np.testing.assert_array_equal(regret.score(found), found.of("likelihood_regret"))
    both = features(("log_norms", "log_prob"))
    assert np.isfinite(both.bits_per_dim)
    np.testing.assert_array_equal(both.log_norms, found.log_norms)


def test_a_detector_may_read_the_decoder_alone():
    found = features()
    detector = fit(parse("detectors", {"detector": "gradient_norms", "layers": "decoder.*"}), found)
    assert {*detector.chosen} == {name for name in found.layers if name.startswith("decoder.")}
    assert {*detector.chosen} < {*found.layers}
    assert np.isfinite(detector.score(found)).all()


def test_a_model_follows_from_its_generator_alone():
    state = torch.random.get_rng_state()
    first, again, other = (vae(seed=seed, spread=0) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, weight), same, different in zip(
        first.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(weight, same)
        assert torch.equal(weight, different) == name.endswith("bias")
