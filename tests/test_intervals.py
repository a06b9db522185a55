from itertools import pairwise

import numpy as np
import pytest
from coverage_intervals import AUROCS, SHAPES, Setting, paired, single
from scipy import stats

from immature_ood.evaluation import verdict
from immature_ood.intervals import FEWEST_UNITS, Difference, Units, auroc_difference, compare, evaluate, mean_share
from immature_ood.metrics import auroc_influence
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()


def gaussian(groups, shift, seed, others=None):
    generator = np.random.default_rng(seed)
    return generator.normal(size=groups), generator.normal(shift, size=others or groups)


def width(estimate):
    return estimate.high - estimate.low


# One metric


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0, 5.0])
@pytest.mark.parametrize("groups", [(10, 10), (100, 100), (30, 400)])
def test_intervals_hold_the_estimate_and_stay_within_0_and_1(groups, shift):
    for name, estimate in evaluate(*gaussian(groups[0], shift, 0, groups[1]), CONFIG).items():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name
        assert estimate.low < estimate.high, name


def test_amid_the_scale_the_interval_is_that_of_delong():
    """Of 2,000 groups the normal interval is good there, and Wilson's with all its additions is as wide."""
    scores = gaussian(2000, 1.0, seed=0)
    found = auroc_influence(*scores)
    error = np.sqrt(found.of_id.var(ddof=1) * 2000 + found.of_ood.var(ddof=1) * 2000)
    estimate = evaluate(*scores, CONFIG)["auroc"]
    expected = found.value + np.array([-1, 1]) * stats.t(1999).ppf(0.975) * error
    np.testing.assert_allclose([estimate.low, estimate.high], expected, atol=5e-4)


@pytest.mark.parametrize("groups", [20, 100, 500])
def test_at_perfect_separation_the_bounds_are_those_of_no_event_in_n(groups):
    estimates = evaluate(np.arange(float(groups)), np.arange(float(groups)) + 1000, CONFIG)
    squared = stats.t(groups - 1).ppf(0.975) ** 2
    assert estimates["auroc"].high == estimates["aupr"].high == 1
    assert estimates["auroc"].low == pytest.approx(groups / (groups + squared))
    assert estimates["aupr"].low == pytest.approx(groups / (groups + squared * np.log(groups)))
    exact = 1 - 0.025 ** (1 / groups)  # of the share of ID images that no sample showed, at a fixed threshold
    assert (estimates["fpr95"].value, estimates["fpr95"].low) == (0, 0)
    assert exact < estimates["fpr95"].high


def test_swapping_id_and_ood_mirrors_the_interval():
    id_scores, ood_scores = gaussian(80, 1.3, seed=2)
    there, back = (evaluate(*pair, CONFIG)["auroc"] for pair in ((id_scores, ood_scores), (ood_scores, id_scores)))
    assert (back.low, back.high) == pytest.approx((1 - there.high, 1 - there.low))


def test_more_confidence_is_wider():
    scores = gaussian(100, 1.0, seed=0)
    found = [evaluate(*scores, EvaluationConfig(confidence=confidence)) for confidence in (0.5, 0.8, 0.95, 0.99)]
    for less, more in pairwise(found):
        assert all(width(less[name]) < width(more[name]) for name in less)


# Paired differences


def test_the_value_is_that_of_the_two_aurocs_and_turns_with_them():
    scores, reference = gaussian(100, 2.0, seed=0), gaussian(100, 1.0, seed=1)
    there, back = auroc_difference(scores, reference, CONFIG), auroc_difference(reference, scores, CONFIG)
    single_values = [evaluate(*pair, CONFIG)["auroc"].value for pair in (scores, reference)]
    assert there.value == pytest.approx(single_values[0] - single_values[1])
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert there.low < there.value < there.high


def test_pairing_narrows_the_interval_of_correlated_scores():
    scores = gaussian(200, 1.0, seed=0)
    noise = gaussian(200, 0.0, seed=1)
    reference = tuple(s + 0.1 * n for s, n in zip(scores, noise, strict=True))
    paired_width = width(auroc_difference(scores, reference, CONFIG))
    assert 0 < paired_width < 0.3 * width(evaluate(*scores, CONFIG)["auroc"])


