"""What choosing an epoch by ID data alone costs: each rule against the pair's best epoch, and against one epoch for
all.

*Regret* is AUROC at the pair's best epoch minus AUROC at the rule's. The best of several noisy numbers is too high, so
the test images are halved by unit: the best epoch is chosen on one half and both AUROCs are read on the other, both
ways, and the two are averaged. The epoch so chosen is sometimes not the best one, so that regret is too small by what
half of the images lose; that is the same for all rules. A rule that chooses the same epochs has none.

*Difference* is AUROC at the rule's epoch minus AUROC at one epoch for all, on all test images. That epoch is the one of
the highest mean AUROC over the pairs of the *other* ID sets and all seeds, so that it is not chosen on the pairs that
it is judged by. Every kept epoch at which all those have scores can be it, the untrained model too.

Means and their intervals are those of immature_ood.means; the two halves of a set's images count as two samples of it.
A rule's choice, the best epoch and the one for all are held fixed in them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from immature_ood.controls import ALL, NONE_SOLVED, UNSOLVED, overs
from immature_ood.evaluation import holm
from immature_ood.means import (
    BOUNDS,
    Key,
    Place,
    Term,
    bounds,
    combined,
    epochs_of,
    interval,
    p_of_these_pairs,
    sets,
    terms_of,
)
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = ["EPOCH_CHOICE_COLUMNS", "Choice", "epoch_choice_summary", "epoch_choice_table", "regret"]

EPOCH_CHOICE_COLUMNS = (
    *("model", "detector", "batch_size", "over", "rule", "pairs", "sets", "seeds", "epochs", "auroc"),
    *(f"regret{bound}" for bound in BOUNDS),
    *("one_for_all", *(f"difference{bound}" for bound in BOUNDS), "difference_p"),
    *("saved", "saved_by_rule"),
)
Shares = Mapping[int, float]  # by epoch, the probability that it is chosen
ByEpoch = Mapping[int, Term]
SIDES = (0, 1)  # the halves of a set's test units

# Of one pair under one seed -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What a rule chose for one pair under one seed, and what comes of it.

    shares: the probability of each epoch, 1 of the one that is chosen. trained_to: the epoch that the training must
    have come to before these can be chosen, by chance its expectation. whole: AUROC by kept epoch on all test images.
    first,
    second: the same on each half of them; None if a side is of one unit.
    """

    key: Key
    place: Place
    shares: Shares
    trained_to: float
    whole: ByEpoch
    first: ByEpoch | None
    second: ByEpoch | None

    @property
    def chosen(self) -> Term:
        """AUROC at the rule's epoch on all test images, by chance its expectation."""
        return _expected(self.shares, self.whole)

    @property
    def regret(self) -> Term | None:
        """See regret; None without halves."""
        if self.first is None or self.second is None:
            return None
        return replace(regret(self.shares, self.first, self.second), pair=self.chosen.pair)

    @property
    def saved(self) -> float:
        """The share of the training that is saved by stopping at the epoch."""
        return _saved(sum(share * epoch for epoch, share in self.shares.items()), max(self.whole))

    @property
    def saved_by_rule(self) -> float:
        """The share that is saved if the rule itself says when to stop, which looks further than the epoch."""
        return _saved(self.trained_to, max(self.whole))

    @property
    def solvable(self) -> tuple[str, str, int]:
        """What a control may solve: ID set, OOD set and b."""
        return *self.place[:2], self.key[2]


def regret(shares: Shares, first: ByEpoch, second: ByEpoch) -> Term:
    """AUROC at the best epoch of one half minus AUROC at the rule's, both on the other half; the mean of both ways.

    first, second: AUROC by epoch on each half, of which no unit is in both.
    """
    return combined((0.5, 0.5), [_regret(shares, *ways) for ways in ((first, second), (second, first))])


def _regret(shares: Shares, chosen_on: ByEpoch, read_on: ByEpoch) -> Term:
    best = max(chosen_on, key=lambda epoch: (chosen_on[epoch].value, -epoch))
    return combined((1, -1), (read_on[best], _expected(shares, read_on)))


def _expected(shares: Shares, by_epoch: ByEpoch) -> Term:
    return combined([*shares.values()], [by_epoch[epoch] for epoch in shares])


def _saved(epoch: float, last: int) -> float:
    return 1 - epoch / last if last else 0.0


# Of all ---------------------------------------------------------------------------------------------------------------


