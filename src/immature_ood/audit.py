"""What one choice does: AUROC of the same pairs with and without it, on the same test groups.

The same groups are scored twice, so that a difference is the choice's and not that of other images. Audits of the
released code's choices use it (each a study of its own, beside the study `audit`), and the experiment in which a model
is trained on another model's samples. How sure a mean over pairs is, for these data sets and for new ones: see means.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.evaluation import IDENTITY, PAIR, VERDICTS, verdict
from immature_ood.intervals import Pair, Units, compare
from immature_ood.means import BOUNDS, NO_NEW_SETS, ONE_SEED, Term, bounds, combined, interval, sets, term
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = ["AUDIT_COLUMNS", "SUMMARY_COLUMNS", "Comparison", "audit_rows", "audit_summary", "audit_text", "compared"]

AUDIT_COLUMNS = (
    *("choice", *IDENTITY, "detector"),
    *("auroc", "auroc_changed", "difference", "difference_low", "difference_high", "verdict"),
)
OF_A_MEAN = ("choice", "model", "detector", "batch_size")
SUMMARY_COLUMNS = (
    *OF_A_MEAN,
    *("pairs", "sets", "seeds", *(f"difference{bound}" for bound in BOUNDS), *VERDICTS),
    *("claim", "claim_changed", *(f"claim_difference{bound}" for bound in BOUNDS), "changes_claim"),
)
HEADERS = (
    *("choice", "detector, model", "b", "mean AUROC moves by", "new sets", "verdicts"),
    *("first − last epoch", "turned"),
)
Names = Mapping[str, str]
NOTHING: Names = MappingProxyType({})


# What is set beside what ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """The scores of one pair's test groups, ID and OOD, from one checkpoint and detector, without a choice and with it.

    Data sets and the seed are called as in the study without the choice, model and detector as in the one with it.
    """

    pair: tuple[str, str]
    model: str
    seed: int | str
    epoch: int
    batch_size: int
    detector: str
    without: Pair
    changed: Pair
    units: Pair

    def terms(self, drop_minimum: bool) -> tuple[Term, Term]:
        """What the pair adds to a mean, without the choice and with it."""
        both = (self.without, self.changed)
        without, changed = (term(self.pair, self.seed, scores, self.units, drop_minimum) for scores in both)
        return without, changed


def compared(
    choice: str, base: Iterable[Scores], changed: Iterable[Scores], datasets: Names, baselines: Names
) -> list[Comparison]:
    """Every pair, checkpoint, batch size and detector that is in a study without a choice and in one with it.

    datasets, baselines: what a data set, and a detector or model, of the changed study is called in the base study,
    where it is called otherwise; else names are equal to the letter. Seeds are matched by their order: another model
    has other weights anyhow. Raises ValueError if the two share no checkpoint.
    """
    base, changed = list(base), list(changed)
    seeds = dict(zip(_seeds(changed), _seeds(base), strict=False))
    by_place = {(*_place(one.checkpoint), one.checkpoint.seed): one for one in base}
    both = (
        (by_place.get((*_place(other.checkpoint, datasets, baselines), seeds.get(other.checkpoint.seed, -1))), other)
        for other in changed
    )
    found = [each for one, other in both if one for each in _of_checkpoint(one, other, datasets, baselines)]
    if not found:
        raise ValueError(f"{choice}: no ID data set, model, seed and epoch in both studies; give them the same epochs")
    return found


def _seeds(scores: Iterable[Scores]) -> list[int | str]:
    """The seeds in order; all seeds together come last."""
    return sorted({one.checkpoint.seed for one in scores}, key=lambda seed: (isinstance(seed, str), seed))


def _place(checkpoint: CheckpointId, datasets: Names = NOTHING, baselines: Names = NOTHING) -> tuple[str, str, int]:
    """ID data set, model and epoch, called as in the base study."""
    id_dataset, model = checkpoint.id_dataset, checkpoint.model
    return datasets.get(id_dataset, id_dataset), baselines.get(model, model), checkpoint.epoch


def _of_checkpoint(base: Scores, changed: Scores, datasets: Names, baselines: Names) -> Iterator[Comparison]:
    own, changed_own = base.checkpoint.id_dataset, changed.checkpoint.id_dataset
    called = {datasets.get(name, name): name for name in changed.ood_datasets}
    for detector, b in changed.dead_layers:
        of_base = baselines.get(detector, detector)
        for dataset in sorted({*base.ood_datasets} & called.keys()) if (of_base, b) in base.dead_layers else []:
            yield Comparison(
                pair=(own, dataset),
                model=changed.checkpoint.model,
                seed=base.checkpoint.seed,
                epoch=base.checkpoint.epoch,
                batch_size=b,
                detector=detector,
                without=(base.of(of_base, b, own), base.of(of_base, b, dataset)),
                changed=(changed.of(detector, b, changed_own), changed.of(detector, b, called[dataset])),
                units=(base.units_of(b, own), base.units_of(b, dataset)),
            )


def audit_rows(choice: str, comparisons: Iterable[Comparison], config: EvaluationConfig) -> pd.DataFrame:
    """AUROC with the choice minus AUROC without it, one row a comparison, columns AUDIT_COLUMNS.

    Raises ValueError if the two were not scored on the same number of groups.
    """
    rows = [{"choice": choice, **_row(one, config)} for one in comparisons]
    return pd.DataFrame(rows, columns=[*AUDIT_COLUMNS])


def _row(one: Comparison, config: EvaluationConfig) -> dict[str, object]:
    found = compare(one.changed, one.without, config, Units.numbered(*one.units))
    difference, aurocs = found.estimate(config.confidence), (found.first.value, found.second.value)
    return {
        **dict(zip(PAIR, one.pair, strict=True)),
        **{name: getattr(one, name) for name in (*IDENTITY[len(PAIR) :], "detector")},
        "auroc": aurocs[1],
        "auroc_changed": aurocs[0],
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "verdict": verdict(difference, config.margin, aurocs),
    }


# What a choice does in the mean ---------------------------------------------------------------------------------------


def audit_summary(
    comparisons: Mapping[str, Sequence[Comparison]], rows: pd.DataFrame, config: EvaluationConfig
) -> pd.DataFrame:
    """One row a choice, model, detector and batch size, columns SUMMARY_COLUMNS, over the trained epochs.

    comparisons: by choice. rows: what audit_rows gives of them, for the verdicts. difference: the mean over pairs,
    seeds and epochs of AUROC with the choice minus AUROC without it. claim: the mean over pairs and seeds of AUROC at
    the first trained epoch minus AUROC at the last one, without and with the choice; claim_difference is how much the
    choice moves it. changes_claim: whether it turns "the immature model detects as well" (claim ≥ −margin) into its
    opposite or back, and by more than chance, for these pairs. Intervals: of these pairs, and of new sets (see means).
    """
    verdicts = rows[rows["epoch"] >= 1].groupby([*OF_A_MEAN], sort=False)["verdict"]
    counts = {key: {word: int((group == word).sum()) for word in VERDICTS} for key, group in verdicts}
    means = [
        {**dict(zip(OF_A_MEAN, key, strict=True)), **counts[key], **_means(group, config)}
        for key, group in _groups(comparisons).items()
    ]
    return pd.DataFrame(means, columns=[*SUMMARY_COLUMNS])


def _groups(comparisons: Mapping[str, Sequence[Comparison]]) -> dict[tuple[object, ...], list[Comparison]]:
    """The trained epochs' comparisons by choice, model, detector and batch size."""
    groups: dict[tuple[object, ...], list[Comparison]] = {}
    for choice, one in ((choice, one) for choice, of_choice in comparisons.items() for one in of_choice):
        if one.epoch >= 1:
            groups.setdefault((choice, one.model, one.detector, one.batch_size), []).append(one)
    return groups