def test_the_same_order_differs_by_exactly_nothing():
    scores = gaussian(100, 1.0, seed=0)
    found = compare(scores, tuple(map(np.exp, scores)), CONFIG)
    assert (found.value, *(vars(found.estimate(0.95)).values())) == (0, 0, 0, 0)
    assert (found.p_difference(), found.p_equivalence(0.02)) == (1, 0)


@pytest.mark.parametrize("shift", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("groups", [10, 40])
def test_no_difference_reaches_beyond_one(groups, shift):
    """Opposite scores, of which one is right and one is wrong about nearly every pair."""
    scores = gaussian(groups, shift, 0)
    found = auroc_difference(scores, tuple(-part for part in scores), CONFIG)
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_two_perfect_separations_may_differ_all_the_same():
    id_scores, generator = np.arange(50.0), np.random.default_rng(0)
    found = auroc_difference((id_scores, id_scores + 60), (id_scores, generator.permutation(id_scores) + 60), CONFIG)
    assert found.low < found.value == 0 < found.high


def test_other_groups_cannot_be_paired():
    with pytest.raises(ValueError, match=r"not the same test groups: \[20, 20\] against \[20, 19\]"):
        auroc_difference((np.zeros(20), np.zeros(20)), (np.zeros(20), np.zeros(19)), CONFIG)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("shift", "other"), [(1.0, 1.5), (0.5, 0.6), (3.0, 3.5), (1.0, 1.0)])
def test_a_p_value_is_below_0_05_where_the_95_percent_interval_says_so(shift, other, seed):
    scores, noise = gaussian(150, shift, seed), gaussian(150, 0.0, seed + 100)
    reference = scores[0] + 0.3 * noise[0], scores[1] + 0.3 * noise[1] + other - shift
    found = compare(scores, reference, CONFIG)
    estimate = found.estimate(0.95)
    assert (found.p_difference() < 0.05) == (not estimate.low <= 0 <= estimate.high)
    for margin in (0.02, 0.05, 0.1):
        assert (found.p_equivalence(margin) < 0.05) == (verdict(estimate, margin) == "equivalent")


def test_the_confidence_of_a_p_value_puts_a_bound_on_0():
    found = compare(gaussian(100, 1.3, 0), gaussian(100, 0.9, 1), CONFIG)
    assert found.estimate(1 - found.p_difference()).low == pytest.approx(0, abs=1e-6)


# Units


@pytest.mark.parametrize("shift", [0.5, 2.0, 9.0])
def test_with_each_group_its_own_unit_nothing_changes(shift):
    scores, reference = gaussian(90, shift, 0, 70), gaussian(90, 0.3, 1, 70)
    units = Units.numbered(np.arange(90) + 5, np.arange(70) * 2)
    assert evaluate(*scores, CONFIG, units) == evaluate(*scores, CONFIG)
    assert auroc_difference(scores, reference, CONFIG, units) == auroc_difference(scores, reference, CONFIG)


def test_every_group_there_twice_is_known_no_better():
    """Twelve units of two equal groups: the interval is as wide as that of twelve groups, whatever the numbers."""
    once = gaussian(12, 1.0, seed=4)
    twice = tuple(np.repeat(side, 2) for side in once)
    units = Units.numbered(np.repeat(np.arange(12) * 3 + 1, 2), np.repeat(np.arange(12)[::-1], 2))
    by_unit, alone = (evaluate(*pair, CONFIG, known)["auroc"] for pair, known in ((twice, units), (once, None)))
    assert by_unit.value == pytest.approx(alone.value)
    assert width(by_unit) == pytest.approx(width(alone), rel=0.1)
    assert width(by_unit) > 1.2 * width(evaluate(*twice, CONFIG)["auroc"])
    separated = (np.zeros(24), np.ones(24)), (np.zeros(12), np.ones(12))
    by_unit, alone = (evaluate(*pair, CONFIG, known) for pair, known in zip(separated, (units, None), strict=True))
    assert by_unit["auroc"] == alone["auroc"]
    assert by_unit["aupr"] == alone["aupr"]


