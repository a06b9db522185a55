"""What the p-values that scores are combined by promise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest
from test_detectors import make_features

from immature_ood.detectors._calibration import calibrate, halves

KNOWN = {
    "normal": lambda generator, n: generator.normal(size=n),
    "heavy": lambda generator, n: generator.standard_cauchy(n),
    "with ties": lambda generator, n: generator.integers(0, 7, n).astype(float),
    "few": lambda generator, n: generator.normal(size=3),
    "one": lambda generator, n: generator.normal(size=1),
    "equal": lambda generator, n: np.ones(n),
    "with infinite": lambda generator, n: np.where(np.arange(n) < 10, np.inf, generator.normal(size=n)),
}
every_distribution = pytest.mark.parametrize("name", KNOWN)


def known(name, n=200, seed=0):
    return KNOWN[name](np.random.default_rng(seed), n)


def surprise(scores, test):
    return calibrate(scores[:, None])(np.asarray(test, dtype=np.float64)[:, None])[:, 0]


@every_distribution
def test_higher_scores_are_more_surprising_and_strictly_so_beyond_the_largest(name):
    scores = known(name)
    largest = scores[np.isfinite(scores)].max()
    found = surprise(scores, np.linspace(scores.min() - 5, largest, 500))
    assert (np.diff(found) >= 0).all()
    assert found[0] == 0
    beyond = surprise(scores, largest + np.geomspace(1e-6, 1e9, 500))
    assert (np.diff([found[-1], *beyond]) > 0).all()
    assert np.isfinite(beyond).all()


@every_distribution
def test_an_infinite_score_stays_so(name):
    np.testing.assert_array_equal(surprise(known(name), [np.inf, -np.inf]), [np.inf, 0])


@every_distribution
def test_in_the_bulk_p_is_the_share_of_id_scores_that_are_as_high(name):
    scores = known(name)
    finite = np.sort(scores[np.isfinite(scores)])
    bulk = finite[: max(len(finite) - 4, 1 + (len(finite) - 1) // 2)]
    expected = (1 + (scores >= bulk[:, None]).sum(axis=1)) / (len(scores) + 1)
    np.testing.assert_allclose(np.exp(-surprise(scores, bulk)), expected)


def test_p_is_no_less_than_the_share_between_id_scores():
    scores, test = known("normal"), known("normal", 1000, seed=1)
    test = test[test <= np.sort(scores)[-5]]
    least = (1 + (scores >= test[:, None]).sum(axis=1)) / 201
    assert (np.exp(-surprise(scores, test)) >= least * (1 - 1e-12)).all()


@pytest.mark.parametrize("name", ["normal", "heavy"])
def test_p_is_uniform_on_id_groups(name):
    p = np.exp(-surprise(known(name, 20_000), known(name, 2_000, seed=1)))
    assert kstest(p, "uniform").pvalue > 0.01


def test_the_tail_of_an_exponential_distribution_is_its_own():
    scores = np.random.default_rng(0).exponential(size=5_000)
    np.testing.assert_allclose(np.diff(surprise(scores, [20, 40])), 20, rtol=0.15)


def test_columns_are_calibrated_apart():
    scores, test = np.random.default_rng(0).normal([0, 50], [1, 9], (2, 100, 2))
    both = calibrate(scores)(test)
    for place in (0, 1):
        np.testing.assert_array_equal(both[:, place], surprise(scores[:, place], test[:, place]))


@pytest.mark.parametrize("bad", [np.nan, -np.inf, [np.inf] * 5])
def test_what_cannot_be_calibrated_is_refused(bad):
    scores = np.zeros((5, 2))
    scores[:, 1] = bad if isinstance(bad, list) else [0, 0, bad, 0, 0]
    with pytest.raises(ValueError, match="cannot be calibrated"):
        calibrate(scores)


def test_halves_share_no_unit():
    features = replace(make_features(7), units=np.array([3, 3, 5, 1, 1, 8, 5]))
    first, second = halves(features)
    np.testing.assert_array_equal(first, [False, False, True, True, True, False, True])
    np.testing.assert_array_equal(second, ~first)
    with pytest.raises(ValueError, match="digits/fit: all groups are of one unit"):
        halves(replace(features, units=np.zeros(7, dtype=np.int64)))