def epoch_choice_table(
    scores: Iterable[Scores],
    chosen: pd.DataFrame,
    names: Mapping[str, str],
    config: EvaluationConfig,
    solved: pd.DataFrame = NONE_SOLVED,
) -> pd.DataFrame:
    """One row a model, detector, b and rule, columns EPOCH_CHOICE_COLUMNS; and one more over pairs that no control
    solves.

    difference_p: the p-value of "the difference is 0", for these data sets. chosen: what evidence.choices gives of all
    trainings, with the columns id_dataset, model and seed. pairs: of which a side is of one unit only, there is no
    regret. epochs: each that is chosen for some training. one_for_all: those that the other ID sets choose; of one ID
    set there is none. saved, saved_by_rule: means over trainings. names, solved: as of means.means_table.
    """
    scores = list(scores)
    whole = terms_of(scores, names, config)
    halves = [terms_of(_half(scores, side), _of_side(names, scores, side), config) for side in SIDES]
    found = _found(chosen, whole, halves)
    rows = [
        {**dict(zip(EPOCH_CHOICE_COLUMNS, key, strict=False)), "over": over, "rule": rule, **_row(of_over, config)}
        for (*key, rule), choices in found.items()
        for over, of_over in overs(choices, lambda one: one.solvable, solved)
    ]
    table = pd.DataFrame(rows, columns=[*EPOCH_CHOICE_COLUMNS])
    return table.sort_values([*EPOCH_CHOICE_COLUMNS[:4]], kind="stable", ignore_index=True)


def _half(scores: Iterable[Scores], side: int) -> Iterator[Scores]:
    """The scores of every other test unit; without data sets of one unit."""
    for one in scores:
        units = {place: each for place, each in one.units.items() if place[2] == "test"}
        few = {dataset for (_, dataset, _), each in units.items() if len({*each.tolist()}) < 2}
        kept = {place: _is_of_side(each, side) for place, each in units.items() if place[1] not in few}
        places = {key: (key.batch_size, key.dataset, key.split) for key in one.values}
        values = {key: one.values[key][kept[place]] for key, place in places.items() if place in kept}
        if one.checkpoint.id_dataset not in few:
            yield replace(one, values=values, units={place: units[place][each] for place, each in kept.items()})


def _is_of_side(units: np.ndarray, side: int) -> np.ndarray:
    """(G,) bool: the groups of every other unit, from the first or the second on."""
    of_side: np.ndarray = np.unique(units, return_inverse=True)[1] % len(SIDES) == side
    return of_side


def _of_side(names: Mapping[str, str], scores: Iterable[Scores], side: int) -> dict[str, str]:
    """Names by which the halves of a data set are told apart."""
    known = {name for one in scores for name in (one.checkpoint.id_dataset, *one.ood_datasets)}
    return {name: f"{names.get(name, name)}/{side}" for name in known}


def _found(
    chosen: pd.DataFrame,
    whole: Mapping[Key, Mapping[Place, ByEpoch]],
    halves: Sequence[Mapping[Key, Mapping[Place, ByEpoch]]],
) -> dict[tuple[str, str, int, str], list[Choice]]:
    """By model, detector, b and rule, what was chosen for each pair and seed."""
    found: dict[tuple[str, str, int, str], list[Choice]] = {}
    by_training = chosen.groupby(["rule", "model", "detector", "batch_size", "id_dataset", "seed"], sort=False)
    for (rule, model, detector, b, own, seed), rows in by_training:
        shares = dict(zip(rows["epoch"].tolist(), rows["probability"].tolist(), strict=True))
        trained_to = float((rows["trained_to"] * rows["probability"]).sum())
        key = (str(model), str(detector), int(b))
        for place, by_epoch in whole[key].items():
            if (place[0], place[2]) == (own, seed):
                both = [half.get(key, {}).get(place) for half in halves]
                found.setdefault((*key, str(rule)), []).append(Choice(key, place, shares, trained_to, by_epoch, *both))
    return found


def _row(chosen: Sequence[Choice], config: EvaluationConfig) -> dict[str, Any]:
    """The columns that are means over pairs, seeds and trainings."""
    regrets = [one.regret for one in chosen if one.regret is not None]
    one_for_all = _one_for_all(chosen)
    differences = [
        combined((1, -1), (one.chosen, one.whole[one_for_all[one.place[0]]]))
        for one in chosen
        if one.place[0] in one_for_all
    ]
    trainings = {(one.place[0], one.place[2]): one for one in chosen}.values()
    return {
        **sets(one.chosen for one in chosen),
        "epochs": epochs_of(epoch for one in trainings for epoch in one.shares),
        "auroc": np.mean([one.chosen.value for one in chosen]),
        **(bounds("regret", regrets, config.confidence) if regrets else {}),
        "one_for_all": epochs_of(one_for_all.values()),
        **(bounds("difference", differences, config.confidence) if differences else {}),
        "difference_p": p_of_these_pairs(differences) if differences else math.nan,
        "saved": np.mean([one.saved for one in trainings]),
        "saved_by_rule": np.mean([one.saved_by_rule for one in trainings]),
    }


