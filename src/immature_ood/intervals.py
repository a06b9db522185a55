"""How sure a metric, or the difference of two AUROCs on the same groups, is: closed forms, without resampling.

The intervals are about the test images: the model and the fitted detector stay fixed. What is independent is the
*unit* (image, photograph, letter, …): influences are summed by unit before they are squared. Each is Student's t at
(fewer units of ID or OOD) − 1 degrees of freedom, and there is none with fewer than FEWEST_UNITS on a side.

*One metric* p (AUROC, AUPR). Near separation no or few groups are out of order, and the variance v that they show is
too small or 0. It is averaged with the largest that p leaves possible, as if one group had shown that one,

    V = (k v + c p(1 − p)/N) / (k + 1),        k = min(n, m) min(p, 1 − p) groups out of order,

with N the effective number of units, (Σ sizes)² / Σ sizes² of the side that has fewer. For AUROC c = 1 (Birnbaum and
Klose 1957: v ≤ p(1 − p)/min(n, m)); for AUPR c = ln N, as one ID group above all OOD groups costs not 1/N but ln N/N.
The interval is Wilson's (1927) for a share p of p(1 − p)/V groups: it has no width 0 and does not leave [0, 1].

*FPR95* is a share at a threshold that is itself estimated. The exact interval of the share (Clopper and Pearson 1934,
of the effective number of groups, Korn and Graubard 1998) and that of the threshold (order statistics) are combined by
adding squared distances.

*The difference* of two AUROCs is the wider of two intervals at each end: that of the single intervals, combined by
squared distances with the correlation of the influences (MOVER: Zou and Donner 2008, Newcombe 1998), which holds near
separation; and ± t √(variance of the difference of influences) (DeLong et al. 1988), which holds where the two are so
correlated that MOVER's distances cancel.

How often these intervals hold the truth: tests/coverage_intervals.py, with its figures in docs/coverage-intervals.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, special

from immature_ood.metrics import Influence, auroc_influence, average_precision, fpr95, threshold95
from immature_ood.study import EvaluationConfig

__all__ = [
    "FEWEST_UNITS",
    "Difference",
    "Estimate",
    "Pair",
    "Units",
    "auroc_difference",
    "compare",
    "evaluate",
    "mean_share",
]

FEWEST_UNITS = 10  # of ID or OOD, below which an interval says next to nothing: docs/coverage-intervals.md
FAR = 1e3  # a quantile beyond which a p-value is 0
Pair = tuple[np.ndarray, np.ndarray]  # of ID (n,) and of OOD (m,)


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; low and high are NaN where none can be given."""

    value: float
    low: float
    high: float

    def within(self, lowest: float, highest: float) -> "Estimate":
        """With its interval cut where the number cannot be, which costs no coverage; NaN stays.

        >>> Estimate(0.9, 0.7, 1.1).within(0, 1)
        Estimate(value=0.9, low=0.7, high=1.0)
        """
        low, high = (float(np.clip(bound, lowest, highest)) for bound in (self.low, self.high))
        return Estimate(self.value, low, high)


# What is independent --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """The units of the groups of one side, ID or OOD: of (n,) from 0 on."""

    of: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        """(units,) groups in each."""
        return np.bincount(self.of)

    @property
    def count(self) -> int:
        """Number of units."""
        return len(self.sizes)

    @property
    def effective(self) -> float:
        """(Σ sizes)² / Σ sizes²: n if each group is its own, and never more than the number of units."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    def covariance(self, first: np.ndarray, second: np.ndarray) -> float:
        """The covariance of two sums of (n,) influences."""
        sums = (np.bincount(self.of, each, self.count) for each in (first, second))
        return float(np.dot(*sums) * self.count / (self.count - 1))


@dataclass(frozen=True)
class Units:
    """What is independent on both sides."""

    id: Side
    ood: Side

    @classmethod
    def numbered(cls, of_id: np.ndarray, of_ood: np.ndarray) -> "Units":
        """Units from any numbers (n,), (m,): groups of the same number belong together."""
        return cls(*(Side(np.unique(each, return_inverse=True)[1]) for each in (of_id, of_ood)))

    @classmethod
    def each_its_own(cls, pair: Pair) -> "Units":
        """Every group is independent of every other."""
        return cls(*(Side(np.arange(len(scores))) for scores in pair))

    @property
    def fewest(self) -> int:
        """Units of the side that has fewer."""
        return min(self.id.count, self.ood.count)

    @property
    def effective(self) -> float:
        """The effective number of units of the side that has fewer."""
        return min(self.id.effective, self.ood.effective)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of Student's t: Welch's, if the side with fewer units had all the variance."""
        return self.fewest - 1

    def quantile(self, confidence: float) -> float:
        """Student's, of a two-sided interval."""
        return float(special.stdtrit(self.freedom, (1 + confidence) / 2))

    def covariance(self, first: Influence, second: Influence) -> float:
        """The covariance of two metrics on the same groups."""
        return self.id.covariance(first.of_id, second.of_id) + self.ood.covariance(first.of_ood, second.of_ood)


