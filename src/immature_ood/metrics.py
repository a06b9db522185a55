"""How well scores separate OOD from ID, and what each group contributes to the error of that number.

OOD is the positive class, and higher scores are more OOD. All metrics depend on the scores by their order alone. A
metric of n ID and m OOD groups differs from that of all images there are by, to first order, a sum of what each group
contributes (its influence): for AUROC the structural components (immature_ood.delong), for average precision the
derivatives by the weight of a group.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from immature_ood.delong import components

__all__ = ["Influence", "auroc", "auroc_influence", "average_precision", "fpr95", "threshold95"]


@dataclass(frozen=True)
class Influence:
    """A metric and what each group contributes to its error: of_id (n,) and of_ood (m,), each with the sum 0."""

    value: float
    of_id: np.ndarray
    of_ood: np.ndarray

    @classmethod
    def centred(cls, value: float, of_id: np.ndarray, of_ood: np.ndarray) -> Self:
        """Influences from derivatives by the groups' weights, whose sum a sample cannot change."""
        return cls(value, of_id - of_id.mean(), of_ood - of_ood.mean())


def auroc(id_scores: np.ndarray, ood_scores: np.ndarray, drop_minimum: bool = False) -> float:
    """AUROC of (n,) ID against (m,) OOD scores, ties half; drop_minimum as in auroc_influence.

    >>> auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.875
    """
    return auroc_influence(id_scores, ood_scores, drop_minimum).value


def auroc_influence(id_scores: np.ndarray, ood_scores: np.ndarray, drop_minimum: bool = False) -> Influence:
    """AUROC of (n,) ID against (m,) OOD scores, higher = more OOD; ties count half, ±inf allowed.

    drop_minimum: leave out each set's smallest score and what ties with it, as the released code of arXiv 2502.00820
    does ("percentile 0"); they contribute 0. Raises ValueError if a score is NaN or no score is left.
    """
    kept = [
        _above_minimum(scores) if drop_minimum else np.full(len(scores), True) for scores in (id_scores, ood_scores)
    ]
    found = components(id_scores[kept[0]], ood_scores[kept[1]])
    of_id, of_ood = (np.zeros(len(mask)) for mask in kept)
    of_id[kept[0]], of_ood[kept[1]] = found.of_id, found.of_ood
    return Influence(found.auroc, of_id, of_ood)


def _above_minimum(scores: np.ndarray) -> np.ndarray:
    return np.asarray(~(scores <= scores.min(initial=np.inf)))  # NaN is kept, to be refused


def average_precision(id_scores: np.ndarray, ood_scores: np.ndarray) -> Influence:
    """AUPR of (n,) ID against (m,) OOD scores, as scikit-learn's average_precision_score.

    The mean over OOD scores y of T / (T + A), with T the OOD and A the ID scores ≥ y. A group's influence is the
    derivative by its weight: it counts in T or A of all OOD scores that do not exceed its own, and an OOD group as a
    term of the mean.
    """
    m, thresholds = len(ood_scores), np.sort(ood_scores)
    true_alarms = m - np.searchsorted(thresholds, thresholds, "left")
    false_alarms = len(id_scores) - np.searchsorted(np.sort(id_scores), thresholds, "left")
    alarms = true_alarms + false_alarms
    precision = true_alarms / alarms
    by_false, by_true = (_summed(slope / alarms**2 / m) for slope in (-true_alarms, false_alarms))
    of_id = by_false[np.searchsorted(thresholds, id_scores, "right")]
    of_ood = by_true[np.searchsorted(thresholds, ood_scores, "right")]
    own = precision[np.searchsorted(thresholds, ood_scores, "left")] / m
    return Influence.centred(float(precision.mean()), of_id, of_ood + own)


def _summed(values: np.ndarray) -> np.ndarray:
    """(m,) -> (m + 1,) the sum of the first 0, 1, …, m."""
    return np.concatenate([[0.0], values.cumsum()])


def fpr95(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """The share of the (n,) ID scores that reach threshold95 of the (m,) OOD scores."""
    return float((id_scores >= threshold95(ood_scores)).mean())


def threshold95(ood_scores: np.ndarray) -> float:
    """The highest of the (m,) scores with 95 % of them ≥ it; not interpolated."""
    detected = -(-95 * len(ood_scores) // 100)  # at least; whole numbers, hence exact
    return float(np.sort(ood_scores)[len(ood_scores) - detected])
