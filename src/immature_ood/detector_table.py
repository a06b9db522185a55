"""One table of all detectors: how well each does over the pairs, against the paper's score, and what it costs.

Two means are kept apart: over all pairs, and over those that no control solves (see controls). The intervals of the
mean difference to the reference are those of immature_ood.means: for these pairs, and for new data sets.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

import numpy as np
import pandas as pd

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import POOLED
from immature_ood.controls import ALL, NONE_SOLVED, UNSOLVED, overs
from immature_ood.costs import FeatureCost, ScoreCosts
from immature_ood.evaluation import PAIR, SATURATED, holm
from immature_ood.intervals import Units, compare
from immature_ood.means import BOUNDS, Term, bounds, combined, sets, term
from immature_ood.metrics import fpr95
from immature_ood.scores import Scores
from immature_ood.sidecars import Trained
from immature_ood.study import EvaluationConfig

__all__ = ["DETECTOR_COLUMNS", "Asked", "Spent", "detector_summary", "detector_table", "total_seconds"]

KEY = ("model", "detector", "batch_size", "epoch")
COSTS = ("train_seconds", "feature_seconds", "memory_mib", "loop_seconds", "score_seconds")
DETECTOR_COLUMNS = (
    *(*KEY, "over", "pairs", "sets", "seeds", "control", "auroc", "rank", "fpr95"),
    *("reference", "comparisons", "wins", "losses", *(f"difference{bound}" for bound in BOUNDS)),
    *COSTS,
)
SCORED = 10_000  # images, in a total cost

# What it costs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spent:
    """What was spent, as measured.

    trained: by checkpoint. features: by model and detector. scores: of each place.
    """

    trained: Mapping[CheckpointId, Trained]
    features: Mapping[tuple[str, str], FeatureCost]
    scores: Sequence[ScoreCosts]

    def on(self, detector: str, control: bool) -> Iterator[tuple[tuple[str, str, int, int], dict[str, float]]]:
        """(key of a row, its costs) for each place at which a detector has scores, for each b.

        A detector that reads several checkpoints is charged for all their features, and, of each training, for the
        longest of them alone; one that reads no trained model for no training.
        """
        for place in self.scores:
            for (name, b), seconds in place.seconds.items():
                if name == detector:
                    read = place.reads[detector]
                    of_training = 0.0 if control else self._of_training(read)
                    costs = {
                        "train_seconds": of_training,
                        **self._of_features(detector, read),
                        "score_seconds": seconds,
                    }
                    yield (place.checkpoint.model, detector, b, place.checkpoint.epoch), costs

    def _of_training(self, read: Sequence[CheckpointId]) -> float:
        longest: dict[tuple[str, str, int | str], float] = {}
        for one in read:
            run, seconds = (one.id_dataset, one.model, one.seed), self.trained[one].train_seconds
            longest[run] = max(longest.get(run, 0.0), seconds)
        return sum(longest.values())

    def _of_features(self, detector: str, read: Sequence[CheckpointId]) -> dict[str, float]:
        costs = [self.features[one.model, detector] for one in read]
        return {
            "feature_seconds": sum(cost.seconds for cost in costs),
            "memory_mib": max(cost.mebibytes for cost in costs),
            "loop_seconds": sum(cost.loop_seconds for cost in costs),
        }


def total_seconds(table: pd.DataFrame, features: str = "feature_seconds") -> pd.Series:
    """Of each row of a table of detectors: training to that epoch, and scoring SCORED images.

    features: the column of seconds for 1,000; loop_seconds for a backward pass an image.
    """
    return table["train_seconds"] + (table[features] + table["score_seconds"]) * SCORED / 1000


# How well it does -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What the table is to say of a study.

    reference: the detector that all others are compared with, None: none. controls: those that read no trained model.
    solved: what controls.solved_pairs gives. names: the data set whose test images and seeds a data set shares, where
    it is called otherwise.
    """

    config: EvaluationConfig
    reference: str | None = None
    controls: Sequence[str] = ()
    solved: pd.DataFrame = field(default_factory=NONE_SOLVED.copy)
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scored:
    """What one detector says, under one seed, of the test groups of a pair."""

    scores: Scores
    detector: str
    b: int
    dataset: str
    asked: Asked

    @property
    def key(self) -> tuple[str, str, int, int]:
        """The columns KEY."""
        checkpoint = self.scores.checkpoint
        return checkpoint.model, self.detector, self.b, checkpoint.epoch

    @property
    def pair(self) -> tuple[str, str]:
        """The ID and the OOD set, as they are called."""
        return self.scores.checkpoint.id_dataset, self.dataset

    @property
    def seed(self) -> int | str:
        """A number, or POOLED."""
        return self.scores.checkpoint.seed

    @property
    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (m,) scores of ID and OOD groups."""
        of_id, of_ood = (self.scores.of(self.detector, self.b, name) for name in self.pair)
        return of_id, of_ood

    @property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (m,), the units of ID and OOD groups."""
        of_id, of_ood = (self.scores.units_of(self.b, name) for name in self.pair)
        return of_id, of_ood

    @cached_property
    def term(self) -> Term:
        """The AUROC, as a part of a mean."""
        own, other = (self.asked.names.get(name, name) for name in self.pair)
        return term((own, other), self.seed, self.values, self.units, self.asked.config.drop_minimum)

    @cached_property
    def fpr95(self) -> float:
        """The share of ID groups that pass for OOD where 95 % of these do."""
        return fpr95(*self.values)


