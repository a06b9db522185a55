"""P-values of scores from calibration scores that no detector was fitted on (conformal prediction). NumPy and SciPy.

A group with score s, against n calibration scores c of groups like it, has

    p = (1 + #{c ≥ s}) / (n + 1)

(Vovk et al. 2005; Bates et al. 2023, Testing for outliers with conformal p-values, arXiv 2104.08279). If the n + 1
groups are exchangeable, P(p ≤ a) ≤ a for every a, whatever the scores are; a tie counts as if it were above, so that
ties make p larger, never smaller. An alarm at p ≤ a is false in a share of at most a of all ID groups, in the mean over
calibration sets. The least p is 1 / (n + 1): a level below that raises no alarm at all.

*Units.* Groups that belong together (the patches of a photograph, see grouping) are not exchangeable with those of
another unit, but units are with one another. Each of K units then weighs the same, however many groups it has,

    p = (1 + Σ_k share of unit k's groups with c ≥ s) / (K + 1)

(hierarchical conformal prediction: Lee, Barber & Willett 2023, arXiv 2306.06342), and P(p ≤ a) ≤ a for a random group
of a new unit. Proof: 1 is at least the share of the new unit's own groups that reach s; with that in its place, p is
the probability that a random group of a random one of the K + 1 units reaches s, which is itself such a group. Where
every group is a unit of its own this is the formula above. The share of false alarms that it speaks of is `by_unit`.

*One calibration set.* The true rate of false alarms, given n calibration scores without ties, follows the law
Beta(l, n + 1 − l) with l = ⌊(n + 1) a⌋ (Vovk 2012): in the mean at most a, and above a for about every other
calibration set. `strict_level` is the level that keeps a with a stated probability. That is for units of one group;
where a unit has several, the share of it that is above a threshold is smoother than all or nothing, and so is the rate.
"""

import math

import numpy as np
from scipy import special

__all__ = ["benjamini_hochberg", "by_unit", "least_p_value", "likely_rate", "p_values", "strict_level"]

DIGITS = 12  # of sums of shares: three thirds are one


def p_values(scores: np.ndarray, calibration: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
    """(m,) p-values of (m,) scores, higher = more OOD, against (n,) calibration scores; ±inf allowed.

    units: (n,) numbers, alike for calibration groups that belong together; by default each is on its own. Raises
    ValueError if a score is NaN.

    >>> p_values(np.array([0.5, 3.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])).tolist()
    [1.0, 0.6, 0.2]
    """
    if np.isnan(scores).any() or np.isnan(calibration).any():
        raise ValueError("a score is NaN: nothing can be said of its rank; did training diverge?")
    sizes, of = _units(len(calibration) if units is None else units)
    order = np.argsort(calibration)
    above = np.append(np.cumsum((1 / sizes[of])[order][::-1])[::-1], 0.0).round(DIGITS)
    reached = above[np.searchsorted(calibration[order], scores, "left")]
    return np.asarray((1 + reached) / (len(sizes) + 1))


def _units(units: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """(K,) how many groups each unit has, and (n,) the unit of each group, from 0 on."""
    of = np.arange(units) if isinstance(units, int) else np.unique(units, return_inverse=True)[1]
    return np.bincount(of), of


def by_unit(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(K,) the mean of each unit's (n,) values: of alarms, true and false, its share.

    >>> by_unit(np.array([True, False, True]), np.array([7, 7, 3])).tolist()
    [1.0, 0.5]
    """
    sizes, of = _units(units)
    return np.asarray(np.bincount(of, values, len(sizes)) / sizes)


def least_p_value(units: int) -> float:
    """The least that a p-value can be with so many calibration units; at a level below it there are no alarms."""
    return 1 / (units + 1)


def likely_rate(level: float, units: int, probability: float) -> float:
    """The rate of false alarms that so many calibration units stay below with this probability; 0 without alarms.

    A quantile of Beta(l, n + 1 − l), for alarms at p ≤ level.
    """
    rank = _rank(level, units)
    return float(special.betaincinv(rank, units + 1 - rank, probability)) if rank else 0.0


def strict_level(level: float, units: int, delta: float) -> float:
    """The highest level whose true rate of false alarms is above `level` with a probability of at most delta.

    The probability is over calibration sets of so many units (Vovk 2012; Bates et al. 2023, the simplest of their
    corrections). Alarms are raised at p ≤ what this gives: l / (n + 1) with the largest l such that
    P(Beta(l, n + 1 − l) > level) ≤ delta; 0, so that none is, where there are too few units for any.

    >>> strict_level(0.05, 1000, 0.1) < 0.05, strict_level(0.05, 20, 0.1)
    (True, 0.0)
    """
    ranks = np.arange(1, _rank(level, units) + 1)
    kept = special.betaincc(ranks, units + 1 - ranks, level) <= delta
    return float(kept.sum() / (units + 1))  # the probability grows with the rank


def _rank(level: float, units: int) -> int:
    """⌊(n + 1) level⌋, of a level below 1, in whole numbers where it is one."""
    return math.floor(round((units + 1) * level, DIGITS))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(m,) p-values corrected for there being m of them (Benjamini & Hochberg 1995).

    The groups of a batch whose corrected p-value is at most q hold, in the mean, a share of at most q of ID groups (the
    false discovery rate): p-values that share their calibration scores depend on one another in a way that keeps it
    (Bates et al. 2023, Theorem 2).

    >>> benjamini_hochberg(np.array([0.01, 0.5, 0.03])).tolist()
    [0.03, 0.5, 0.045]
    """
    order = np.argsort(p)
    stepped = p[order] * len(p) / np.arange(1, len(p) + 1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return corrected
