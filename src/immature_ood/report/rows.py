"""The rows that the charts of the page choose from, and how they are written in few letters."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from immature_ood.config import POOLED
from immature_ood.controls import ALL
from immature_ood.detector_table import total_seconds
from immature_ood.evaluation import PAIR, without_calibration
from immature_ood.maturity import BITS
from immature_ood.plots.overlap import BANDWIDTH
from immature_ood.report.results import Results

__all__ = [
    "EVERY_SEED",
    "MEAN",
    "auroc_rows",
    "choices",
    "cost_rows",
    "in_script",
    "layer_rows",
    "maturity_rows",
    "overlap_rows",
    "packed",
]

EVERY_SEED = "all"
MEAN = "mean over all pairs"
MEAN_UNSOLVED = "mean over the pairs that no control solves"
OF_A_CURVE = ["pair", "b", "model", "detector", "epoch"]
MOST_ROWS = 25_000  # of a chart: seeds are left out beyond, then what comes last


def auroc_rows(results: Results) -> pd.DataFrame:
    """Columns OF_A_CURVE, seed, auroc, low, high: means over pairs first, then every pair; EVERY_SEED, then each seed.

    low, high: the interval of one seed, or of all together; of several seeds of a pair their lowest and highest.
    """
    rows = _named(results.pairs).rename(columns={"auroc_low": "low", "auroc_high": "high"})
    rows = rows[[*OF_A_CURVE, "seed", "auroc", "low", "high"]].assign(seed=rows["seed"].astype(str))
    means = results.tables.means.rename(
        columns={"batch_size": "b", "auroc_pairs_low": "low", "auroc_pairs_high": "high"}
    )
    pair = means["over"].map({ALL: MEAN}).fillna(MEAN_UNSOLVED)
    means = means.assign(pair=pair, seed=EVERY_SEED)[[*OF_A_CURVE, "seed", "auroc", "low", "high"]]
    several = rows["seed"].nunique() > 1
    parts = [means, _across_seeds(rows), *([rows[rows["seed"] != POOLED]] if several else [])]
    kept = pd.concat(parts[:2] if sum(map(len, parts)) > MOST_ROWS else parts, ignore_index=True)
    return kept.sort_values("epoch", kind="stable", ignore_index=True)[:MOST_ROWS]


def _across_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    of_curves = rows.groupby(OF_A_CURVE, sort=False)
    found = of_curves.agg(
        auroc=("auroc", "mean"), low=("low", "first"), high=("high", "first"), seeds=("seed", "nunique")
    )
    span = of_curves["auroc"].agg(["min", "max"])
    several = found["seeds"] > 1
    found["low"], found["high"] = found["low"].mask(several, span["min"]), found["high"].mask(several, span["max"])
    return found.drop(columns="seeds").reset_index().assign(seed=EVERY_SEED)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    named = table[PAIR[0]] + " → " + table[PAIR[1]]
    return table.assign(pair=named).rename(columns={"batch_size": "b"})


def maturity_rows(results: Results) -> pd.DataFrame:
    """Columns name (the ID set), model, seed, epoch, bits, excess, state."""
    rows = results.tables.training.rename(
        columns={"id_dataset": "name", BITS: "bits", "excess_bits_per_dim": "excess", "maturity": "state"}
    )
    columns = ["name", "model", "seed", "epoch", "bits", "excess", "state"]
    return rows.assign(seed=rows["seed"].astype(str))[columns][:MOST_ROWS]


def overlap_rows(results: Results) -> pd.DataFrame:
    """Columns name (the pair), model, detector, b, epoch, overlap, auroc, over seeds; empty without likelihood."""
    columns = ["model", "detector", "b", "name", "epoch", "overlap", "auroc"]
    if results.tables.overlap is None:
        return pd.DataFrame(columns=columns)
    overlap = results.tables.overlap
    key = [*PAIR, "model", "seed", "epoch"]
    overlap = overlap.loc[overlap["bandwidth"] == BANDWIDTH, [*key, "overlap"]]
    rows = _named(overlap.merge(results.pairs[[*key, "detector", "batch_size", "auroc"]], on=key))
    rows = rows.rename(columns={"pair": "name"}).groupby(columns[:5], sort=False)[["overlap", "auroc"]].mean()
    return rows.reset_index()[:MOST_ROWS]


def cost_rows(results: Results) -> pd.DataFrame:
    """Columns name (the detector), model, b, epoch, seconds, auroc, over all pairs; what has no cost is left out."""
    table = results.tables.detectors
    rows = table.assign(seconds=total_seconds(table))
    rows = rows[(rows["over"] == ALL) & (rows["seconds"] > 0)]
    rows = rows.rename(columns={"detector": "name", "batch_size": "b"})
    return rows[["name", "model", "b", "epoch", "seconds", "auroc"]].reset_index(drop=True)[:MOST_ROWS]


def layer_rows(results: Results) -> pd.DataFrame:
    """Columns pair, model, b, layer, place, epoch, auroc over seeds (NaN: dead for one), the smallest b first."""
    columns = ["pair", "model", "b", "layer", "epoch"]
    parts = [_named(without_calibration(table)) for table in results.tables.layers.values()]
    if not parts:
        return pd.DataFrame(columns=[*columns, "place", "auroc"])
    rows = pd.concat(parts, ignore_index=True)
    of_cells = rows.groupby(columns, sort=False)["auroc"]
    means = of_cells.mean().where(of_cells.count() == of_cells.size()).rename("auroc").reset_index()
    places = {layer: place for place, layer in enumerate(means["layer"].unique())}
    means = means.assign(place=means["layer"].map(places))
    maps = means.sort_values("b", kind="stable").groupby(["b", "model", "pair"], sort=False)
    ends = maps.size().cumsum()
    kept = {name for name, end in ends.items() if end <= max(MOST_ROWS, int(ends.iloc[0]))}
    return pd.concat([each for name, each in maps if name in kept], ignore_index=True)


def packed(rows: pd.DataFrame, digits: Mapping[str, int]) -> dict[str, Any]:
    """By column, words as places in a list, and numbers of `digits` as whole ones; the page unpacks them.

    >>> packed(pd.DataFrame({"pair": ["a", "a"], "auroc": [0.5, float("nan")]}), {"auroc": 3})
    {'pair': {'words': ['a'], 'at': [0, 0]}, 'auroc': {'per': 1000, 'at': [500, None]}}
    """
    return {str(name): _column(rows[name], digits.get(str(name))) for name in rows}


def _column(values: pd.Series, digits: int | None) -> dict[str, Any]:
    if digits is None:
        words = [*dict.fromkeys(values.tolist())]
        places = {word: place for place, word in enumerate(words)}
        return {"words": words, "at": [places[value] for value in values.tolist()]}
    scaled = [None if not math.isfinite(value) else round(value * 10**digits) for value in values.tolist()]
    return {"per": 10**digits, "at": scaled}


def in_script(value: Any) -> str:
    """JSON that may stand inside a script element: it holds no "<", ">" or "&".

    >>> in_script("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def choices(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, list[Any]]:
    """By column, what there is to choose."""
    return {name: [*dict.fromkeys(rows[name].tolist())] for name in names}