# One metric -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Share:
    """A metric as if it were the share of `groups` independent groups."""

    value: float
    groups: float

    def wilson(self, quantile: float) -> tuple[float, float]:
        """Wilson's score interval at a standard quantile."""
        squared, p = quantile**2 / self.groups, self.value
        centre = (p + squared / 2) / (1 + squared)
        half = math.sqrt(squared * (p * (1 - p) + squared / 4)) / (1 + squared)
        return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))

    def exact(self, quantile: float) -> tuple[float, float]:
        """Clopper and Pearson's interval at a standard quantile."""
        tail, hits = float(special.ndtr(-quantile)), self.value * self.groups
        misses = self.groups - hits
        low = special.betaincinv(hits, misses + 1, tail) if hits > 0 else 0.0
        high = special.betaincinv(hits + 1, misses, 1 - tail) if misses > 0 else 1.0
        return float(low), float(high)


def evaluate(
    id_scores: np.ndarray, ood_scores: np.ndarray, config: EvaluationConfig, units: Units | None = None
) -> dict[str, Estimate]:
    """AUROC, AUPR and FPR95 of (n,) ID against (m,) OOD scores, with intervals.

    units: what is independent; by default each group. Raises ValueError if a score is NaN.
    """
    units = units or Units.each_its_own((id_scores, ood_scores))
    found = auroc_influence(id_scores, ood_scores, config.drop_minimum)
    precision = average_precision(id_scores, ood_scores)
    rate = fpr95(id_scores, ood_scores)
    if units.fewest < FEWEST_UNITS:
        values = found.value, precision.value, rate
        estimates = [Estimate(value, math.nan, math.nan) for value in values]
    else:
        quantile = units.quantile(config.confidence)
        shares = _share(found, units, worst=1.0), _share(precision, units, worst=math.log(units.effective))
        estimates = [Estimate(share.value, *share.wilson(quantile)) for share in shares]
        estimates.append(Estimate(rate, *_fpr95_bounds((id_scores, ood_scores), units, config.confidence)))
    return dict(zip(("auroc", "aupr", "fpr95"), estimates, strict=True))


def _share(metric: Influence, units: Units, worst: float) -> _Share:
    """worst: the largest variance that the metric's value leaves possible, in p(1 − p)/N."""
    variance, groups = units.covariance(metric, metric), min(len(units.id.of), len(units.ood.of))
    return _as_share(metric.value, variance, groups, units.effective, worst)


def _as_share(p: float, variance: float, groups: int, units: float, worst: float) -> _Share:
    seen, possible = groups * min(p, 1 - p), p * (1 - p) / units
    if possible == 0:
        return _Share(p, units / worst)
    return _Share(p, p * (1 - p) * (seen + 1) / (seen * variance + worst * possible))


def _fpr95_bounds(pair: Pair, units: Units, confidence: float) -> tuple[float, float]:
    id_scores, ood_scores = pair
    threshold = threshold95(ood_scores)
    alarms = id_scores >= threshold
    rate, student = alarms.mean(), units.quantile(confidence)
    of_share = _exact(alarms, units.id, student, confidence)
    of_threshold = (float((id_scores >= bound).mean()) for bound in _threshold_bounds(ood_scores, units.ood, student))
    distances = [abs(rate - bound) for bound in (*of_share, *of_threshold)]
    low, high = math.hypot(*distances[::2]), math.hypot(*distances[1::2])
    return max(0.0, rate - low), min(1.0, rate + high)


def _exact(alarms: np.ndarray, side: Side, student: float, confidence: float) -> tuple[float, float]:
    """The exact interval of the share of (n,) alarms; student: the quantile that is taken in the normal's place."""
    rate, normal = alarms.mean(), float(special.ndtri((1 + confidence) / 2))
    centred = (alarms - rate) / len(alarms)
    share = _as_share(rate, side.covariance(centred, centred), len(alarms), side.effective, worst=1.0)
    return _Share(rate, share.groups * (normal / student) ** 2).exact(normal)


def mean_share(shares: np.ndarray, confidence: float) -> Estimate:
    """The mean of the (K,) shares of units, each in [0, 1], such as of their groups that raise an alarm.

    With the exact interval that FPR95 has of a share at a fixed threshold; none with fewer than FEWEST_UNITS units.
    """
    rate, side = float(shares.mean()), Side(np.arange(len(shares)))
    if side.count < FEWEST_UNITS:
        return Estimate(rate, math.nan, math.nan)
    student = float(special.stdtrit(side.count - 1, (1 + confidence) / 2))
    return Estimate(rate, *_exact(shares, side, student, confidence))


