"""The rows of a table a figure draws, and how seeds are put together."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

__all__ = ["across_seeds", "of_id_dataset", "once", "one_model", "pairs"]


def once(values: Iterable[Any]) -> list[Any]:
    """The distinct values in the order of their first appearance."""
    return list(dict.fromkeys(values))


def one_model(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself; raises ValueError if it holds several models, whose mean would mean nothing."""
    models = once(table["model"])
    if len(models) > 1:
        raise ValueError(f"the table holds the models {', '.join(models)}: pass the rows of one, a figure each")
    return table


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of real (ID, OOD) pairs of one model, without calibration rows (ID test against ID fit).

    Raises ValueError if there is no pair, or several models.
    """
    rows = one_model(table[table["ood_dataset"] != table["id_dataset"]])
    if rows.empty:
        raise ValueError("the table has no row whose OOD data set is not the ID data set: nothing to draw")
    return rows


def of_id_dataset(table: pd.DataFrame, id_dataset: str) -> pd.DataFrame:
    """The rows of one ID data set; raises ValueError if there is none."""
    rows = table[table["id_dataset"] == id_dataset]
    if rows.empty:
        known = ", ".join(once(table["id_dataset"]))
        raise ValueError(f"no rows with ID data set {id_dataset!r}; the table has: {known}")
    return rows


def across_seeds(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The values of column y, one row a value of x (sorted), one column a seed; NaN where a seed lacks it."""
    return rows.pivot(index=x, columns="seed", values=y).sort_index()
