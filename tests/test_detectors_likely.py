"""Detectors on the likelihood and on other statistics of a model, each against a few lines or another library."""

import io
import lzma
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.svm import OneClassSVM
from test_detectors import KEPT, OWN, detectors, fitted_to, having, make_features

from immature_ood.config import Kept
from immature_ood.detectors.lid_dual_threshold import local_dimension
from immature_ood.study import Study, StudyError

FIT, TEST = make_features(seed=0, b=2), make_features(30, seed=1, b=2, shift=0.5, split="test")
EARLIER = make_features(seed=0, b=2, place=1), make_features(30, seed=1, b=2, shift=0.5, split="test", place=1)


def section(name, **options):
    return detectors(name, **options)[name]


def standardised(*columns):
    """Of (fit, test): each by the mean and deviation of the fit set, (G, M)."""
    fit, test = (np.stack([column[place] for column in columns], axis=1) for place in (0, 1))
    return (fit - fit.mean(axis=0)) / fit.std(axis=0), (test - fit.mean(axis=0)) / fit.std(axis=0)


def of_both(read):
    return read(FIT), read(TEST)


LOG_PROB = of_both(lambda features: features.log_prob)
LOG_PRIOR = of_both(lambda features: features.of("log_prior"))
LOG_DET = of_both(lambda features: features.log_prob - features.of("log_prior"))


def test_dose_is_the_sum_of_kernel_densities():
    fit, test = standardised(LOG_PROB, LOG_PRIOR, LOG_DET)
    expected = 0
    for known, seen in zip(fit.T[..., None], test.T[..., None], strict=True):
        expected = expected - KernelDensity(bandwidth=200 ** (-1 / 5), rtol=1e-12).fit(known).score_samples(seen)
    np.testing.assert_allclose(fitted_to("dose", FIT).score(TEST), expected, rtol=1e-9)


def test_dose_is_one_machine_of_all_statistics():
    statistics = ["log_prob", "total_gradient_norm"]
    total = of_both(lambda features: np.log(np.exp(features.log_norms.astype(float)).sum(axis=1)))
    fit, test = standardised(LOG_PROB, total)
    expected = -OneClassSVM(nu=0.2).fit(fit).score_samples(test)
    found = fitted_to("dose", FIT, density="svm", nu=0.2, statistics=statistics)
    np.testing.assert_allclose(found.score(TEST) - found.densities[0].offset, expected, rtol=1e-6)
    assert section("dose", statistics=statistics).needs() == ("log_prob", "log_norms")


def test_flows_have_what_dose_needs_and_other_models_are_refused():
    config = {"name": "s", "datasets": {"digits": {}, "glyphs": {}}, "epochs": [0, 1], "detectors": ["dose"]}
    assert {"log_prior", "log_prob"} <= {*Study.parse(config).statistics("glow")}
    config["models"] = {"pixelwise": {"architecture": str(Path(__file__).with_name("plugins") / "pixelwise.py")}}
    with pytest.raises(StudyError, match=r"detectors\.dose: needs 'log_prior', which model 'pixelwise' has not"):
        Study.parse(config)


def test_the_likelihood_ratio_is_that_to_the_background():
    fit, test = EARLIER
    found = fitted_to("likelihood_ratio", FIT, fit).score(TEST, test)
    np.testing.assert_allclose(found, test.log_prob - TEST.log_prob)


def test_an_impossible_group_is_outside_the_support_of_ratios_and_changes():
    impossible = np.full(30, -np.inf)
    fit, test = EARLIER
    for name in ("likelihood_ratio", "log_prob_change", "waic", "waic_epochs"):
        fitted = fitted_to(name, FIT, fit)
        assert (fitted.score(having(TEST, log_prob=impossible), test) == np.inf).all()
        assert (fitted.score(*(having(one, log_prob=impossible) for one in (TEST, test))) == np.inf).all()


def test_the_background_has_no_row_and_has_to_be_there():
    ratio = section("likelihood_ratio")
    assert ratio.reads(OWN, KEPT) == [OWN, OWN._replace(model="background")]
    assert ratio.reads(OWN._replace(model="background"), KEPT) == []
    assert [*ratio.faults(KEPT)] == []
    (line,) = section("likelihood_ratio", background="backgrond").faults(KEPT)
    assert line.startswith("background: the study has no model 'backgrond'")
    assert line.endswith("did you mean 'background'?")
    (line,) = ratio.faults(Kept(("background",), (0,), (0,)))
    assert line.startswith("background: the study has no model but 'background'")


