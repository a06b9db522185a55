"""Scores of any scale → −log p against scores of held-out in-distribution (ID) groups, so that they can be combined."""

from dataclasses import dataclass

import numpy as np

from immature_ood.features import Features

__all__ = ["Calibration", "calibrate", "halves"]

FEW = 5  # beyond the largest few scores, the tail is exponential
UPPER = 0.1  # and its scale is the mean excess over this share of the scores


def halves(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """(G,) bool each: one half of the groups and the other, none of which share a unit; the units take turns."""
    _, unit = np.unique(features.units, return_inverse=True)
    first = unit % 2 == 0
    if first.all():
        raise ValueError(
            f"{features.dataset}/{features.split}: all groups are of one unit; two are needed to calibrate"
        )
    return first, ~first


@dataclass(frozen=True)
class Calibration:
    """−log p of scores (G, C), C of different scales side by side, against those of n ID groups.

    At a score of an ID group, p = (1 + number of ID scores that are as high or higher) / (n + 1); between two of them
    −log p is linear, so that p is no less than that. From the few-th largest score t on, p(s) = p(t) exp(−(s − t) / m),
    m the mean excess of the upper tenth of the ID scores (Pickands 1975: so is the tail of many a distribution). So
    p is uniform on ID groups or larger up to t, is no tie beyond it, and is 0 only of +inf.

    scores: (n, C) float64, sorted, of the ID groups; those of +inf come last.
    start:  (C,) int64, the place of t among them.
    scale:  (C,) float64, m; 1 if it is 0.
    """

    scores: np.ndarray
    start: np.ndarray
    scale: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(G, C) → (G, C) float64, 0 or more, +inf for +inf."""
        return np.stack([self._column(place, column) for place, column in enumerate(scores.T)], axis=1)

    def _column(self, place: int, scores: np.ndarray) -> np.ndarray:
        start = self.start[place]
        known = self.scores[: start + 1, place]
        higher = len(self.scores) - np.searchsorted(known, known)
        levels = np.log(len(self.scores) + 1) - np.log(higher + 1)
        beyond = np.maximum(scores - known[-1], 0) / self.scale[place]
        bulk: np.ndarray = np.interp(np.minimum(scores, known[-1]), known, levels)
        return bulk + beyond


def calibrate(scores: np.ndarray) -> Calibration:
    """Of scores (n, C) of ID groups; raises ValueError if one is NaN or −inf, or if none of a column is finite."""
    ordered = np.sort(scores.astype(np.float64), axis=0)  # NaN comes last
    if not np.isfinite(ordered[0]).all() or np.isnan(ordered[-1]).any():
        raise ValueError("scores of held-out ID groups are NaN or infinite: they cannot be calibrated")
    finite = np.isfinite(ordered).sum(axis=0)
    start = np.maximum(finite - FEW, (finite - 1) // 2)
    scale = np.array([_mean_excess(column[:number]) for column, number in zip(ordered.T, finite, strict=True)])
    return Calibration(ordered, start, scale)


def _mean_excess(ordered: np.ndarray) -> float:
    upper = ordered[-max(2, round(UPPER * len(ordered))) :]
    excess = float((upper - upper[0])[1:].mean()) if len(upper) > 1 else 0.0
    return excess or 1.0