@dataclass(frozen=True)
class _Comparison:
    """Of a detector with the reference, on one pair under one seed; p: of "the AUROCs are equal", NaN if saturated."""

    of: _Scored
    difference: Term
    p: float


def detector_table(scores: Iterable[Scores], asked: Asked, spent: Spent) -> pd.DataFrame:
    """Rows by model, detector, b, epoch and what the means are over, columns DETECTOR_COLUMNS.

    auroc, fpr95: means over pairs and seeds. rank: of the AUROC of a pair, the mean over its seeds, among the detectors
    that have one there, 1 the best; mean over pairs. comparisons: with the reference, one a pair and seed, that are not
    saturated; wins, losses: those that are better or worse by Holm's method over all of one model, detector and b,
    trained epochs together and the untrained apart. difference: the mean of AUROC − AUROC of the reference; what is of
    all seeds together is compared under each seed of the other. Costs: means over ID sets and seeds, seconds and MiB;
    of features and scores for 1,000 images.
    """
    scored = [one for together in _settings(scores) for one in _scored(together, asked)]
    ranks, compared = _ranks(scored), _compared(scored, asked)
    costs = _mean_costs({one.detector for one in scored}, asked, spent)
    rows = [
        {
            **dict(zip(KEY, key, strict=True)),
            "over": over,
            "control": "yes" if key[1] in asked.controls else "no",
            **_means(chosen, ranks),
            "reference": asked.reference,
            **_against(chosen, compared, asked),
            **costs.get(key, {}),
        }
        for key, of_key in groupby(sorted(scored, key=_key), key=_key)
        for over, chosen in overs([*of_key], lambda one: (*one.pair, one.b), asked.solved)
    ]
    return pd.DataFrame(rows, columns=[*DETECTOR_COLUMNS])


def _key(one: _Scored) -> tuple[str, str, int, int]:
    return one.key


def _settings(scores: Iterable[Scores]) -> Iterator[list[Scores]]:
    """The scores of one model, ID set and epoch, of all seeds."""

    def setting(one: Scores) -> tuple[str, str, int]:
        return one.checkpoint.model, one.checkpoint.id_dataset, one.checkpoint.epoch

    for _, together in groupby(sorted(scores, key=setting), key=setting):
        yield [*together]


def _scored(together: Sequence[Scores], asked: Asked) -> list[_Scored]:
    return [
        _Scored(one, detector, b, dataset, asked)
        for one in together
        for detector, b in one.dead_layers
        for dataset in one.ood_datasets
    ]


def _means(chosen: Sequence[_Scored], ranks: pd.Series) -> dict[str, object]:
    pairs = {one.pair for one in chosen}
    return {
        **sets(one.term for one in chosen),
        "pairs": len(pairs),
        "auroc": np.mean([one.term.value for one in chosen]),
        "rank": np.mean([ranks[(*chosen[0].key, *pair)] for pair in pairs]),
        "fpr95": np.mean([one.fpr95 for one in chosen]),
    }


def _ranks(scored: Sequence[_Scored]) -> pd.Series:
    """By key and pair, the rank among all detectors."""
    rows = [(*one.key, *one.pair, one.term.value) for one in scored]
    aurocs = pd.DataFrame(rows, columns=[*KEY, *PAIR, "auroc"]).groupby([*KEY, *PAIR])["auroc"].mean()
    return aurocs.groupby([name for name in aurocs.index.names if name != "detector"]).rank(ascending=False)


# Against the reference ------------------------------------------------------------------------------------------------


def _compared(scored: Sequence[_Scored], asked: Asked) -> dict[int, list[tuple[_Comparison, bool]]]:
    """By id() of what was scored, its comparisons with the reference, and whether each differs by more than chance."""
    references: dict[tuple[str, int, int, str, str], list[_Scored]] = {}
    for one in scored:
        if one.detector == asked.reference:
            references.setdefault(_setting(one), []).append(one)
    found = [
        _comparison(one, other)
        for one in scored
        if one.detector != asked.reference
        for other in _partners(one, references.get(_setting(one), []))
    ]
    together: dict[int, list[tuple[_Comparison, bool]]] = {}
    for each, sure in zip(found, _sure(found, asked.config), strict=True):
        together.setdefault(id(each.of), []).append((each, sure))
    return together