def test_the_change_is_measured_in_deviations_of_the_fit_set():
    fit, test = EARLIER
    change = FIT.log_prob - fit.log_prob
    expected = np.abs(TEST.log_prob - test.log_prob - change.mean()) / change.std()
    np.testing.assert_allclose(fitted_to("log_prob_change", FIT, fit).score(TEST, test), expected)


@pytest.mark.parametrize(("earlier", "epoch", "read"), [(1, 4, [4, 1]), (2, 4, [4, 0]), (1, 0, []), (2, 1, [])])
def test_the_change_is_since_an_earlier_epoch(earlier, epoch, read):
    places = section("log_prob_change", earlier=earlier).reads(OWN._replace(epoch=epoch), KEPT)
    assert [place.epoch for place in places] == read


def test_waic_is_the_mean_less_the_variance():
    tests = [make_features(30, seed=1, place=place, split="test") for place in range(3)]
    log_probs = [one.log_prob for one in tests]
    expected = -np.mean(log_probs, axis=0) + np.var(log_probs, axis=0, ddof=1)
    for name in ("waic", "waic_epochs"):
        np.testing.assert_allclose(fitted_to(name, *tests).score(*tests), expected)


def test_waic_reads_all_seeds_or_the_last_epochs():
    assert [place.seed for place in section("waic").reads(OWN._replace(seed="all"), KEPT)] == [0, 1]
    (line,) = section("waic").faults(KEPT_OF_ONE)
    assert line.startswith("detector: waic is over the models of several seeds")
    two = section("waic_epochs", epochs=2)
    assert [place.epoch for place in two.reads(OWN, KEPT)] == [4, 1]
    assert two.reads(OWN._replace(epoch=0), KEPT) == []
    (line,) = section("waic_epochs").faults(KEPT_OF_ONE)
    assert line.startswith("epochs: 3 are asked for, but the study keeps 1")


KEPT_OF_ONE = Kept(("glow",), (0,), (0,))


