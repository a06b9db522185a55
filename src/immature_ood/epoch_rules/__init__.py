"""Epoch rules: one file a rule that chooses one of the kept epochs of a training, by ID data alone. NumPy only.

A file, found by its name (see registry), has `choose(config, evidence)`, which gives an epoch, or, of a rule that
chooses by chance, the probability of each; and `Config`, a RuleConfig, which says by `needs` what of the evidence it
reads and by `ahead` how much later it must look. It is asked for every training, detector and b by itself, and is never
shown an OOD
image: those that stand in for them are ID images, changed. Adding one is adding a file and a line to the study's
`epoch_rules`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from immature_ood import registry
from immature_ood.config import RuleConfig

__all__ = ["Evidence", "Halves", "choose", "first_extreme", "live_log_norms"]


@dataclass(frozen=True)
class Halves:
    """Scores of held-out ID groups by a detector that was fitted on one half of them.

    fitted: (n,) float64, of the half that it was fitted on. others: (m,) float64, of the other half; no unit is in
    both.
    """

    fitted: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """What is known of one training, for one detector and groups of b, without any OOD image.

    epochs: the kept epochs at which the detector has scores, rising; one of them is to be chosen.
    bits_per_dim: held-out bits/dim by epoch, also of those that were not kept.
    noise: by kept epoch, how far above the lowest kept one images alone could bring it, bits/dim (see maturity).
    log_norms: by kept epoch, (G, K) float64, of the same G groups of held-out ID images and K layers.
    halves: by kept epoch, the scores of these groups.
    changed: by kept epoch and name of a change, (g,) float64 scores of some groups of the half that the detector was
    not
        fitted on, once they were changed.

    What no rule of the study needs may be missing.
    """

    epochs: tuple[int, ...]
    bits_per_dim: Mapping[int, float] = field(default_factory=dict)
    noise: Mapping[int, float] = field(default_factory=dict)
    log_norms: Mapping[int, np.ndarray] = field(default_factory=dict)
    halves: Mapping[int, Halves] = field(default_factory=dict)
    changed: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def of(self, name: str) -> dict[int, Any]:
        """A part of it by the epochs that can be chosen, rising; raises ValueError if it is missing for one of them."""
        there = getattr(self, name)
        if missing := [epoch for epoch in self.epochs if epoch not in there]:
            raise ValueError(
                f"nothing is known of {name} at epoch {missing[0]}; a rule that reads it has it among its needs"
            )
        return {epoch: there[epoch] for epoch in self.epochs}


def choose(config: RuleConfig, evidence: Evidence) -> dict[int, float]:
    """The epoch that a rule chooses, with the probability 1; of a rule that chooses by chance, each with its own.

    Raises ValueError if the rule does, if there is no epoch, or if it chooses one that was not kept.
    """
    if not evidence.epochs:
        raise ValueError("no epoch is kept at which the detector has scores; keep some")
    found = registry.load("epoch_rules", config.rule).choose(config, evidence)
    chosen = {int(epoch): float(share) for epoch, share in _shares(found).items() if share}
    if not {*chosen} <= {*evidence.epochs} or not np.isclose(sum(chosen.values()), 1):
        raise ValueError(f"{config.rule} chose {found}, but the kept epochs are {', '.join(map(str, evidence.epochs))}")
    return chosen


def _shares(found: int | Mapping[int, float]) -> Mapping[int, float]:
    return found if isinstance(found, Mapping) else {found: 1.0}


def first_extreme(by_epoch: Mapping[int, float], best: Callable[[Sequence[float]], float]) -> int:
    """The first epoch at which a number is the best, such as max or min; NaN counts as no number.

    Raises ValueError if all are NaN.
    """
    known = {epoch: number for epoch, number in by_epoch.items() if not np.isnan(number)}
    if not known:
        raise ValueError("there is no number by which to choose at any epoch")
    extreme = best([*known.values()])
    return next(epoch for epoch, number in known.items() if number == extreme)


def live_log_norms(*log_norms: np.ndarray) -> list[np.ndarray]:
    """(G, K) each → (G, live) each: of the layers that are finite and vary in all of them."""
    live = np.all(
        [np.isfinite(each).all(axis=0) & (np.ptp(np.nan_to_num(each), axis=0) > 0) for each in log_norms], axis=0
    )
    return [each[:, live] for each in log_norms]
