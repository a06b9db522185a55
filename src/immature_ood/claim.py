"""The paper's claim as it means it: early moments of training against the minimum of the held-out bits/dim.

Moments are one pass over the training images, and the first kept epochs whose excess over the minimum is at most 0.5,
0.2 and 0.1 bits/dim (immature_ood.maturity). Each training has moments and a reference of its own, so that models which
learn at different speeds are compared at matched maturity.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from immature_ood.controls import ALL, NONE_SOLVED, overs
from immature_ood.evaluation import PAIR, SATURATED, VERDICTS
from immature_ood.maturity import MOMENTS, Chain, Chains
from immature_ood.means import BOUNDS, Key, Paired, Place, Term, bounds, epochs_of, interval, paired, sets, terms_of
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = ["CLAIM_COLUMNS", "at_moments", "claim_summary", "claim_table"]

CLAIM_COLUMNS = (
    *("model", "detector", "batch_size", "moment", "over", "pairs", "sets", "seeds", "trainings", "still_falling"),
    *("epochs", "reference_epochs", "excess", "reference_excess", *VERDICTS, "same", "alike"),
    *("auroc", "auroc_reference", *(f"difference{bound}" for bound in BOUNDS)),
)
OF_A_VERDICT = ("model", "detector", "batch_size", *PAIR, "seed", "epoch")
SUMMARY_TITLE = (
    "The claim: AUROC at a moment of training against the kept epoch of the lowest held-out bits/dim, over pairs and\n"
    "seeds, corrected for how many (Holm); and the mean difference, with the interval for these data sets:"
)


def claim_table(
    scores: Iterable[Scores],
    immature: pd.DataFrame,
    chains: Chains,
    config: EvaluationConfig,
    names: Mapping[str, str],
    solved: pd.DataFrame = NONE_SOLVED,
    one_pass: int = 1,
) -> pd.DataFrame:
    """One row a model, detector, b and moment, columns CLAIM_COLUMNS; and one more over pairs that no control solves.

    VERDICTS: how many pairs and seeds have each, of the column corrected of `immature`, what evaluation.immature_table
    gives. same: how many are not compared, as the moment is the reference itself, or no kept epoch comes as near to the
    minimum. alike: pairs with one verdict in every seed. difference: the mean of AUROC(moment) − AUROC(reference), 0
    where they are the same. still_falling: how many of the trainings did not reach their minimum. excess: means, in
    bits/dim. A moment that is the reference of every training has no row. names, solved: as of means.means_table.
    one_pass: the epoch after which every training image was seen once.
    """
    compared = immature[[*OF_A_VERDICT]].itertuples(index=False, name=None)
    verdicts = dict(zip(compared, immature["corrected"], strict=True))
    rows = [
        _row(key, moment, over, chosen, verdicts, chains, config)
        for key, places in terms_of(scores, names, config).items()
        for moment, of_moment in at_moments(key, places, chains, one_pass)
        for over, chosen in overs(of_moment, lambda one: one.solvable, solved)
    ]
    return pd.DataFrame([row for row in rows if row["same"] < row["comparisons"]], columns=[*CLAIM_COLUMNS])


def at_moments(
    key: Key, places: Mapping[Place, Mapping[int, Term]], chains: Chains, one_pass: int
) -> Iterator[tuple[str, list[Paired]]]:
    """Each moment with its pairs and seeds; what has no such epoch is its reference, if others have one."""
    found = [(place, by_epoch, _chain(chains, key, place)) for place, by_epoch in places.items()]
    for moment in MOMENTS:
        at = [chain.moments(by_epoch, one_pass).get(moment) for _, by_epoch, chain in found]
        if any(epoch is not None for epoch in at):
            yield (
                moment,
                [
                    paired(key, place, by_epoch, reference if epoch is None else epoch, reference)
                    for (place, by_epoch, chain), epoch in zip(found, at, strict=True)
                    for reference in [chain.reference(by_epoch)]
                ],
            )


def _chain(chains: Chains, key: Key, place: Place) -> Chain:
    return chains.of(place[0], key[0], place[2])


def _row(
    key: Key,
    moment: str,
    over: str,
    chosen: Sequence[Paired],
    verdicts: Mapping[tuple[Any, ...], str],
    chains: Chains,
    config: EvaluationConfig,
) -> dict[str, Any]:
    moments, references = zip(*(one.terms for one in chosen), strict=True)
    return {
        **dict(zip(("model", "detector", "batch_size"), key, strict=True)),
        **{"moment": moment, "over": over, "comparisons": len(chosen)},
        **sets(moments),
        **_maturity(chosen, [_chain(chains, key, one.place) for one in chosen]),
        **_counted([(one.place[:2], verdicts[*key, *one.place, one.epoch]) for one in chosen if not one.same]),
        "same": sum(one.same for one in chosen),
        "auroc": np.mean([one.value for one in moments]),
        "auroc_reference": np.mean([one.value for one in references]),
        **bounds("difference", [one.difference for one in chosen], config.confidence),
    }


def _maturity(chosen: Sequence[Paired], chains: Sequence[Chain]) -> dict[str, Any]:
    """How far the trainings are at both epochs; each training counts once, however many pairs it has."""
    trainings = {(both.place[0], both.place[2]): (both, chain) for both, chain in zip(chosen, chains, strict=True)}
    return {
        "trainings": len(trainings),
        "still_falling": sum(chain.still_falling for _, chain in trainings.values()),
        "epochs": epochs_of(both.epoch for both, _ in trainings.values()),
        "reference_epochs": epochs_of(both.reference for both, _ in trainings.values()),
        "excess": np.mean([chain.excess[both.epoch] for both, chain in trainings.values()]),
        "reference_excess": np.mean([chain.excess[both.reference] for both, chain in trainings.values()]),
    }


def _counted(found: Sequence[tuple[tuple[str, str], str]]) -> dict[str, int]:
    """How many have each verdict; found: (pair, verdict)."""
    by_pair: dict[tuple[str, str], set[str]] = {}
    for pair, word in found:
        by_pair.setdefault(pair, set()).add(word)
    counts = {each: sum(word == each for _, word in found) for each in VERDICTS}
    return counts | {"alike": sum(len(words) == 1 for words in by_pair.values())}


# For people -----------------------------------------------------------------------------------------------------------


def claim_summary(table: pd.DataFrame, controls: Sequence[str] = ()) -> str:
    """The claim, model by model, in a few lines: verdicts and the mean difference at each moment.

    table: what claim_table gives. controls: detectors that read no trained model, and are left out.
    """
    rows = table[~table["detector"].isin(controls)]
    if rows.empty:
        return "No kept epoch is earlier than the one of the lowest held-out bits/dim: nothing to compare."
    parts = [line for _, of_same in rows.groupby(["model", "detector", "batch_size"]) for line in _lines(of_same)]
    names = max(len(name) for name, _ in parts)
    header = " " * names + "".join(f"  {word}" for word in (*VERDICTS, "same")) + "  difference"
    notes = [
        f"saturated: both AUROCs are {SATURATED} or more, which says nothing of training.",
        "same: the moment is that epoch itself, or no kept epoch comes as near to the minimum.",
        "excess 0.2: the first kept epoch at most 0.2 bits/dim above the minimum. Moments that are one share a line.",
    ]
    lines = [header, *(f"{name:<{names}}{numbers}" for name, numbers in parts), *notes]
    return "\n".join([SUMMARY_TITLE, *(f"  {line}".rstrip() for line in lines)])


def _lines(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """(name, numbers): of one model, detector and b, first the name alone, then a line a moment."""
    model, detector, b = rows[["model", "detector", "batch_size"]].iloc[0]
    yield f"{detector}, {model}, b={b}", ""
    for over, of_same in rows.groupby("over", sort=True):
        if over != ALL:
            yield "  pairs that no control solves", ""
        for _, alike in of_same.groupby(["epochs", "excess", "same"], sort=False):
            yield f"  {_named(alike['moment'])}", _numbers(alike.iloc[0].to_dict())


def _named(moments: Iterable[str]) -> str:
    """Moments that share a line.

    >>> _named(["one pass", "excess 0.5", "excess 0.2"])
    'one pass, excess 0.5, 0.2'
    """
    before, word, after = ", ".join(moments).partition("excess ")
    return before + word + after.replace("excess ", "")


def _numbers(row: Mapping[str, Any]) -> str:
    counts = "".join(f"  {row[word]:>{len(word)}}" for word in (*VERDICTS, "same"))
    value, low, high = (row[f"difference{bound}"] for bound in BOUNDS[:3])
    return f"{counts}  {value:+.3f} {interval(low, high)}"