def _one_for_all(chosen: Sequence[Choice]) -> dict[str, int]:
    """By ID set, the epoch of the highest mean AUROC over the pairs and seeds of the others, of equals the first."""
    found: dict[str, int] = {}
    for own in dict.fromkeys(one.place[0] for one in chosen):
        others = [one.whole for one in chosen if one.place[0] != own]
        common = set.intersection(*({*by_epoch} for by_epoch in others)) if others else set()
        means = {epoch: np.mean([by_epoch[epoch].value for by_epoch in others]) for epoch in sorted(common)}
        found |= {own: max(means, key=means.__getitem__)} if means else {}
    return found


# For people -----------------------------------------------------------------------------------------------------------

TITLE = (
    "Which epoch? Rules that see ID data alone. Regret: AUROC at the pair's best epoch − at the rule's. Difference:\n"
    "AUROC at the rule's − at the one epoch for all that does best on other ID sets. Intervals for these data sets:"
)
NOTES = (
    "regret: the best epoch is chosen on one half of the test images, both AUROCs are read on the other.",
    "saved: the share of the training to the last kept epoch that is saved by stopping there; in brackets, what is\n"
    "left of it once the rule has seen as much as it must.",
)


def epoch_choice_summary(table: pd.DataFrame, controls: Sequence[str] = (), confidence: float = 0.95) -> str:
    """A few lines a detector and b, and whether any rule beats one epoch for all; controls: rules that see nothing.

    A rule is ahead or behind by its p-value, corrected for all rules, models, detectors and b that are compared (Holm).
    """
    names = max([0, *table["rule"].str.len()])
    lines = []
    for (model, detector, b, over), rows in table.groupby([*EPOCH_CHOICE_COLUMNS[:4]], sort=False):
        lines.append(f"{detector}, {model}, b={b}" + (", pairs that no control solves" if over == UNSOLVED else ""))
        lines += [f"  {_line(row, names)}" for row in rows.sort_values("regret", kind="stable").to_dict("records")]
    return "\n".join([TITLE, *(f"  {line}" for line in lines), *NOTES, "", *_verdict(table, controls, confidence)])


def _line(row: Mapping[str, Any], names: int) -> str:
    saved = f"saved {row['saved']:.0%} ({row['saved_by_rule']:.0%})"
    regret, difference = (_value(row, name) for name in ("regret", "difference"))
    return f"{row['rule']:<{names}}  regret {regret}  difference {difference}  {saved}  epoch {row['epochs']}"


def _value(row: Mapping[str, Any], name: str) -> str:
    """A mean and its interval; a dash if there is none."""
    value, low, high = (row[f"{name}{bound}"] for bound in BOUNDS[:3])
    return "–" if np.isnan(value) else f"{value:+.3f} {interval(low, high)}"


def _verdict(table: pd.DataFrame, controls: Sequence[str], confidence: float) -> Iterator[str]:
    """Whether any rule that looks at something is ahead of one epoch for all, for these data sets."""
    for over, rows in table[~table["rule"].isin(controls)].groupby("over", sort=True):
        which = "Over all pairs" if over == ALL else "Over pairs that no control solves"
        compared = rows[rows["difference_p"].notna()]
        if compared.empty:
            yield f"{which} there is no interval, so that no rule is told from one epoch for all."
        else:
            told = compared[holm(compared["difference_p"]) <= 1 - confidence]
            behind = (told["difference"] < 0).sum()
            counted = f"of {len(compared)} comparisons, corrected for how many they are (Holm), {behind} are behind"
            yield f"{which}, {counted}; {_won(told[told['difference'] > 0])}"


def _won(ahead: pd.DataFrame) -> str:
    if ahead.empty:
        return "none is ahead: no rule beats always taking the epoch that does best on other ID sets."
    rows = ahead[["rule", "detector", "model", "batch_size"]].itertuples(index=False, name=None)
    return f"ahead: {'; '.join(f'{rule} ({detector}, {model}, b={b})' for rule, detector, model, b in rows)}."