def _setting(one: _Scored) -> tuple[str, int, int, str, str]:
    """All but the detector and the seed."""
    model, _, b, epoch = one.key
    return (model, b, epoch, *one.pair)


def _partners(one: _Scored, references: Sequence[_Scored]) -> list[_Scored]:
    return [other for other in references if one.seed == other.seed or POOLED in (one.seed, other.seed)]


def _comparison(one: _Scored, other: _Scored) -> _Comparison:
    difference = combined((1, -1), (one.term, other.term))
    config, saturated = one.asked.config, min(one.term.value, other.term.value) >= SATURATED
    found = compare(one.values, other.values, config, Units.numbered(*one.units))
    p = math.nan if saturated else found.p_difference()
    return _Comparison(one, replace(difference, seed=other.seed if one.seed == POOLED else one.seed), p)


def _sure(compared: Sequence[_Comparison], config: EvaluationConfig) -> list[bool]:
    """Whether each differs by Holm's method over those of one model, detector and b, the untrained apart."""
    rows = [(*one.of.key[:3], one.of.key[3] >= 1, one.p) for one in compared]
    table = pd.DataFrame(rows, columns=[*KEY[:3], "trained", "p"])
    counted = table[table["p"].notna()]
    corrected = counted.groupby([*KEY[:3], "trained"])["p"].transform(holm)
    return [bool(each) for each in (corrected <= 1 - config.confidence).reindex(table.index, fill_value=False)]


def _against(
    chosen: Sequence[_Scored], compared: Mapping[int, Sequence[tuple[_Comparison, bool]]], asked: Asked
) -> dict[str, object]:
    """Nothing where there is no comparison, as of the reference itself."""
    found = [each for one in chosen for each in compared.get(id(one), [])]
    if not found:
        return {}
    higher = [one.difference.value > 0 for one, sure in found if sure]
    return {
        "comparisons": sum(not math.isnan(one.p) for one, _ in found),
        "wins": sum(higher),
        "losses": len(higher) - sum(higher),
        **bounds("difference", [one.difference for one, _ in found], asked.config.confidence),
    }


def _mean_costs(
    detectors: Iterable[str], asked: Asked, spent: Spent
) -> dict[tuple[str, str, int, int], dict[str, float]]:
    """By key, the means over ID sets and seeds."""
    rows = [(*key, *found.values()) for name in detectors for key, found in spent.on(name, name in asked.controls)]
    means = pd.DataFrame(rows, columns=[*KEY, *COSTS]).groupby([*KEY]).mean()
    return dict(zip(means.index, means.to_dict("records"), strict=True))


# What it comes to -----------------------------------------------------------------------------------------------------


def detector_summary(table: pd.DataFrame, solved: pd.DataFrame = NONE_SOLVED) -> str:
    """A line a model and b: what detectors that read a trained model add to the best control; "" without controls.

    solved: what controls.solved_pairs gives.
    """
    if not table["control"].eq("yes").any():
        return ""
    title = "What a density model adds to the best control, in mean AUROC (epoch and detector picked on test data):"
    by_b = table[table["epoch"].ge(1) | table["control"].eq("yes")].groupby(["model", "batch_size"])
    return "\n".join(
        [title, *(f"  {model}, b={b}: {_added(rows, b in set(solved['batch_size']))}" for (model, b), rows in by_b)]
    )


def _added(rows: pd.DataFrame, some_solved: bool) -> str:
    all_pairs, left = rows[rows["over"] == ALL], rows[rows["over"] == UNSOLVED]
    control, number = _best(all_pairs[all_pairs["control"] == "yes"])["detector"], all_pairs["pairs"].max()
    words = f"over {number} pairs {_said(all_pairs, control)}"
    if left.empty:
        return f"{words}; {'all' if some_solved else 'none'} solved by a control"
    others = left["pairs"].max()
    return f"{words}; {number - others} solved by a control; over the other {others} {_said(left, control)}"


def _said(rows: pd.DataFrame, control: str) -> str:
    """The control, the reference where there is one, and the best of the detectors that are no controls."""
    others = rows[rows["control"] == "no"]
    references = others[others["detector"].isin(rows["reference"].dropna())]
    named = {control: rows[rows["detector"] == control], "reference": references, "best": others}
    words = {_words(_best(chosen)): None for chosen in named.values() if len(chosen)}
    return ", ".join(words)


def _best(rows: pd.DataFrame) -> pd.Series:
    return rows.loc[rows["auroc"].idxmax()]


def _words(row: pd.Series) -> str:
    epoch = "" if row["control"] == "yes" else f" (epoch {row['epoch']})"
    return f"{row['detector']} {row['auroc']:.3f}{epoch}"
