"""P-values and their promises: by brute force, by other libraries, and by simulation of many calibration sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from immature_ood.conformal import benjamini_hochberg, by_unit, least_p_value, likely_rate, p_values, strict_level

SCORES = st.sampled_from([-math.inf, -1.5, 0.0, 0.25, 2.0, math.inf])  # many ties
MANY = 4000  # simulated calibration sets


def slow_p(score, calibration, units):
    """The definition, unit by unit."""
    shares = [np.mean([c >= score for c, u in zip(calibration, units, strict=True) if u == unit]) for unit in {*units}]
    return (1 + sum(shares)) / (len(shares) + 1)


@given(arrays(float, st.integers(1, 6), elements=SCORES), st.data())
def test_p_values_are_the_definition(scores, data):
    calibration = data.draw(arrays(float, st.integers(1, 12), elements=SCORES))
    units = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(calibration), max_size=len(calibration))))
    alone = [(1 + sum(c >= score for c in calibration)) / (len(calibration) + 1) for score in scores]
    np.testing.assert_array_equal(p_values(scores, calibration), alone)
    expected = [slow_p(score, calibration.tolist(), units.tolist()) for score in scores]
    np.testing.assert_allclose(p_values(scores, calibration, units), expected, rtol=1e-11)


@given(arrays(float, st.integers(2, 20), elements=SCORES))
def test_a_higher_score_has_no_higher_p_value_and_none_is_below_the_least(scores):
    p = p_values(np.sort(scores), scores)
    assert (np.diff(p) <= 0).all()
    assert (p >= least_p_value(len(scores))).all()
    assert (p <= 1).all()


def test_scores_that_are_all_alike_raise_no_alarm():
    assert p_values(np.zeros(3), np.zeros(999)).tolist() == [1.0] * 3


@pytest.mark.parametrize("broken", [(np.array([np.nan]), np.zeros(3)), (np.zeros(3), np.array([0.0, np.nan]))])
def test_nan_is_refused(broken):
    with pytest.raises(ValueError, match="a score is NaN"):
        p_values(*broken)


@pytest.mark.parametrize(("calibration", "ties"), [(19, False), (50, False), (199, False), (50, True)])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_share_of_false_alarms_is_at_most_the_level_over_calibration_sets(calibration, ties, level):
    """Without ties it is ⌊(n + 1) level⌋ / (n + 1) exactly: within four standard errors of a binomial."""
    generator = np.random.default_rng(calibration)
    drawn = generator.normal(size=(MANY, calibration + 1))
    drawn = np.round(drawn) if ties else drawn
    alarms = np.array([p_values(row[:1], row[1:])[0] <= level for row in drawn])
    expected = math.floor((calibration + 1) * level) / (calibration + 1)
    error = 4 * math.sqrt(level * (1 - level) / MANY)
    assert alarms.mean() <= level + error
    if not ties:
        assert abs(alarms.mean() - expected) < error


def units_of_a_set(generator, units):
    """Scores and units: units differ in level and size, and the larger are the lower, so that they hide the others."""
    level = generator.normal(size=units)
    sizes = np.where(level < 0, 20, 2)
    of = np.repeat(np.arange(units), sizes)
    return level[of] + 0.3 * generator.normal(size=len(of)), of


def test_units_keep_the_level_where_images_alone_do_not():
    """The rate of false alarms of a group of a new unit, over calibration sets of 30 units."""
    generator, level, by_units, by_images = np.random.default_rng(5), 0.1, [], []
    for _ in range(1500):
        calibration, units = units_of_a_set(generator, 30)
        tested, of_test = units_of_a_set(generator, 40)
        for p, rates in ((p_values(tested, calibration, units), by_units), (p_values(tested, calibration), by_images)):
            rates.append(by_unit(p <= level, of_test).mean())
    error = 4 * np.std(by_units) / math.sqrt(len(by_units))
    assert np.mean(by_units) <= level + error
    assert np.mean(by_units) > level - 0.03  # it has not given its power away
    assert np.mean(by_images) > 1.5 * level


def test_few_large_units_say_what_they_cannot():
    """A hundred images of each of 9 photographs: by images a level of 0.01 seems within reach, and is not kept."""
    generator, by_images = np.random.default_rng(2), []
    for _ in range(1000):
        calibration = np.repeat(generator.normal(size=9), 100) + 0.1 * generator.normal(size=900)
        tested = generator.normal(size=50) + 0.1 * generator.normal(size=50)
        by_images.append((p_values(tested, calibration) <= 0.01).mean())
        assert p_values(np.array([np.inf]), calibration, np.repeat(np.arange(9), 100)).tolist() == [least_p_value(9)]
    assert np.mean(by_images) > 0.07


@pytest.mark.parametrize(("units", "level"), [(19, 0.05), (100, 0.05), (1000, 0.01), (30, 0.2)])
def test_the_true_rate_of_a_calibration_set_follows_its_law(units, level):
    """With uniform scores the true rate is 1 − the calibration score at which alarms begin."""
    calibration = np.sort(np.random.default_rng(1).random((MANY, units)))
    rank = math.floor((units + 1) * level + 1e-9)
    rates = 1 - calibration[:, units - rank]
    assert stats.kstest(rates, stats.beta(rank, units + 1 - rank).cdf).pvalue > 0.01
    assert (rates <= likely_rate(level, units, 0.95)).mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("units", "level", "delta"), [(100, 0.1, 0.1), (1000, 0.05, 0.05), (300, 0.01, 0.1)])
def test_the_strict_level_keeps_the_level_for_most_calibration_sets(units, level, delta):
    strict = strict_level(level, units, delta)
    calibration = np.sort(np.random.default_rng(3).random((MANY, units)))
    rank = round(strict * (units + 1))
    assert rank / (units + 1) == pytest.approx(strict)
    rates = 1 - calibration[:, units - rank] if rank else np.zeros(MANY)
    assert (rates > level).mean() <= delta + 4 * math.sqrt(delta / MANY)
    assert strict < level
    larger = stats.beta(rank + 1, units - rank)
    assert larger.sf(level) > delta  # no higher one does


def test_without_calibration_images_enough_no_level_is_strict_and_no_alarm_likely():
    assert strict_level(0.05, 20, 0.1) == 0.0
    assert likely_rate(0.05, 18, 0.95) == 0.0
    assert likely_rate(0.05, 19, 0.95) > 0.05


@given(arrays(float, st.integers(1, 30), elements=st.floats(0, 1)))
def test_corrected_p_values_are_those_of_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p, method="bh"), rtol=1e-12)


def test_the_false_discovery_rate_is_kept_although_p_values_share_their_calibration():
    generator, rate, shares = np.random.default_rng(4), 0.2, []
    for _ in range(1500):
        batch = np.concatenate([generator.normal(size=40), 3 + generator.normal(size=10)])
        found = benjamini_hochberg(p_values(batch, generator.normal(size=200))) <= rate
        shares.append(found[:40].sum() / max(found.sum(), 1))
    assert np.mean(shares) <= rate * 0.8 + 4 * np.std(shares) / math.sqrt(len(shares))
    assert np.mean(shares) > 0.05


def test_the_share_of_each_unit():
    alarms = np.array([True, True, False, False, True])
    assert by_unit(alarms, np.array([4, 4, 4, 9, 1])).tolist() == pytest.approx([1, 2 / 3, 0])
