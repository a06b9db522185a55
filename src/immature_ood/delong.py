"""What each score contributes to an AUROC, by ranks (DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014).

With ψ(x, y) = 1 if the OOD score y is above the ID score x, ½ if they tie, and 0 else, AUROC is the mean of ψ over all
pairs. The structural components are its means over one side alone, V(x) over all y and V(y) over all x. To first order

    estimated AUROC − AUROC  ≈  Σ over ID groups (V(x) − AUROC) / n  +  Σ over OOD groups (V(y) − AUROC) / m,

a sum of what each group contributes. So errors, covariances of two AUROCs on the same groups, and clusters of groups
all follow by adding squares and products of contributions, without resampling.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Components", "components"]


@dataclass(frozen=True)
class Components:
    """AUROC and what each group contributes to its error: of_id (n,) and of_ood (m,), each with the sum 0."""

    auroc: float
    of_id: np.ndarray
    of_ood: np.ndarray


def components(id_scores: np.ndarray, ood_scores: np.ndarray) -> Components:
    """AUROC of (n,) ID against (m,) OOD scores, higher = more OOD, and its structural components.

    Ties count half; ±inf allowed. Raises ValueError if a score is NaN or a side has none.

    >>> components(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    Components(auroc=0.875, of_id=array([ 0.0625, -0.0625]), of_ood=array([-0.0625,  0.0625]))
    """
    if not (len(id_scores) and len(ood_scores)):
        raise ValueError(f"{len(id_scores)} ID and {len(ood_scores)} OOD scores; AUROC needs at least one of each")
    if np.isnan(id_scores).any() or np.isnan(ood_scores).any():
        raise ValueError("NaN scores cannot be ranked; score with a detector that gives numbers")
    below_ood = _below(id_scores, ood_scores)  # V(y)
    above_id = 1 - _below(ood_scores, id_scores)  # V(x)
    auroc = float(below_ood.mean())
    of_id, of_ood = ((values - values.mean()) / len(values) for values in (above_id, below_ood))
    return Components(auroc, of_id, of_ood)


def _below(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(k,), (l,) -> (l,) the share of the scores below each threshold, ties half."""
    ordered = np.sort(scores)
    below, not_above = (np.searchsorted(ordered, thresholds, side) for side in ("left", "right"))
    return np.asarray((below + not_above) / (2 * len(scores)))
