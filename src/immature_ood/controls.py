"""Pairs that a control solves: what a detector does on them says nothing of density models.

A *control* is a detector that reads no trained model, fixed before anything is scored. It solves a pair of data sets,
for groups of b, if the lower end of the interval of its AUROC is at least SOLVED; that is asked once, at the first
epoch and under the first seed that it has scores of, and holds for all epochs and seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pandas as pd

from immature_ood.evaluation import PAIR, without_calibration

__all__ = ["ALL", "NONE_SOLVED", "SOLVED", "UNSOLVED", "is_solved", "overs", "solved_note", "solved_pairs"]

Item = TypeVar("Item")

SOLVED = 0.95
ALL, UNSOLVED = "all", "unsolved"  # what a mean is over
KEYS = (*PAIR, "batch_size")
SOLVED_COLUMNS = (*KEYS, "control", "auroc", "auroc_low")
NONE_SOLVED = pd.DataFrame(columns=[*SOLVED_COLUMNS])


def solved_pairs(auroc: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """One row a pair and b that a control solves, with the one that does best, columns SOLVED_COLUMNS.

    auroc: what evaluation.auroc_table gives.
    """
    rows = without_calibration(auroc)
    rows = rows[rows["detector"].isin(controls)].rename(columns={"detector": "control"})
    first = rows.sort_values(["model", "epoch"], kind="stable").drop_duplicates([*KEYS, "control"])
    found = first[first["auroc_low"] >= SOLVED].sort_values("auroc_low", ascending=False, kind="stable")
    best = found.drop_duplicates([*KEYS])[[*SOLVED_COLUMNS]]
    return best.sort_values(["batch_size", *PAIR], ignore_index=True)


def is_solved(rows: pd.DataFrame, solved: pd.DataFrame) -> pd.Series:
    """(rows,) bool: whether each row's pair is solved for its b; rows has the columns PAIR and batch_size."""
    known = _keys(solved)
    return pd.Series([key in known for key in rows[[*KEYS]].itertuples(index=False, name=None)], rows.index, dtype=bool)


def overs(
    items: Sequence[Item], pair_of: Callable[[Item], tuple[str, str, int]], solved: pd.DataFrame
) -> Iterator[tuple[str, list[Item]]]:
    """What a mean is over: ALL items and, where controls solve some but not all, those UNSOLVED.

    pair_of: ID set, OOD set and b of an item. solved: what solved_pairs gives.
    """
    yield ALL, [*items]
    known = _keys(solved)
    left = [item for item in items if pair_of(item) not in known]
    if 0 < len(left) < len(items):
        yield UNSOLVED, left


def _keys(solved: pd.DataFrame) -> set[tuple[str, str, int]]:
    return {*solved[[*KEYS]].itertuples(index=False, name=None)}


def solved_note(solved: pd.DataFrame) -> str:
    """The solved pairs in a line for each b; "" if there are none."""
    lines = [
        f"Solved by a control at b={b} (the lower end of its AUROC's interval is {SOLVED} or more): "
        + ", ".join(
            f"{row.id_dataset} → {row.ood_dataset} ({row.control} {row.auroc:.3f})" for row in rows.itertuples()
        )
        + "."
        for b, rows in solved.groupby("batch_size")
    ]
    return "\n".join(lines)