def _means(comparisons: Iterable[Comparison], config: EvaluationConfig) -> dict[str, object]:
    by_pair: dict[tuple[tuple[str, str], int | str], dict[int, tuple[Term, Term]]] = {}
    for one in comparisons:
        by_pair.setdefault((one.pair, one.seed), {})[one.epoch] = one.terms(config.drop_minimum)
    moves, claims = map(_move, by_pair.values()), list(map(_claims, by_pair.values()))
    before, after = (float(np.mean([claim.value for claim in side])) for side in zip(*claims, strict=True))
    moved = bounds("claim_difference", [combined((-1, 1), both) for both in claims], config.confidence, -2, 2)
    turned = (before >= -config.margin) != (after >= -config.margin)
    beyond_chance = moved["claim_difference_pairs_low"] > 0 or moved["claim_difference_pairs_high"] < 0
    return {
        **sets(one for one, _ in claims),
        **bounds("difference", list(moves), config.confidence),
        **{"claim": before, "claim_changed": after, **moved},
        "changes_claim": bool(turned and beyond_chance),
    }


def _move(by_epoch: Mapping[int, tuple[Term, Term]]) -> Term:
    """The mean over epochs of AUROC with the choice minus AUROC without it."""
    share = 1 / len(by_epoch)
    return combined((-share, share) * len(by_epoch), [one for both in by_epoch.values() for one in both])


