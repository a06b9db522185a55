"""The diffusion model: its chain against Ho et al.'s formulae, its bound against integrals, its detectors."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from test_detectors import fitted_to, make_features
from test_models import CASES, images

import immature_ood as ood
from immature_ood.extraction import Split, extract
from immature_ood.gradients.closed_form import uncovered
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.models import make_model
from immature_ood.models._diffusion import Diffusion, decoded_log_prob, log_snr, pixels_of, scaled
from immature_ood.models.diffusion import Config
from immature_ood.study import FeatureConfig, Study, StudyError

DIFFUSIONS = {name: case for name, case in CASES.items() if case.config.architecture == "diffusion"}

every_diffusion = pytest.mark.parametrize("case", DIFFUSIONS.values(), ids=DIFFUSIONS.keys())
every_schedule = pytest.mark.parametrize("schedule", ["log_linear", "cosine"])


def diffusion(shape=(1, 1, 1), seed=0, perturbation=0.1, **options):
    """A small model in float64 whose weights are perturbed."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model(Config(**{"channels": 4, "levels": 1, "steps": 20} | options), shape, generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += perturbation * torch.randn(parameter.shape, generator=generator)
    return model


def dequantised(levels):
    """x of levels 0 … 255, in the middle of each."""
    return (torch.as_tensor(levels, dtype=torch.float64) + 0.5) / 256 - 0.5


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def knowing(monkeypatch, eps):
    """In the place of the network's prediction that of a function of the model, z and the steps."""
    monkeypatch.setattr(Diffusion, "eps", eps)


@every_diffusion
def test_closed_forms_cover_every_layer(case):
    assert uncovered(case.make()) == []