def _threshold_bounds(ood_scores: np.ndarray, side: Side, quantile: float) -> tuple[float, float]:
    """The highest and the lowest threshold that 5 % of all OOD groups there are could miss, by order statistics."""
    m, ordered = len(ood_scores), np.sort(ood_scores)
    missed = ((ood_scores < threshold95(ood_scores)) - 0.05) / m
    half = quantile * math.sqrt(max(side.covariance(missed, missed), 0.05 * 0.95 / m))
    most, least = math.floor(m * (0.05 + half)), math.ceil(m * (0.05 - half))
    return ordered[most] if most < m else math.inf, ordered[least - 1] if least > 0 else -math.inf


# Paired differences ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """AUROC `first` minus AUROC `second` on the same groups.

    correlation: of the two, by their influences. error: the standard error of the difference, by the same.
    same_order: both rank the groups alike, so that they differ by nothing, whatever the images.
    """

    first: _Share
    second: _Share
    correlation: float
    error: float
    units: Units
    same_order: bool

    @property
    def value(self) -> float:
        """The difference."""
        return self.first.value - self.second.value

    def estimate(self, confidence: float) -> Estimate:
        """The difference with its interval, within [−1, 1]."""
        if self.units.fewest < FEWEST_UNITS:
            return Estimate(self.value, math.nan, math.nan)
        quantile = self.units.quantile(confidence)
        return Estimate(self.value, self.low(quantile), self.high(quantile)).within(-1, 1)

    def low(self, quantile: float) -> float:
        """The lower end of the interval at a quantile of Student's t."""
        return self.value - self._reach(quantile, self.first, self.second)

    def high(self, quantile: float) -> float:
        """The upper end of the interval at a quantile of Student's t."""
        return self.value + self._reach(quantile, self.second, self.first)

    def _reach(self, quantile: float, falling: _Share, rising: _Share) -> float:
        """How far the difference reaches to where one AUROC falls and the other rises."""
        if self.same_order:
            return 0.0
        fall, rise = falling.value - falling.wilson(quantile)[0], rising.wilson(quantile)[1] - rising.value
        squared = fall**2 + rise**2 - 2 * self.correlation * fall * rise
        return max(math.sqrt(max(squared, 0.0)), quantile * self.error)

    def p_difference(self) -> float:
        """The p-value of "it is 0": 1 − the highest confidence whose interval leaves 0 out; NaN without an interval."""
        return self._p(self.low, 0.0) if self.value > 0 else self._p(lambda quantile: -self.high(quantile), 0.0)

    def p_equivalence(self, margin: float) -> float:
        """The p-value of "it is `margin` or more, either way": as p_difference, for an interval within ± margin."""
        return max(self._p(self.low, -margin), self._p(lambda quantile: -self.high(quantile), -margin))

    def _p(self, bound: Callable[[float], float], shift: float) -> float:
        """1 − the confidence at which a bound, which falls with the quantile, comes down to `shift`."""
        if self.units.fewest < FEWEST_UNITS:
            return math.nan
        if bound(0.0) <= shift:
            return 1.0
        if bound(FAR) > shift:
            return 0.0
        quantile = optimize.brentq(lambda each: bound(each) - shift, 0.0, FAR, xtol=1e-9)
        return float(2 * special.stdtr(self.units.freedom, -quantile))


def compare(scores: Pair, reference: Pair, config: EvaluationConfig, units: Units | None = None) -> Difference:
    """AUROC of `scores` minus AUROC of `reference`, each (ID scores, OOD scores) of the same groups in the same order.

    units: what is independent; by default each group. Raises ValueError if the numbers of groups differ.
    """
    sizes = [len(part) for part in scores], [len(part) for part in reference]
    if sizes[0] != sizes[1]:
        raise ValueError(f"not the same test groups: {sizes[0]} against {sizes[1]} (ID, OOD); score both on one set")
    units = units or Units.each_its_own(scores)
    first, second = (auroc_influence(*pair, config.drop_minimum) for pair in (scores, reference))
    same_order = _same_order(scores, reference)
    if units.fewest < FEWEST_UNITS:
        shares = [_Share(each.value, units.effective) for each in (first, second)]
        return Difference(shares[0], shares[1], math.nan, math.nan, units, same_order)
    return _difference(first, second, units, same_order)


def _difference(first: Influence, second: Influence, units: Units, same_order: bool) -> Difference:
    variances = [units.covariance(each, each) for each in (first, second)]
    covariance, scale = units.covariance(first, second), math.sqrt(math.prod(variances))
    correlation = min(1.0, max(-1.0, covariance / scale)) if scale > 0 else 0.0
    error = math.sqrt(max(sum(variances) - 2 * covariance, 0.0))
    shares = [_share(each, units, worst=1.0) for each in (first, second)]
    return Difference(shares[0], shares[1], correlation, error, units, same_order)


def auroc_difference(scores: Pair, reference: Pair, config: EvaluationConfig, units: Units | None = None) -> Estimate:
    """What `compare` finds, as a number and its interval."""
    return compare(scores, reference, config, units).estimate(config.confidence)


def _same_order(scores: Pair, reference: Pair) -> bool:
    first, second = (np.unique(np.concatenate(pair), return_inverse=True)[1] for pair in (scores, reference))
    return np.array_equal(first, second)
