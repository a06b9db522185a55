"""Our numbers beside published ones, where a pair, a batch size and an epoch are in both (see reference/README.md)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from immature_ood.evaluation import IDENTITY, without_calibration
from immature_ood.tables import read_table

__all__ = ["PUBLISHED_COLUMNS", "published_table"]

OF_A_NUMBER = ("metric", *IDENTITY, "detector")
PUBLISHED_COLUMNS = (
    *OF_A_NUMBER,
    *("ours", "ours_low", "ours_high", "seeds", "seeds_lowest", "seeds_highest", "published", "difference", "source"),
)
AUTHORS = "authors' repository history, with the released code's choices"


def published_table(
    auroc: pd.DataFrame, overlap: pd.DataFrame | None, sources: Mapping[str, str], reference: Path
) -> pd.DataFrame:
    """One row a number that is in both, columns PUBLISHED_COLUMNS; empty if there is none.

    auroc, overlap: what evaluation.auroc_table and overlap.overlap_table give, the latter for bits/dim.
    sources: what published tables call each data set of the study, by name. reference: the folder of published numbers.

    ours_low, ours_high: how far test images alone could move our number (empty for bits/dim), not another seed;
    seeds_lowest, seeds_highest: our numbers of all seeds. The published ones are of one model each, of unknown seed, so
    that no interval here says whether two numbers agree. Baselines were published of fully trained models: they stand
    beside our last epoch.
    """
    ours = pd.concat([_our_auroc(auroc), *([] if overlap is None else [_our_bits(overlap)])], ignore_index=True).assign(
        id=lambda table: table["id_dataset"].map(sources), ood=lambda table: table["ood_dataset"].map(sources)
    )
    ours = ours.join(_seeds(ours))
    at_epoch = ["metric", "id", "ood", "epoch", "batch_size", "detector"]
    last = ours[ours["epoch"] == ours["epoch"].max()]
    found = pd.concat(
        [
            ours.merge(_authors_auroc(reference), on=at_epoch),
            ours.merge(_authors_bits(reference), on=at_epoch),
            last.merge(_baselines(reference), on=[key for key in at_epoch if key != "epoch"]),
        ]
    )
    found["difference"] = found["ours"] - found["published"]
    return found[[*PUBLISHED_COLUMNS]].sort_values([*OF_A_NUMBER], ignore_index=True)


def _seeds(ours: pd.DataFrame) -> pd.DataFrame:
    """How many seeds a number of ours was found under, and its lowest and highest value, row by row."""
    of_seeds = ours.groupby([key for key in OF_A_NUMBER if key != "seed"])["ours"]
    columns = {"seeds": "count", "seeds_lowest": "min", "seeds_highest": "max"}
    return pd.DataFrame({column: of_seeds.transform(statistic) for column, statistic in columns.items()})


def _our_auroc(auroc: pd.DataFrame) -> pd.DataFrame:
    rows = without_calibration(auroc)
    interval = {f"ours{bound}": rows[f"auroc{bound}"] for bound in ("", "_low", "_high")}
    return rows.assign(metric="auroc", **interval)


def _our_bits(overlap: pd.DataFrame) -> pd.DataFrame:
    """Bits/dim of the ID test set, and of each OOD set, under the same model."""
    ood = overlap.assign(ours=overlap["ood_bits_per_dim"])
    own = overlap.assign(ours=overlap["id_bits_per_dim"], ood_dataset=overlap["id_dataset"])
    both = pd.concat([ood, own]).drop_duplicates([name for name in IDENTITY if name != "batch_size"])
    return both.assign(metric="bits_per_dim", batch_size=1, detector="", ours_low=np.nan, ours_high=np.nan)


def _authors_auroc(reference: Path) -> pd.DataFrame:
    return _theirs(reference / "author_auroc_rgb.csv").assign(
        metric="auroc", detector="gradient_norms", published=lambda table: table["auroc"], source=AUTHORS
    )[["metric", "id", "ood", "epoch", "batch_size", "detector", "published", "source"]]


def _authors_bits(reference: Path) -> pd.DataFrame:
    table = _theirs(reference / "author_bits_per_dim.csv").replace("imagenet32_jpeg", "imagenet32")
    table = table.assign(
        metric="bits_per_dim", batch_size=1, detector="", published=table["bits_per_dim"], source=AUTHORS
    )
    return table[["metric", "id", "ood", "epoch", "batch_size", "detector", "published", "source"]]


def _baselines(reference: Path) -> pd.DataFrame:
    """A published method is a detector of the same name; methods without one here match nothing."""
    table = _theirs(reference / "baselines_glow_auroc.csv")
    table = table.assign(metric="auroc", detector=table["method"], published=table["auroc"])
    return table[["metric", "id", "ood", "batch_size", "detector", "published", "source"]]


def _theirs(path: Path) -> pd.DataFrame:
    names = {"id_dataset": "id", "ood_dataset": "ood", "eval_dataset": "ood"}
    return read_table(path).rename(columns=names)
