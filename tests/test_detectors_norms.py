"""Detectors on the gradient norms of layers against scikit-learn, SciPy or a few lines of float64."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import chi2, gaussian_kde, norm, spearmanr
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.svm import OneClassSVM
from test_detectors import KEPT, LAYERS, OWN, fitted_to, having, make_features, with_column

from immature_ood import registry


def z(features, columns=(0, 1, 2)):
    """The log norms of some layers, standardised by those of the fit set."""
    fit = make_features().log_norms[:, columns].astype(np.float64)
    return (features.log_norms[:, columns] - fit.mean(axis=0)) / fit.std(axis=0)


FIT, TEST = make_features(), make_features(seed=1, shift=1.0, split="test")

chosen_layers = pytest.mark.parametrize(("layers", "columns"), [("all", [0, 1, 2]), ("conv.*", [0, 1])])


@chosen_layers
def test_the_support_vector_machine_is_that_of_scikit_learn(layers, columns):
    expected = -OneClassSVM(nu=0.2).fit(z(FIT, columns)).decision_function(z(TEST, columns))
    found = fitted_to("gradient_norms_svm", FIT, nu=0.2, layers=layers).score(TEST)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def whitened(fit, test, components):
    found = PCA(components, whiten=True, svd_solver="full").fit(fit)
    scale = np.sqrt((len(fit) - 1) / len(fit))  # scikit-learn's variances are unbiased
    return found.transform(fit) / scale, found.transform(test) / scale


@chosen_layers
def test_the_mixture_is_that_of_scikit_learn(layers, columns):
    fit, test = whitened(z(FIT, columns), z(TEST, columns), 2)
    expected = -GaussianMixture(2, reg_covar=1e-3, random_state=0).fit(fit).score_samples(test)
    found = fitted_to("gradient_norms_mixture", FIT, components=2, gaussians=2, layers=layers).score(TEST)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@chosen_layers
def test_the_kernel_density_has_the_bandwidth_of_scipy(layers, columns):
    fit, test = whitened(z(FIT, columns), z(TEST, columns), 2)
    width = gaussian_kde(fit.T).factor
    pairs = -0.5 * ((test[:, None] - fit) ** 2).sum(axis=2) / width**2 - 2 * np.log(width * np.sqrt(2 * np.pi))
    expected = np.log(len(fit)) - logsumexp(pairs, axis=1)
    found = fitted_to("gradient_norms_kde", FIT, components=2, layers=layers).score(TEST)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["gradient_norms_mixture", "gradient_norms_kde"])
def test_no_more_components_are_used_than_there_are(name):
    few, many = (fitted_to(name, FIT, components=components).score(TEST) for components in (3, 100))
    np.testing.assert_array_equal(few, many)


SIDES = {"both": np.abs, "high": np.positive, "low": np.negative}


@pytest.mark.parametrize("side", SIDES)
@chosen_layers
def test_the_total_is_the_log_of_the_sum_of_the_squared_norms(layers, columns, side):
    fit, test = (np.log(np.exp(one.log_norms[:, columns].astype(np.float64)).sum(axis=1)) for one in (FIT, TEST))
    found = fitted_to("total_gradient_norm", FIT, layers=layers, side=side).score(TEST)
    np.testing.assert_allclose(found, SIDES[side]((test - fit.mean()) / fit.std()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
def test_a_total_of_zero_is_outside_the_support_and_a_layer_of_zero_is_not(side):
    detector = fitted_to("total_gradient_norm", with_column(FIT, "conv.bias", -np.inf), side=side)
    test = with_column(make_features(3), "conv.bias", -np.inf)
    test.log_norms[1] = -np.inf
    np.testing.assert_array_equal(np.isposinf(detector.score(test)), [False, True, False])


def test_a_total_needs_gradients():
    dead = having(FIT, log_norms=np.full((200, len(LAYERS)), -np.inf, dtype=np.float32))
    for features, options in ((dead, {}), (FIT, {"layers": "nothing.*"})):
        with pytest.raises(ValueError, match=r"digits/fit: the gradient of the . layers .* zero or infinite for 200"):
            fitted_to("total_gradient_norm", features, **options)


def half_of(features, first):
    """The groups of even numbers, or the others."""
    return features.taken(np.arange(0 if first else 1, len(features.units), 2))


def surprise(known, values):
    """−log p against known values, of values that are among them, far from the largest."""
    return -np.log((1 + (known >= values[:, None]).sum(axis=1)) / (len(known) + 1))


@chosen_layers
def test_fishers_statistic_is_calibrated_on_the_other_half(layers, columns):
    first, second = (half_of(FIT, each).log_norms[:, columns].astype(np.float64) for each in (True, False))

    def statistic(norms):
        return -2 * np.log(2 * norm.sf(np.abs(norms - first.mean(axis=0)) / first.std(axis=0))).sum(axis=1)

    detector, known = fitted_to("gradient_norms_fisher", FIT, layers=layers), statistic(second)
    bulk = np.argsort(known)[:-5]
    found = detector.score(half_of(FIT, False))[bulk]
    np.testing.assert_allclose(found, surprise(known, known)[bulk], rtol=1e-9, atol=1e-12)
    assert spearmanr(detector.score(TEST), statistic(TEST.log_norms[:, columns]))[0] > 0.99


@pytest.mark.parametrize("p_values", ["gaussian", "empirical"])
def test_fishers_p_of_independent_layers_is_near_that_of_chi_squared(p_values):
    fit, test = make_features(4000), make_features(4000, seed=1, split="test")
    found = np.exp(-fitted_to("gradient_norms_fisher", fit, p_values=p_values).score(test))
    z = (test.log_norms - np.arange(3)) / (1 + np.arange(3))
    expected = chi2.sf(-2 * np.log(2 * norm.sf(np.abs(z))).sum(axis=1), 6)
    assert np.abs(found - expected).mean() < 0.02  # a Gaussian's tail is not quite exponential


PARTS = {"norms": {"detector": "gradient_norms"}, "typical": {"detector": "typicality"}}
NAMES = ("gradient_norms", "typicality")


@pytest.mark.parametrize("refit", [False, True])
def test_z_scores_are_those_of_the_other_half(refit):
    first, second = (half_of(FIT, each) for each in (True, False))
    expected = np.zeros(len(TEST.units))
    for name in NAMES:
        held_out = fitted_to(name, first).score(second)
        scores = fitted_to(name, FIT if refit else first).score(TEST)
        expected += (scores - held_out.mean()) / held_out.std()
    found = fitted_to("combined", FIT, parts=PARTS, how="sum", refit=refit).score(TEST)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("how", "together"), [("fisher", lambda p: 2 * np.sum(p, axis=0)), ("maximum", np.maximum.reduce)]
)
def test_p_values_are_those_of_the_other_half(how, together):
    first, second = (half_of(FIT, each) for each in (True, False))
    scores = [fitted_to(name, first).score(second) for name in NAMES]
    bulk = np.all([each <= np.sort(each)[-5] for each in scores], axis=0)
    found = fitted_to("combined", FIT, parts=PARTS, how=how).score(second)
    expected = together([surprise(each, each) for each in scores])
    np.testing.assert_allclose(found[bulk], expected[bulk], rtol=1e-9, atol=1e-12)


def test_what_a_part_has_outside_the_support_is_outside():
    test = make_features(3, seed=1)
    test.log_norms[1, 2] = -np.inf
    score = fitted_to("combined", FIT, parts=PARTS).score(test)
    np.testing.assert_array_equal(np.isposinf(score), [False, True, False])


def test_dead_layers_are_those_of_the_parts():
    parts = PARTS | {"few": {"detector": "gradient_norms_mahalanobis", "layers": "conv.*"}}
    detector = fitted_to("combined", with_column(FIT, "conv.bias", 0.0), parts=parts)
    assert detector.dead_layers == ("conv.bias",)


EARLY = """
from immature_ood.config import DetectorConfig
from immature_ood.detectors import typicality

