"""Detectors on the gradient norms of layers against scikit-learn, SciPy or a few lines of float64."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.svm import OneClassSVM
from test_detectors import LAYERS, fitted_to, having, make_features, with_column


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
