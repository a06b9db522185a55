"""What a density model adds to the best control, on three tiers of pairs.

A pair is *solved* by a control (immature_ood.controls), for groups of b; or *near*, if the study says so of its sets
and no control solves it; or *unsolved*. On each tier the control of the highest mean AUROC is the one to beat. It is
chosen on the images that it is compared on, which favours it a little: had it been chosen before, it could only be
lower. Pairs that a control solves are shown, and say nothing of density models.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from immature_ood.claim import at_moments
from immature_ood.controls import NONE_SOLVED, SOLVED, UNSOLVED, is_solved
from immature_ood.maturity import MOMENTS, ONE_PASS, Chains
from immature_ood.means import (
    BOUNDS,
    Key,
    Paired,
    Place,
    Term,
    bounds,
    combined,
    epochs_of,
    interval,
    paired,
    sets,
    terms_of,
)
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = ["NEAR", "TIERS", "TIERS_COLUMNS", "Asked", "tiers_summary", "tiers_table"]

NEAR, SOLVED_TIER = "near", "solved"
TIERS = (SOLVED_TIER, UNSOLVED, NEAR)
REFERENCE = "reference"  # the moment of the lowest held-out bits/dim
TIERS_COLUMNS = (
    *("model", "detector", "batch_size", "tier", "moment", "pairs", "sets", "seeds", "epochs"),
    *(f"auroc{bound}" for bound in BOUNDS),
    *("reference_epochs", *(f"difference{bound}" for bound in BOUNDS)),
    *("control", "auroc_control", *(f"added{bound}" for bound in BOUNDS)),
)
MEANINGS = {
    SOLVED_TIER: f"pairs that a control solves (the lower end of its AUROC's interval is {SOLVED} or more)",
    UNSOLVED: "pairs that no control solves",
    NEAR: "near pairs that no control solves",
}
TITLE = (
    "What does a density model add to the best control, which reads no trained model? By intervals for these pairs,\n"
    "each by itself; the control was chosen on the same test images, which favours it:"
)
WORDS = ("ahead of it", "not told from it", "behind it", "without an interval")

Places = Mapping[Place, Mapping[int, Term]]


@dataclass(frozen=True)
class Asked:
    """What the table is to say of a study.

    controls: the detectors that read no trained model. solved: what controls.solved_pairs gives. near: the pairs (ID
    set, OOD set) that are near. names, one_pass: as of claim.claim_table.
    """

    config: EvaluationConfig
    controls: Sequence[str] = ()
    solved: pd.DataFrame = field(default_factory=NONE_SOLVED.copy)
    near: Sequence[tuple[str, str]] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    one_pass: int = 1

    def tier(self, one: Paired) -> str:
        """Of TIERS that of a pair."""
        own, other, b = one.solvable
        row = pd.DataFrame([{"id_dataset": own, "ood_dataset": other, "batch_size": b}])
        if is_solved(row, self.solved).any():
            return SOLVED_TIER
        return NEAR if (own, other) in self.near else UNSOLVED


def tiers_table(scores: Iterable[Scores], chains: Chains, asked: Asked) -> pd.DataFrame:
    """One row a model, detector (no control), b, tier and moment, columns TIERS_COLUMNS.

    moment: as in claim.csv, or the reference itself; one that is the reference of every training has no row.
    difference: the mean of AUROC(moment) − AUROC(reference). control: that of the highest mean AUROC over the pairs of
    the tier, auroc_control. added: the mean of AUROC(moment) − AUROC(control) on the same test images. Without a
    control that has scores of all these pairs, the last columns are empty.
    """
    found = terms_of(scores, asked.names, asked.config)
    rows = [
        _row(key, tier, moment, chosen, found, asked)
        for key, places in found.items()
        if key[1] not in asked.controls
        for moment, of_moment in _moments(key, places, chains, asked.one_pass)
        for tier, chosen in _by_tier(of_moment, asked)
    ]
    return pd.DataFrame(rows, columns=[*TIERS_COLUMNS])


def _moments(key: Key, places: Places, chains: Chains, one_pass: int) -> Iterator[tuple[str, list[Paired]]]:
    for moment, of_moment in at_moments(key, places, chains, one_pass):
        if not all(one.same for one in of_moment):
            yield moment, of_moment
    references = {
        place: chains.of(place[0], key[0], place[2]).reference(by_epoch) for place, by_epoch in places.items()
    }
    yield REFERENCE, [paired(key, place, places[place], epoch, epoch) for place, epoch in references.items()]


def _by_tier(of_moment: Sequence[Paired], asked: Asked) -> Iterator[tuple[str, list[Paired]]]:
    """The tiers that there are, with their pairs and seeds."""
    tiers = [asked.tier(one) for one in of_moment]
    for tier in TIERS:
        chosen = [one for one, its in zip(of_moment, tiers, strict=True) if its == tier]
        if chosen:
            yield tier, chosen


def _row(
    key: Key, tier: str, moment: str, chosen: Sequence[Paired], found: Mapping[Key, Places], asked: Asked
) -> dict[str, Any]:
    at, confidence = [one.terms[0] for one in chosen], asked.config.confidence
    return {
        **dict(zip(("model", "detector", "batch_size"), key, strict=True)),
        **{"tier": tier, "moment": moment},
        **sets(at),
        "epochs": epochs_of(one.epoch for one in chosen),
        **bounds("auroc", at, confidence, lowest=0),
        "reference_epochs": epochs_of(one.reference for one in chosen),
        **bounds("difference", [one.difference for one in chosen], confidence),
        **_against_control(key, chosen, found, asked),
    }


def _against_control(key: Key, chosen: Sequence[Paired], found: Mapping[Key, Places], asked: Asked) -> dict[str, Any]:
    """The best control, and the mean difference to it; nothing where there is none."""
    model, _, b = key
    by_control = {name: _terms_of_control(found.get((model, name, b), {}), chosen) for name in asked.controls}
    means = {name: np.mean([one.value for one in terms]) for name, terms in by_control.items() if terms}
    if not means:
        return {}
    best = max(means, key=lambda name: means[name])
    added = [combined((1, -1), (one.terms[0], of)) for one, of in zip(chosen, by_control[best], strict=True)]
    return {"control": best, "auroc_control": means[best], **bounds("added", added, asked.config.confidence)}


def _terms_of_control(places: Places, chosen: Sequence[Paired]) -> list[Term]:
    """What a control has of each pair and seed: at its first epoch, and, where it has not that seed, under its first.

    Empty if it has not all pairs.
    """
    first = {place[:2]: place for place in reversed([*places])}
    wanted = [one.place if one.place in places else first.get(one.place[:2]) for one in chosen]
    if None in wanted:
        return []
    return [places[place][min(places[place])] for place in wanted if place is not None]


# For people -----------------------------------------------------------------------------------------------------------


def tiers_summary(table: pd.DataFrame, *, always: bool = False) -> str:
    """Tier by tier, how many detectors are ahead of the best control after one pass and at the reference.

    table: what tiers_table gives. "" of one tier alone, unless `always`, or without controls.
    """
    rows = table[table["control"].notna() & table["moment"].isin([ONE_PASS, REFERENCE])]
    if rows.empty or (rows["tier"].nunique() < 2 and not always):
        return "There is no control to compare with." if always else ""
    lines = [TITLE]
    for tier in [tier for tier in TIERS if tier in {*rows["tier"]}]:
        of_tier = rows[rows["tier"] == tier]
        lines.append(f"  {MEANINGS[tier]}")
        for (model, b), of_same in of_tier.groupby(["model", "batch_size"]):
            lines += _lines(f"{model}, b={b}, {of_same['pairs'].max()} pairs", of_same)
        lines.append(f"    {_verdict(of_tier)}")
    return "\n".join(lines)


def _lines(name: str, rows: pd.DataFrame) -> Iterator[str]:
    control, auroc = rows[["control", "auroc_control"]].iloc[0]
    yield f"    {name}: {control} {auroc:.3f}"
    for moment in [moment for moment in (*MOMENTS, REFERENCE) if moment in {*rows["moment"]}]:
        yield f"      {moment}: {'; '.join(_counted(rows[rows['moment'] == moment]))}"


def _counted(rows: pd.DataFrame) -> Iterator[str]:
    words = rows.apply(_word, axis=1)
    for word in [word for word in WORDS if word in {*words}]:
        of_word = rows[words == word]
        yield f"{word} {len(of_word)} ({', '.join(map(_named, of_word.to_dict('records')))})"


def _word(row: Mapping[str, Any]) -> str:
    low, high = row["added_pairs_low"], row["added_pairs_high"]
    if np.isnan(low):
        return WORDS[3]
    return WORDS[0] if low > 0 else WORDS[2] if high < 0 else WORDS[1]


def _named(row: Mapping[str, Any]) -> str:
    low, high = row["added_pairs_low"], row["added_pairs_high"]
    return f"{row['detector']} {row['added']:+.3f}" + ("" if np.isnan(low) else f" {interval(low, high)}")


def _verdict(rows: pd.DataFrame) -> str:
    """Whether any model adds anything, early or mature."""
    ahead = {moment: (of_same["added_pairs_low"] > 0).any() for moment, of_same in rows.groupby("moment")}
    early, mature = ahead.get(ONE_PASS, False), ahead.get(REFERENCE, False)
    if early or mature:
        when = (
            "after one pass and at the reference"
            if early and mature
            else "after one pass alone"
            if early
            else "at the reference alone"
        )
        return f"Some detector adds to the control: {when}."
    return "No detector is shown to add to the control, neither after one pass nor at the reference."
