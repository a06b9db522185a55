"""What epoch rules are shown of a training: all that held-out ID images, as they are and changed, say of it. NumPy
only.

Detectors are fitted on one half of the fit images and score the other, as it is and changed, so that no image is scored
by a detector that has seen it. Halves are made of whole sets of units (see grouping): an image is in the same half for
every b, and no unit is in both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immature_ood.config import DetectorConfig, RuleConfig
from immature_ood.detectors import checked_log_norms, fit
from immature_ood.epoch_rules import Evidence, Halves, choose
from immature_ood.features import LOG_NORMS, Features
from immature_ood.grouping import group

__all__ = ["CHOICE_COLUMNS", "Training", "choices", "evidence_of", "is_in_other_half", "stand_in_places", "trained_to"]

BITS, NOISE = "fit_bits_per_dim", "noise_bits_per_dim"  # of training.csv
CHOICE_COLUMNS = ("rule", "detector", "batch_size", "epoch", "probability", "trained_to")


@dataclass(frozen=True)
class Training:
    """One training, as ID data has it.

    log: its rows of training.csv. fit: by kept epoch and b, the features of the fit images. changed: by kept epoch,
    name of a change and b, those of images of the other half, once they were changed.
    """

    log: pd.DataFrame
    fit: Mapping[int, Mapping[int, Features]]
    changed: Mapping[int, Mapping[str, Mapping[int, Features]]]

    def by_epoch(self, column: str) -> dict[int, float]:
        """A number of the log, where it is known."""
        known = self.log[self.log[column].notna()]
        return dict(zip(known["epoch"].tolist(), known[column].tolist(), strict=True))


def stand_in_places(units: Sequence[int], batch_sizes: Sequence[int], most: int) -> np.ndarray:
    """(n,) int64, n ≤ most: the places of the images of the other half that are changed, to stand in for OOD ones.

    units: of the fit images. They are whole rounds of units, so that they make the same groups by themselves as they do
    among all; sets take turns. Raises ValueError if there is none.
    """
    grouping, together = group(np.asarray(units), batch_sizes), math.lcm(*batch_sizes)
    rounds = grouping.order.reshape(-1, together)
    sets = grouping.units[rounds[:, 0]] // together
    turn = np.arange(len(rounds)) - np.searchsorted(sets, sets)
    other = np.flatnonzero(sets % 2 == 1)
    chosen = other[np.lexsort((sets[other], turn[other]))][: most // together]
    if not len(chosen):
        raise ValueError(
            f"{len(units)} fit images of {len({*units})} units leave none to change: {2 * together} units are needed "
            f"and stand_in_images: {together}; give more images, or leave the rules that change images out"
        )
    return rounds[np.sort(chosen)].ravel()


def is_in_other_half(features: Features, together: int) -> np.ndarray:
    """(G,) bool: the groups of the half that detectors are not fitted on; together: the batch sizes' common multiple.

    Raises ValueError if there is no second half.
    """
    other: np.ndarray = features.units // (together // features.batch_size) % 2 == 1
    if other.all() or not other.any():
        raise ValueError(
            f"{features.dataset}/{features.split}: {len(features.units)} groups of b={features.batch_size} are of too "
            "few units for two halves, which epoch rules need; raise features.fit_images, or leave the rules out"
        )
    return other


def evidence_of(
    training: Training,
    b: int,
    reads: Mapping[int, Sequence[int]],
    detector: DetectorConfig | None = None,
) -> Evidence:
    """What is known of a training for a detector and groups of b.

    reads: by each epoch at which the detector has scores, the epochs whose features it reads. detector: None if no rule
    asks for its scores. Raises ValueError if features hold NaN, or the detector gives it.
    """
    epochs = tuple(sorted(reads))
    own = {epoch: training.fit[epoch][b] for epoch in epochs}
    norms = {epoch: checked_log_norms(each) for epoch, each in own.items() if LOG_NORMS in each.statistics}
    scored = {epoch: _scored(training, b, reads[epoch], detector) for epoch in epochs} if detector else {}
    return Evidence(
        epochs,
        training.by_epoch(BITS),
        training.by_epoch(NOISE),
        norms,
        {epoch: halves for epoch, (halves, _) in scored.items()},
        {epoch: changed for epoch, (_, changed) in scored.items()},
    )


def _scored(
    training: Training, b: int, reads: Sequence[int], config: DetectorConfig
) -> tuple[Halves, dict[str, np.ndarray]]:
    """The scores of both halves and of the changed images, by the detector fitted on the first half."""
    given = [training.fit[epoch][b] for epoch in reads]
    other = is_in_other_half(given[0], math.lcm(*training.fit[reads[0]]))
    first, second = ([one.taken(half) for one in given] for half in (~other, other))
    detector = fit(config, *first)
    changed = {
        name: [training.changed[epoch][name][b] for epoch in reads] for name in training.changed.get(reads[0], {})
    }
    fitted, others, *rest = (_checked(config, detector.score(*each)) for each in (first, second, *changed.values()))
    return Halves(fitted, others), dict(zip(changed, rest, strict=True))


def _checked(config: DetectorConfig, scores: np.ndarray) -> np.ndarray:
    if np.isnan(scores).any():
        raise ValueError(f"{config.detector} gave {np.isnan(scores).sum()} NaN among {len(scores)} scores of ID groups")
    return scores


def choices(
    training: Training,
    rules: Mapping[str, RuleConfig],
    detectors: Mapping[str, DetectorConfig],
    reads: Mapping[str, Mapping[int, Sequence[int]]],
) -> pd.DataFrame:
    """One row a rule, detector, b and epoch that the rule may choose, columns CHOICE_COLUMNS.

    reads: by detector, as of evidence_of. trained_to: the epoch that the training must have come to before the rule can
    choose. Raises ValueError if a rule does, naming it.
    """
    scores = any({"halves", "changed"} & {*rule.needs()} for rule in rules.values())
    rows = [
        dict(zip(CHOICE_COLUMNS, (rule, detector, b, *chosen), strict=True))
        for detector, config in detectors.items()
        for b in next(iter(training.fit.values()))
        for evidence in [evidence_of(training, b, reads[detector], config if scores else None)]
        for rule, options in rules.items()
        for chosen in _chosen(rule, options, evidence)
    ]
    return pd.DataFrame(rows, columns=[*CHOICE_COLUMNS])


def _chosen(name: str, rule: RuleConfig, evidence: Evidence) -> Iterator[tuple[int, float, int]]:
    """(epoch, probability, what the training must have come to) of each epoch that a rule may choose."""
    try:
        found = choose(rule, evidence)
    except ValueError as error:
        raise ValueError(f"epoch_rules.{name}: {error}") from error
    for epoch, probability in found.items():
        yield epoch, probability, trained_to(rule, epoch, evidence.epochs)


def trained_to(rule: RuleConfig, epoch: int, epochs: Sequence[int]) -> int:
    """The kept epoch that a training must have come to before the rule can choose an epoch."""
    return epochs[-1] if rule.ahead is None else epochs[min(epochs.index(epoch) + rule.ahead, len(epochs) - 1)]