@pytest.mark.parametrize("few", [(FEWEST_UNITS - 1, 40), (40, FEWEST_UNITS - 1), (1, 1)])
def test_with_few_units_there_is_no_interval(few):
    units = Units.numbered(*(np.arange(40) % each for each in few))
    scores, reference = gaussian(40, 1.0, 0), gaussian(40, 2.0, 1)
    for estimate in evaluate(*scores, CONFIG, units).values():
        assert np.isfinite(estimate.value)
        assert np.isnan([estimate.low, estimate.high]).all()
    found: Difference = compare(scores, reference, CONFIG, units)
    assert found.value == pytest.approx(auroc_difference(scores, reference, CONFIG).value)
    assert np.isnan([found.estimate(0.95).low, found.p_difference(), found.p_equivalence(0.02)]).all()


def test_as_many_units_as_needed_have_an_interval():
    units = Units.numbered(np.arange(40) % FEWEST_UNITS, np.arange(40))
    assert evaluate(*gaussian(40, 1.0, 0), CONFIG, units)["auroc"].low > 0


@pytest.mark.parametrize(("rate", "units"), [(0.02, 300), (0.3, 40), (0.05, 1000)])
def test_the_interval_of_a_mean_share_holds_the_truth(rate, units):
    """Of units with one group, and of units whose groups raise alarms together: Clopper and Pearson's is exact."""
    generator = np.random.default_rng(0)
    for groups in (1, 3):
        drawn = generator.binomial(groups, rate, (1000, units)) / groups
        found = [mean_share(shares, 0.95) for shares in drawn]
        assert [one.value for one in found] == pytest.approx(drawn.mean(axis=1))
        assert np.mean([one.low <= rate <= one.high for one in found]) >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / 1000)


def test_the_interval_of_a_mean_share_is_clopper_and_pearsons_with_students_quantile():
    shares = np.arange(400) < 20
    found, exact = mean_share(shares, 0.95), stats.binomtest(20, 400).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=0.03)
    assert mean_share(np.zeros(50), 0.95).low == 0 < mean_share(np.zeros(50), 0.95).high
    assert np.isnan(mean_share(np.zeros(9), 0.95).low)


def test_a_smallest_score_that_is_left_out_counts_for_nothing():
    id_scores, ood_scores = gaussian(50, 1.0, seed=0)
    dropped = EvaluationConfig(drop_minimum=True)
    lowest = np.append(id_scores, -50.0), np.append(ood_scores, -50.0)
    assert evaluate(*lowest, dropped)["auroc"].value == evaluate(id_scores, ood_scores, CONFIG)["auroc"].value
    assert evaluate(*lowest, dropped)["fpr95"] == evaluate(*lowest, CONFIG)["fpr95"]


# How often intervals hold the truth: docs/coverage-intervals.md has more of it


def test_coverage_on_gaussians_is_about_95_percent():
    found = single(SHAPES["normal"], 0.75, Setting(100), repeats=200)
    assert all(0.92 <= held <= 1 for held, *_ in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal", "exponential"])
@pytest.mark.parametrize(("groups", "repeats"), [(100, 600), (500, 400)])
def test_intervals_of_metrics_hold_the_truth(groups, repeats, name):
    for auroc in AUROCS:
        for metric, (held, _, collapsed) in single(SHAPES[name], auroc, Setting(groups), repeats).items():
            assert held >= 0.93, (auroc, metric)
            assert not collapsed, (auroc, metric)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.9])
@pytest.mark.parametrize(("groups", "repeats"), [(100, 500), (500, 300)])
def test_intervals_of_paired_differences_hold_the_truth(groups, repeats, correlation):
    for aurocs in [*zip(AUROCS, AUROCS, strict=True), *pairwise(AUROCS)]:
        held, *_ = paired(SHAPES["normal"], aurocs, correlation, Setting(groups), repeats)
        assert held >= 0.93, aurocs


@pytest.mark.slow
@pytest.mark.parametrize("units", [15, 77])
def test_intervals_of_groups_in_unequal_units_hold_the_truth(units):
    for auroc in AUROCS:
        held, *_ = single(SHAPES["normal"], auroc, Setting(500, units, 0.3), 400)["auroc"]
        assert held >= 0.93, auroc