class Config(DetectorConfig):
    detector: str = "early"

    def needs(self):
        return ("log_prob",)

    def reads(self, own, kept):
        return [] if own.model == "background" else [own._replace(epoch=0)]

fit = typicality.fit
"""


def test_each_part_may_read_a_place_of_its_own(tmp_path):
    (tmp_path / "early.py").write_text(EARLY)
    parts = {"norms": {"detector": "gradient_norms"}, "early": {"detector": str(tmp_path / "early.py")}}
    config = registry.parse("detectors", {"detector": "combined", "parts": parts})
    assert config.reads(OWN, KEPT) == [OWN, OWN._replace(epoch=0)]
    assert config.reads(OWN._replace(model="background"), KEPT) == []
    assert [*config.faults(KEPT)] == []
    assert config.needs() == ("log_norms", "log_prob")
    early = make_features(seed=5)
    found = fitted_to("combined", FIT, early, parts=parts, how="sum").score(TEST, early)
    alone = [
        fitted_to("combined", fit, parts={name: parts[name]}, how="sum").score(test)
        for name, fit, test in (("norms", FIT, TEST), ("early", early, early))
    ]
    np.testing.assert_allclose(found, alone[0] + alone[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("part", "faults"),
    [
        (
            {"detector": "gradient_norms_knn", "epochs": 2},
            ["parts.part: reads several checkpoints, which a part cannot"],
        ),
        ({"detector": "combined"}, []),
    ],
)
def test_a_part_reads_one_checkpoint(part, faults):
    config = registry.parse("detectors", {"detector": "combined", "parts": {"part": part}})
    assert [*config.faults(KEPT)] == faults


def test_a_part_may_be_combined_itself():
    within = {"detector": "combined", "parts": {"norms": {"detector": "gradient_norms"}}}
    found = fitted_to("combined", FIT, parts={"within": within}, how="sum").score(TEST)
    alone = fitted_to("gradient_norms", half_of(half_of(FIT, True), True)).score(TEST)
    assert spearmanr(found, alone)[0] > 0.99


@pytest.mark.parametrize(("layers", "reads"), [("all", True), ("without_weights", False)])
def test_weights_are_read_if_a_part_reads_them(layers, reads):
    parts = {"norms": {"detector": "gradient_norms", "layers": layers}, "typical": {"detector": "typicality"}}
    assert registry.parse("detectors", {"detector": "combined", "parts": parts}).reads_weights() == reads