def encoded(image, **options):
    """Bits of an image (C, H, W), of one channel or of three."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, **options)
    return 8 * len(file.getvalue())


def shortest(image):
    return min(
        encoded(image, format="PNG", compress_level=9),
        encoded(image, format="WEBP", lossless=True, method=2, quality=100),
    )


def complexity(features):
    return np.array([np.mean([shortest(image) for image in group]) for group in features.of("pixels")])


def test_input_complexity_is_bits_less_the_shortest_file():
    expected = -TEST.log_prob / math.log(2) - complexity(TEST)
    np.testing.assert_allclose(fitted_to("input_complexity", FIT).score(TEST), expected)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_of_any_channels_are_encoded_whole(channels):
    """Without loss: the file holds every number."""
    generator = np.random.default_rng(0)
    flat, noise = (
        np.zeros((4, 1, channels, 8, 8), np.uint8),
        generator.integers(0, 256, (4, 1, channels, 8, 8), np.uint8),
    )
    found = [
        fitted_to("input_complexity", FIT).score(having(make_features(4), pixels=each, log_prob=np.zeros(4)))
        for each in (flat, noise)
    ]
    assert (-found[0] < 1000).all()
    assert (-found[1] >= 8 * noise[0].size).all()


@pytest.mark.parametrize("name", ["input_complexity", "complexity_regression", "compression_length"])
@pytest.mark.parametrize(("stored", "codecs"), [(np.int64, ["zlib"]), (np.uint8, ["png", "xz"])])
def test_codecs_of_images_are_for_images_and_all_for_bytes(name, stored, codecs):
    tokens = having(FIT, pixels=np.zeros((200, 2, 16), stored))
    said = rf"digits/fit: codecs {', '.join(codecs)} are for 8-bit .*, not for {stored.__name__} \(16,\); take codecs: "
    with pytest.raises(ValueError, match=said + r"\[zlib, xz\]"):
        fitted_to(name, tokens, codecs=codecs)


@pytest.mark.parametrize(
    ("codecs", "length"),
    [
        (["zlib"], lambda each: len(zlib.compress(each, 9))),
        (["xz"], lambda each: len(lzma.compress(each))),
        (["zlib", "xz"], lambda each: min(len(zlib.compress(each, 9)), len(lzma.compress(each)))),
    ],
    ids=["zlib", "xz", "shorter"],
)
def test_the_complexity_of_bytes_is_of_samples_of_any_shape(codecs, length):
    text = np.random.default_rng(0).choice([*b"etaoin shrdlu"], (200, 2, 128)).astype(np.uint8)
    bits = 8 * np.array([np.mean([length(each.tobytes()) for each in group]) for group in text])
    features = having(FIT, pixels=text)
    found = fitted_to("input_complexity", features, codecs=codecs).score(features)
    np.testing.assert_allclose(found, -FIT.log_prob / math.log(2) - bits)


def test_a_package_that_is_missing_is_named_at_planning(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    config = {"name": "s", "datasets": {"digits": {}, "glyphs": {}}, "epochs": [0]}
    config["detectors"] = {"input_complexity": {"codecs": ["png", "jpeg_xl"]}}
    with pytest.raises(
        StudyError, match=r"detectors\.input_complexity\.codecs: png, jpeg_xl need imagecodecs, which is"
    ):
        Study.parse(config)


def test_the_likelihood_is_regressed_on_the_complexity():
    fit, test = complexity(FIT), complexity(TEST)
    line = stats.linregress(fit, FIT.log_prob)
    deviation = (FIT.log_prob - line.intercept - line.slope * fit).std()
    expected = np.abs(TEST.log_prob - line.intercept - line.slope * test) / deviation
    np.testing.assert_allclose(fitted_to("complexity_regression", FIT).score(TEST), expected)


def test_the_likelihood_and_the_complexity_have_a_mixture():
    fit, test = standardised(LOG_PRIOR, (complexity(FIT), complexity(TEST)))
    expected = -GaussianMixture(2, reg_covar=1e-3, random_state=0).fit(fit).score_samples(test)
    options = {"density": "mixture", "likelihood": "log_prior", "parts": 2}
    np.testing.assert_allclose(fitted_to("complexity_regression", FIT, **options).score(TEST), expected, rtol=1e-9)


@pytest.mark.parametrize("prior", ["normal", "logistic"])
def test_latents_are_tested_for_their_prior(prior):
    distribution = {"normal": stats.norm, "logistic": stats.logistic}[prior]
    latents = TEST.of("latents").reshape(30, -1).astype(float)
    number = latents.shape[1]
    found = fitted_to("latent_fit", FIT, against=prior, statistic="kolmogorov_smirnov").score(TEST)
    expected = [math.sqrt(number) * stats.kstest(group, distribution.cdf).statistic for group in latents]
    np.testing.assert_allclose(found, expected)
    places = 2 * np.arange(1, number + 1) - 1
    ordered = np.sort(latents, axis=1)
    tails = distribution.logcdf(ordered) + distribution.logsf(ordered[:, ::-1])
    found = fitted_to("latent_fit", FIT, against=prior).score(TEST)
    np.testing.assert_allclose(found, -number - (places * tails).mean(axis=1), rtol=1e-9)


def test_latents_are_tested_for_the_distribution_of_the_fit_set():
    known = FIT.of("latents").ravel()
    found = fitted_to("latent_fit", FIT, statistic="kolmogorov_smirnov").score(TEST)
    latents = TEST.of("latents").reshape(30, -1)
    expected = [math.sqrt(latents.shape[1]) * stats.ks_2samp(group, known).statistic for group in latents]
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_group_divergence_is_that_of_two_gaussians():
    window = 4

    def gaussian(latents):
        windows = latents.reshape(-1, window).astype(float)
        return windows.mean(axis=0), np.cov(windows.T, bias=True)

    mean, covariance = gaussian(FIT.of("latents"))
    precision = np.linalg.inv(covariance)
    expected = [
        0.5
        * (
            np.trace(precision @ own)
            + (m - mean) @ precision @ (m - mean)
            - window
            + math.log(np.linalg.det(covariance) / np.linalg.det(own))
        )
        for m, own in map(gaussian, TEST.of("latents"))
    ]
    np.testing.assert_allclose(fitted_to("group_kl", FIT, window=window).score(TEST), expected, rtol=1e-4)


def test_windows_do_not_reach_from_one_image_into_the_next():
    latents = np.random.default_rng(0).normal(size=(50, 2, 10)).astype(np.float32)
    features = having(make_features(50, b=2), latents=latents)
    whole = having(features, latents=latents[:, :, :9])
    np.testing.assert_array_equal(
        fitted_to("group_kl", features, window=3).score(features), fitted_to("group_kl", whole, window=3).score(whole)
    )
    with pytest.raises(ValueError, match="digits/fit: 2 × 10 latents have too few windows of 5; lower window"):
        fitted_to("group_kl", features, window=5)


def test_what_is_infinite_in_the_fit_set_is_refused():
    for name, statistic in {"dose": "log_prior", "latent_fit": "latents", "complexity_regression": "log_prob"}.items():
        values = FIT.of(statistic).copy()
        values[0] = np.inf
        with pytest.raises(ValueError, match=r"digits/fit.* (is|are) infinite"):
            fitted_to(name, having(FIT, **{statistic: values}))


def p_values(scores, known):
    """Of scores among known ones, as far as the few-th largest of these."""
    return np.array([(1 + (known >= score).sum()) / (len(known) + 1) for score in scores])


def test_the_score_test_and_typicality_are_combined_by_fisher():
    """Against the halves that the units make: of every second group."""
    one, other = FIT.taken(np.arange(0, 200, 2)), FIT.taken(np.arange(1, 200, 2))
    log_means = np.log(np.exp(one.log_norms.astype(float)).mean(axis=0))

    def both(features):
        ratios = np.exp(features.log_norms.astype(float) - log_means).sum(axis=1)
        return np.log(ratios), np.abs(features.log_prob - one.log_prob.mean())

    p = [p_values(known, known) for known in both(other)]
    found = fitted_to("score_typicality", FIT).score(other)
    common = np.min(p, axis=0) > 0.06  # below, the tail is another
    assert common.sum() > 80
    np.testing.assert_allclose(found[common], -2 * np.log(p).sum(axis=0)[common])


def test_the_score_test_leaves_out_and_names_layers_without_a_gradient():
    dead = FIT.log_norms.copy()
    dead[:, 1] = -np.inf
    detector = fitted_to("score_typicality", having(FIT, log_norms=dead))
    assert detector.dead_layers == (FIT.layers[1],)
    np.testing.assert_array_equal(
        detector.score(having(TEST, log_norms=TEST.log_norms * [1, 0, 1])), detector.score(TEST)
    )
    with pytest.raises(ValueError, match="digits/fit: none of the 0 layers 'no'"):
        fitted_to("score_typicality", FIT, layers="no")
    assert not section("score_typicality", layers="without_weights").reads_weights()


def test_the_dual_threshold_is_the_larger_of_two_p_values():
    """τ is such that the fit set has the dimension on average; log p and the dimension are low out of distribution."""
    dimension, values = 20, FIT.of("log_singular_values").astype(float)
    log_threshold = np.sort(values.ravel())[-1 - dimension * values.size // values.shape[2]]
    known = [-FIT.log_prob, -(values > log_threshold).sum(axis=2).mean(axis=1)]
    assert -known[1].mean() == pytest.approx(dimension, abs=0.01)
    expected = np.max([-np.log(p_values(each, each)) for each in known], axis=0)
    found = fitted_to("lid_dual_threshold", FIT, dimension=dimension).score(FIT)
    common = expected < -math.log(0.06)
    assert common.sum() > 150
    np.testing.assert_allclose(found[common], expected[common])


def test_an_image_of_low_dimension_is_out_whatever_its_likelihood():
    likely = having(FIT, log_prob=FIT.log_prob + 500)
    thin = having(likely, log_singular_values=FIT.of("log_singular_values") - 3)
    detector = fitted_to("lid_dual_threshold", FIT, dimension=20)
    assert (detector.score(thin) > 4).all()
    assert np.median(detector.score(likely)) < 2
    assert section("lid_dual_threshold", dimension=20).needs() == ("log_prob", "log_singular_values")


@pytest.mark.parametrize("dimension", [1, 3, 8])
def test_local_principal_components_know_the_dimension_of_a_plane(dimension):
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(150, dimension)) @ np.linalg.qr(generator.normal(size=(64, dimension)))[0].T
    assert local_dimension(plane.reshape(150, 1, 1, 8, 8)) == pytest.approx(dimension, abs=0.3)