def test_weights_follow_from_the_generator_alone():
    state = torch.random.get_rng_state()
    first, again, other = (diffusion((1, 8, 8), seed, 0.0, levels=2).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# The chain -----------------------------------------------------------------------------------------------------------


def of_ho(schedule, steps):
    """ᾱ₀…ᾱ_T, and of the steps 1…T β, α and the posterior variance β̃, as Ho et al. write them."""
    bar = 1 / (1 + np.exp(-log_snr(schedule, steps).numpy()))
    alpha = bar[1:] / bar[:-1]
    return bar, 1 - alpha, alpha, (1 - bar[:-1]) / (1 - bar[1:]) * (1 - alpha)


@every_schedule
def test_the_signal_falls_from_a_quarter_of_a_grey_level_to_noise(schedule):
    bar = of_ho(schedule, 50)[0]
    assert (np.diff(bar) < 0).all()
    assert math.sqrt((1 - bar[0]) / bar[0]) == pytest.approx(2 / 256 / 4, rel=0.02)
    assert bar[-1] < 0.01


@every_schedule
def test_the_terms_of_the_bound_weigh_as_those_of_ho(schedule):
    """β² / (2 σ² α (1 − ᾱ)) with σ² = β̃ (their equation 12)."""
    bar, beta, alpha, variance = of_ho(schedule, 50)
    model = diffusion(schedule=schedule, steps=50)
    np.testing.assert_allclose(model.weight[1:], beta**2 / (2 * variance * alpha * (1 - bar[1:])), rtol=1e-9)


@every_schedule
@pytest.mark.parametrize("step", [1, 7, 20])
def test_the_reverse_step_is_the_posterior_of_ho(monkeypatch, schedule, step):
    """Where ε is known: their equation 7."""
    bar, beta, alpha, variance = of_ho(schedule, 20)
    model, x0, eps = diffusion((1, 2, 3), schedule=schedule), 2 * images(4, (1, 2, 3)), drawn(4, 1, 2, 3)
    knowing(monkeypatch, lambda *_: eps)
    z = math.sqrt(bar[step]) * x0 + math.sqrt(1 - bar[step]) * eps
    mean, deviation = model.previous(z, step)
    of_image = math.sqrt(bar[step - 1]) * beta[step - 1] / (1 - bar[step])
    of_noisy = math.sqrt(alpha[step - 1]) * (1 - bar[step - 1]) / (1 - bar[step])
    torch.testing.assert_close(mean, of_image * x0 + of_noisy * z, rtol=1e-9, atol=1e-9)
    assert float(deviation) == pytest.approx(math.sqrt(variance[step - 1]), rel=1e-9)


def test_where_the_schedule_is_linear_all_terms_weigh_alike():
    assert diffusion(steps=30).weight[1:].numpy() == pytest.approx(0.5 * math.expm1(17.5 / 30))


@pytest.mark.parametrize("strata", [1, 3, 4])
def test_steps_are_uniform_in_each_part_of_the_way(strata):
    model, normal = diffusion(steps=12), torch.from_numpy(norm.ppf((np.arange(1200) + 0.5) / 1200))
    steps = torch.stack([model.step_of(normal, each, strata) for each in range(strata)])
    numbers, counts = steps.unique(return_counts=True)
    assert numbers.tolist() == [*range(1, 13)]
    assert {*counts.tolist()} == {1200 * strata // 12}
    assert (steps.diff(dim=0) >= 0).all()
    assert model.step_of(torch.tensor([-40.0, 40.0]), 0, 1).tolist() == [1, 12]


# The bound -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [-1.2, -0.999, 0.0, 0.1234, 1.1])
@pytest.mark.parametrize("deviation", [0.001, 0.01, 0.3])
def test_the_probabilities_of_all_grey_levels_add_to_one(mean, deviation):
    levels = torch.arange(256, dtype=torch.float64)
    found = decoded_log_prob(levels, torch.full_like(levels, mean), deviation).exp()
    edges = norm.cdf(np.r_[-np.inf, np.arange(1, 256) * 2 / 256 - 1, np.inf], mean, deviation)
    np.testing.assert_allclose(found, np.diff(edges), atol=1e-12)
    assert found.sum() == pytest.approx(1, abs=1e-9)


def test_pixels_are_read_whatever_noise_was_added():
    levels = torch.arange(256, dtype=torch.float32)
    for noise in (0.0, 0.5, 0.99):
        assert torch.equal(pixels_of((levels + noise) / 256 - 0.5), levels)
    assert scaled(levels)[[0, 255]].tolist() == [-255 / 256, 255 / 256]


def exact_log_probs(model):
    """log P of all grey levels of an image of one number: the chain's densities on grids, from noise to image."""
    bar, beta, alpha, variance = of_ho(model.config.schedule, model.config.steps)
    grid = torch.linspace(-6, 6, 1501, dtype=torch.float64)
    mass = torch.from_numpy(norm.pdf(grid)) * (grid[1] - grid[0])
    for step in range(model.config.steps, 0, -1):
        eps = model.eps(grid[:, None, None, None], torch.full((len(grid),), step)).flatten()
        mean = (grid - beta[step - 1] / math.sqrt(1 - bar[step]) * eps) / math.sqrt(alpha[step - 1])
        to = torch.linspace(-3, 3, 3601, dtype=torch.float64) if step < 3 else grid
        density = torch.exp(-0.5 * (to - mean[:, None]) ** 2 / variance[step - 1])
        mass = mass @ density * (to[1] - to[0]) / math.sqrt(2 * math.pi * variance[step - 1])
        grid = to
    levels = torch.arange(256, dtype=torch.float64)
    deviation = math.sqrt((1 - bar[0]) / bar[0])
    given = decoded_log_prob(levels[:, None], grid / math.sqrt(bar[0]), deviation).exp()
    return torch.log(given @ mass)


@every_schedule
@torch.no_grad()
def test_the_bound_is_below_the_probability_by_integrals(schedule):
    model = diffusion(steps=3, schedule=schedule, perturbation=0.03)
    exact, levels = exact_log_probs(model), torch.tensor([0.0, 40, 128, 255])
    assert exact.exp().sum() == pytest.approx(1, abs=2e-3)
    for level in levels:
        x = dequantised(level).expand(1000, 1, 1, 1)
        found = model.elbo(x, drawn(1000, 3, 2)).value  # a step in each part of the way is all steps
        error = found.std() / math.sqrt(len(found))
        assert found.mean() < exact[int(level)] + 4 * error


@torch.no_grad()
def test_the_estimate_at_a_few_steps_is_that_at_all_on_average():
    model = diffusion(steps=8, schedule="cosine")
    x = dequantised(200).expand(4000, 1, 1, 1)
    found = [model.elbo(x, drawn(4000, strata, 2, seed=strata)).value for strata in (1, 2, 8)]
    errors = [each.std() / math.sqrt(4000) for each in found]
    assert abs(found[0].mean() - found[2].mean()) < 4 * (errors[0] + errors[2])
    assert abs(found[1].mean() - found[2].mean()) < 4 * (errors[1] + errors[2])
    assert errors[0] > errors[1] > errors[2]


def test_the_bound_is_tight_where_the_prediction_is_the_best_there_is(monkeypatch):
    """Of two images, of probabilities 0.3 and 0.7: the best ε is that of the posterior's mean, and −bound → entropy."""
    probability, two = torch.tensor([0.3, 0.7]).double(), scaled(torch.tensor([60.0, 200.0]).double())

    def best(model, z, step):
        alpha, sigma = model.at(model.alpha, step, z), model.at(model.sigma, step, z)
        log_odds = probability.log() - 0.5 * ((z - alpha * two) / sigma) ** 2
        clean = (torch.softmax(log_odds, dim=3) * two).sum(dim=3, keepdim=True)
        return (z - alpha * clean) / sigma

    knowing(monkeypatch, best)
    model, entropy = diffusion(steps=500), -float((probability * probability.log()).sum())
    each = [model.bound(dequantised(level).expand(2000, 1, 1, 1), drawn(2000, 25, 2)).value for level in (60, 200)]
    found = -float(sum(p * value.mean() for p, value in zip(probability, each, strict=True)))
    assert entropy < found < entropy + rounding() + 0.05


@functools.cache
def rounding():
    """−E log P(v | z₀) by quadrature, of a level that is not the first or last."""
    half, z = 1 / 256 * math.exp(log_snr("log_linear", 1)[0] / 2), np.linspace(-7, 7, 20_001)
    return -np.trapezoid(norm.pdf(z) * np.log(norm.cdf(half - z) - norm.cdf(-half - z)), z)


def test_a_term_of_the_bound_is_that_steps(monkeypatch):
    model, x, noise = diffusion((1, 2, 3), times=[0.25, 1]), images(5, (1, 2, 3)), drawn(5, 6)
    assert model.scored_by == ("denoising_5", "denoising_20") == model.config.scored_by()
    knowing(monkeypatch, lambda model, z, step: z * step[:, None, None, None])
    for step in (5, 20):
        alpha, sigma = model.alpha[step], model.sigma[step]
        eps = noise.reshape(x.shape)
        z = alpha * (torch.floor((x + 0.5) * 256) / 128 - 255 / 256) + sigma * eps
        expected = -0.5 * math.expm1(17.5 / 20) * ((eps - step * z) ** 2).sum(dim=(1, 2, 3))
        torch.testing.assert_close(model.objective(f"denoising_{step}")(model, x, noise).value, expected)


# Paths, samples ------------------------------------------------------------------------------------------------------


def test_the_path_goes_by_ddim_from_the_image_to_noise(monkeypatch):
    """x_{t+1} = √ᾱ_{t+1} x̂₀ + √(1 − ᾱ_{t+1}) ε (Song et al. 2021, equation 12 with σ = 0)."""
    model, x = diffusion((1, 2, 2), steps=20, path_steps=4), images(3, (1, 2, 2))
    seen = []
    eps = Diffusion.eps
    knowing(monkeypatch, lambda model, z, step: seen.append((z, int(step[0]))) or eps(model, z, step))
    statistics = model.objective("path")(model, x).statistics
    assert [step for _, step in seen] == [0, 5, 10, 15]
    bar = torch.sigmoid(log_snr("log_linear", 20))
    z, found = bar[0].sqrt() * scaled(pixels_of(x)), []
    for step in (0, 5, 10, 15):
        found.append(eps(model, z, torch.full((3,), step)))
        clean = (z - (1 - bar[step]).sqrt() * found[-1]) / bar[step].sqrt()
        z = bar[step + 5].sqrt() * clean + (1 - bar[step + 5]).sqrt() * found[-1]
    found = torch.stack(found, dim=1).flatten(2)
    for power in (1, 2, 3):
        sums = found.abs().pow(power).sum(dim=2)
        rates = ((found[:, 1:] - found[:, :-1]) / (1 / 4)).abs().pow(power).sum(dim=2)
        torch.testing.assert_close(statistics["path_eps"][:, :, power - 1], sums)
        torch.testing.assert_close(statistics["path_rate"][:, :, power - 1], rates)


def test_samples_are_those_of_the_data_where_the_prediction_is_the_best_there_is(monkeypatch):
    """Data are normal of the mean 0.2 and deviation 0.1, in (−1, 1)."""

    def best(model, z, step):
        alpha, sigma = model.at(model.alpha, step, z), model.at(model.sigma, step, z)
        return sigma * (z - alpha * 0.2) / (0.01 * alpha**2 + sigma**2)

    knowing(monkeypatch, best)
    model = diffusion(steps=200)
    found = 2 * model.sample(2000, torch.Generator().manual_seed(0))
    assert float(found.mean()) == pytest.approx(0.2, abs=0.006)
    assert float(found.std()) == pytest.approx(0.1, rel=0.06)
    colder = 2 * model.sample(2000, torch.Generator().manual_seed(0), temperature=0.5)
    assert float(colder.std()) == pytest.approx(0.05, rel=0.06)
    assert float((2 * model.sample(3, torch.Generator().manual_seed(0), temperature=0.0)).std()) < 1e-6


# In a study ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "side", "fault"),
    [
        ({}, 30, "levels: 3 levels halve the side 2 times, but image.side is 30"),
        ({"levels": 2}, 7, "levels: 2 levels halve the side 1 times, but image.side is 7"),
        ({"schedule": "cosine"}, 28, "schedule: cosine weighs few steps too unalike to train; take steps: 1000 or"),
        ({"steps": 3}, 28, r"times: 2 of \[0.3, 0.5, 0.7\] are step 2 of 3"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_job(options, side, fault):
    config = {"name": "s", "image": {"channels": 1, "side": side}, "models": {"diffusion": options}, "epochs": [0]}
    config["datasets"] = {"digits": {}, "glyphs": {}}
    with pytest.raises(StudyError, match=f"models.diffusion.{fault}"):
        Study.parse(config)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_images_of_the_usual_sides_have_a_model(shape):
    model = make_model(Config(channels=2, training_times=1), shape, torch.Generator())
    x = images(2, shape, dtype=torch.float32)
    assert model.elbo(x, drawn(2, 1, math.prod(shape) + 1).float()).value.isfinite().all()


def test_several_steps_are_several_groups_of_columns_and_detectors_get_what_they_read():
    model = diffusion((1, 8, 8), levels=2, times=[0.2, 0.6]).float()
    stored = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), np.uint8)
    split = Split(stored, ImageConfig(channels=1, side=8), "digits", "fit")
    asked = ("log_norms", "log_prob", "denoising_errors", "path_eps", "path_rate")
    (features,) = extract(model, split, FeatureConfig(batch_sizes=[2]), asked)
    names = [name for name, _ in model.layers()]
    assert features.layers == (*(f"denoising_4/{n}" for n in names), *(f"denoising_12/{n}" for n in names))
    shapes = {name: array.shape for name, array in features.statistics.items()}
    others = {"log_prob": (6,), "denoising_errors": (6, 2, 32), "path_eps": (6, 2, 10, 3), "path_rate": (6, 2, 9, 3)}
    assert shapes == {"log_norms": (6, 2 * len(names)), **others}
    for name in ("denoising_error", "diffusion_path", "path_energy", "gradient_norms", "likelihood"):
        assert np.isfinite(fitted_to(name, features).score(features)).all()


@pytest.mark.slow
def test_training_lowers_the_bound_from_python():
    data = np.random.default_rng(0).integers(0, 9, (256, 1, 8, 8), np.uint8) * 28
    section = {"architecture": "diffusion", "levels": 2, "channels": 8}
    section["training_times"] = 4
    few, more = (ood.train(section, data[:192], epochs=epochs).eval() for epochs in (1, 12))
    x, noise = dequantised(data[192:]).float(), drawn(64, 4, 65).float()
    assert more.elbo(x, noise).value.mean() > few.elbo(x, noise).value.mean()


# Detectors -----------------------------------------------------------------------------------------------------------

FIT, TEST = make_features(seed=0, b=2), make_features(30, seed=1, b=2, shift=0.5, split="test")


def paths(features):
    """(images, 6): logarithms of the norms of all that a path has of an image."""
    sums = [features.of(name).astype(float).sum(axis=2).reshape(-1, 3) for name in ("path_eps", "path_rate")]
    return np.concatenate([np.log(each) / [1, 2, 3] for each in sums], axis=1)


def standardised(fit, test):
    return (fit - fit.mean(axis=0)) / fit.std(axis=0), (test - fit.mean(axis=0)) / fit.std(axis=0)


def test_the_denoising_error_is_a_mean_of_z_scores():
    known, seen = (each.of("denoising_errors").astype(float).reshape(-1, 3) for each in (FIT, TEST))
    expected = standardised(known, seen)[1].mean(axis=1).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(fitted_to("denoising_error", FIT).score(TEST), expected, rtol=1e-9, atol=1e-12)


def test_the_diffusion_path_is_a_density_of_six_norms():
    known, seen = standardised(paths(FIT), paths(TEST))
    mixture = GaussianMixture(3, reg_covar=1e-3, random_state=0).fit(known)
    expected = -mixture.score_samples(seen).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(fitted_to("diffusion_path", FIT).score(TEST), expected, rtol=1e-9)


def test_the_diffusion_path_may_be_its_rate_of_change_alone():
    known, seen = (each[:, 4:5] for each in standardised(paths(FIT), paths(TEST)))
    density = KernelDensity(bandwidth=len(known) ** (-1 / 5), rtol=1e-12).fit(known)
    expected = -density.score_samples(seen).reshape(-1, 2).mean(axis=1)
    found = fitted_to("diffusion_path", FIT, statistics="rate").score(TEST)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_path_energy_is_a_mahalanobis_distance():
    known, seen = (each[:, [1, 4]] for each in standardised(paths(FIT), paths(TEST)))
    estimate = LedoitWolf().fit(known)
    normal = multivariate_normal(estimate.location_, estimate.covariance_)
    squared = -2 * (normal.logpdf(seen) - normal.logpdf(estimate.location_))
    expected = np.sqrt(squared).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(fitted_to("path_energy", FIT).score(TEST), expected, rtol=1e-7)


@pytest.mark.parametrize("name", ["denoising_error", "diffusion_path", "path_energy"])
def test_what_is_infinite_is_outside_and_what_is_nan_is_refused(name):
    fitted = fitted_to(name, FIT)
    for value, outcome in ((np.inf, None), (np.nan, "is NaN")):
        broken = {each: TEST.of(each).copy() for each in ("denoising_errors", "path_eps", "path_rate")}
        for array in broken.values():
            array[3, 0, 0] = value
        test = replace(TEST, statistics={**TEST.statistics, **broken})
        if outcome is None:
            assert np.isposinf(fitted.score(test)).tolist() == [place == 3 for place in range(30)]
        else:
            with pytest.raises(ValueError, match=outcome):
                fitted.score(test)
