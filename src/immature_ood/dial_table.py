"""AUROC by dial and amount: of images against the same images, changed in one thing."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

__all__ = ["DIAL_COLUMNS", "dial_table"]

ORDER = ("id_dataset", "model", "batch_size", "detector", "seed", "epoch")
DIAL_COLUMNS = (
    *("id_dataset", "dial", "amount", "model", "seed", "epoch", "batch_size", "detector"),
    *("auroc", "auroc_low", "auroc_high"),
)


def dial_table(tables: Iterable[pd.DataFrame], dials: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of AUROC tables in which OOD is a dial of the ID set, dials in their order, each by amount.

    dials: by data set, of which one it has the images ("of"), the "dial" and the "amount". A dial of the same amount
    twice has the rows of both. Columns: DIAL_COLUMNS; intervals as in the AUROC tables, for which ID and OOD are
    independent: see datasets/dial.py.
    """
    described = pd.DataFrame(
        [(name, each["of"], each["dial"], each["amount"]) for name, each in dials.items()],
        columns=["ood_dataset", "id_dataset", "dial", "amount"],
    )
    place = {dial: number for number, dial in enumerate(dict.fromkeys(described["dial"]))}
    found = pd.concat(list(tables)).merge(described, on=["id_dataset", "ood_dataset"])
    found = found.assign(place=found["dial"].map(place), seed=found["seed"].astype(str))
    return found.sort_values([*ORDER[:4], "place", "amount", "seed", "epoch"], ignore_index=True)[[*DIAL_COLUMNS]]