def _claims(by_epoch: Mapping[int, tuple[Term, Term]]) -> list[Term]:
    """AUROC at the first epoch minus AUROC at the last one, without the choice and with it."""
    return [combined((1, -1), both) for both in zip(by_epoch[min(by_epoch)], by_epoch[max(by_epoch)], strict=True)]


# For people -----------------------------------------------------------------------------------------------------------


def audit_text(summary: pd.DataFrame, rows: pd.DataFrame) -> str:
    """The summary as a table, what its intervals mean, what nothing at all changed in, and the pairs one by one.

    rows: what audit_rows gives.
    """
    still = (summary[["difference", "better", "worse", "undecided"]] == 0).all(axis=1)
    moved, same = (summary[chosen].to_dict("records") for chosen in (~still, still))
    table = tabulate(map(_line, moved), HEADERS, tablefmt="simple", disable_numparse=True)
    unmoved = [f"Nothing moves in: {'; '.join(map(_name, same))}."] if same else []
    return "\n".join([table, "", *_notes(summary), *unmoved, "", *_pairs(rows, moved)])


def _line(row: Mapping[str, Any]) -> list[str]:
    value, low, high, new_low, new_high = (row[f"difference{bound}"] for bound in BOUNDS)
    return [
        row["choice"],
        f"{row['detector']}, {row['model']}",
        str(row["batch_size"]),
        f"{value:+.3f} {interval(low, high)}",
        interval(new_low, new_high),
        "/".join(str(row[word]) for word in VERDICTS),
        f"{row['claim']:+.3f} → {row['claim_changed']:+.3f}",
        "yes" if row["changes_claim"] else "",
    ]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['choice']} {row['detector']}, {row['model']}, b={row['batch_size']}"


def _notes(summary: pd.DataFrame) -> list[str]:
    one_seed = [f"One seed: {ONE_SEED}."] if (summary["seeds"] == 1).any() else []
    few_sets = [f"New sets: {NO_NEW_SETS}."] if summary["difference_sets_low"].isna().any() else []
    return [
        "mean AUROC moves by: over pairs and trained epochs; the interval is for these data sets.",
        *one_seed,
        *few_sets,
        f"verdicts: how many pairs and epochs are {'/'.join(VERDICTS)} with the choice.",
        "first − last epoch: mean AUROC of the first trained epoch minus that of the last, without → with the choice.",
    ]


def _pairs(rows: pd.DataFrame, moved: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the choice moves in each pair, in the mean over seeds and trained epochs, from the lowest to the highest."""
    of_pairs = rows[rows["epoch"] >= 1].groupby([*OF_A_MEAN, *PAIR])["difference"].mean()
    values = ((row, sorted(of_pairs[tuple(row[key] for key in OF_A_MEAN)])) for row in moved)
    lines = [f"  {_name(row)}: {' '.join(f'{value:+.3f}' for value in ordered)}" for row, ordered in values]
    return ["The pairs, one by one, in the mean over seeds and trained epochs (audit.csv names them):", *lines]
