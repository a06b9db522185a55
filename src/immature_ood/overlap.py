"""The overlap of the log-likelihoods of ID and OOD images, and whether it goes with how well OOD images are detected.

The paper (arXiv 2502.00820) explains the fall of AUROC with training by a growing overlap of the supports. OVL is the
overlap coefficient of the two densities of bits per dimension,

    OVL = ∫ min(p_ID(t), p_OOD(t)) dt,        from 0 (disjoint) to 1 (alike),

with Gaussian kernel densities of two bandwidths: 0.5 bits/dim, and Scott's rule for each of the two samples.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from immature_ood.evaluation import PAIR, without_calibration
from immature_ood.means import jackknife
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = [
    "CORRELATION_COLUMNS",
    "OVERLAP_COLUMNS",
    "correlation_table",
    "fixed_bandwidth",
    "overlap_coefficient",
    "overlap_table",
    "scott_bandwidth",
    "spearman",
]

RELEASED_BANDWIDTH = 0.5  # bits/dim
GRID = 2048  # points: trapezoids of the densities, far finer than any bandwidth
REACH = 6.0  # bandwidths beyond the outermost values, where a Gaussian kernel has nothing left
OF_A_PAIR = (*PAIR, "model", "seed")
OVERLAP_COLUMNS = (*OF_A_PAIR, "epoch", "bandwidth", "overlap", "id_bits_per_dim", "ood_bits_per_dim")
OF_A_CORRELATION = ("model", "detector", "batch_size", "bandwidth")
CORRELATION_COLUMNS = (
    *OF_A_CORRELATION,
    *("scope", *PAIR, "pairs", "undefined", "sets", "seeds", "rows"),
    *("correlation", "correlation_low", "correlation_high"),
)


def fixed_bandwidth(values: np.ndarray) -> float:
    """0.5 bits/dim, whatever the values: the paper's released code."""
    return RELEASED_BANDWIDTH


def scott_bandwidth(values: np.ndarray) -> float:
    """Scott's rule σ·n^(−1/5), of values (n,) in their own unit."""
    return float(values.std(ddof=1) * len(values) ** (-1 / 5))


BANDWIDTHS: dict[str, Callable[[np.ndarray], float]] = {"0.5 bits/dim": fixed_bandwidth, "scott": scott_bandwidth}


def overlap_coefficient(
    first: np.ndarray, second: np.ndarray, bandwidth: Callable[[np.ndarray], float] = scott_bandwidth
) -> float:
    """OVL of the kernel densities of two samples (n,), (m,), in [0, 1].

    Raises ValueError if a value is not finite, or if all of a sample are equal and the bandwidth is their own.

    >>> round(overlap_coefficient(np.arange(100.0), np.arange(100.0)), 3)
    1.0
    """
    both = np.concatenate([first, second])
    widths = [bandwidth(sample) if np.isfinite(both).all() else 0.0 for sample in (first, second)]
    if min(widths) <= 0:
        raise ValueError("an overlap needs finite values that differ; did training diverge?")
    margin = REACH * max(widths)
    grid = np.linspace(both.min() - margin, both.max() + margin, GRID)
    densities = [_density(sample, width, grid) for sample, width in zip((first, second), widths, strict=True)]
    return float(min(np.trapezoid(np.minimum(*densities), grid), 1.0))


def _density(sample: np.ndarray, bandwidth: float, grid: np.ndarray) -> np.ndarray:
    """The Gaussian kernel density of a sample (n,) at the points of a grid, per unit of the values."""
    kernels = np.exp(-0.5 * ((grid[:, None] - sample) / bandwidth) ** 2)
    return kernels.mean(axis=1) / (bandwidth * math.sqrt(2 * math.pi))


def overlap_table(scores: Iterable[Scores], dimensions: int) -> pd.DataFrame:
    """OVL of every pair, checkpoint and bandwidth, columns OVERLAP_COLUMNS; of the smallest groups, single images if b
    = 1 is in the study.

    dimensions: D = C·H·W. Raises ValueError if the detector "likelihood", whose scores are −log p, is not in the study.
    """
    rows = [row for one in scores for row in _overlap_rows(one, dimensions)]
    return pd.DataFrame(rows, columns=[*OVERLAP_COLUMNS])


def _overlap_rows(scores: Scores, dimensions: int) -> Iterable[dict[str, object]]:
    sizes = [b for detector, b in scores.dead_layers if detector == "likelihood"]
    if not sizes:
        raise ValueError("the overlap is one of log-likelihoods; add likelihood to the study's detectors")
    checkpoint = scores.checkpoint

    def bits(dataset: str) -> np.ndarray:
        return scores.of("likelihood", min(sizes), dataset) / (dimensions * math.log(2))

    id_bits = bits(checkpoint.id_dataset)
    for dataset in scores.ood_datasets:
        for name, bandwidth in BANDWIDTHS.items():
            yield {
                "id_dataset": checkpoint.id_dataset,
                "ood_dataset": dataset,
                "model": checkpoint.model,
                "seed": checkpoint.seed,
                "epoch": checkpoint.epoch,
                "bandwidth": name,
                "overlap": overlap_coefficient(id_bits, bits(dataset), bandwidth),
                "id_bits_per_dim": id_bits.mean(),
                "ood_bits_per_dim": bits(dataset).mean(),
            }


def correlation_table(
    overlap: pd.DataFrame, auroc: pd.DataFrame, config: EvaluationConfig, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Spearman's rank correlation of OVL and AUROC over the trained epochs, columns CORRELATION_COLUMNS.

    scope "pairs and epochs": of all rows together. Its interval is that of new data sets (means.jackknife, over sets:
    NaN with fewer than 5). "one pair": of a pair's epochs, the mean over its seeds. "within a pair": the mean of those
    over all pairs; it asks whether AUROC falls *as* the overlap of a pair rises, which the paper says, and not whether
    pairs that overlap are hard. Neither has an interval: over a few epochs the correlations of pairs pile up at ±1, and
    intervals of their mean that were tried held the truth in .56 to .92 of simulations (docs/coverage-means.md).

    pairs: those that were used. undefined: those that were not, where nothing varies or there are fewer than three
    epochs. names: the data set whose test images a data set shares, where it is called otherwise.
    """
    trained = without_calibration(auroc)[lambda table: table["epoch"] >= 1]
    joined = overlap.merge(trained, on=[*OF_A_PAIR, "epoch"])
    rows = [
        {**dict(zip(OF_A_CORRELATION, key, strict=True)), **row}
        for key, group in joined.groupby([*OF_A_CORRELATION])
        for row in (_pooled(group, names or {}, config), *_within(group))
    ]
    return pd.DataFrame(rows, columns=[*CORRELATION_COLUMNS])


def _pooled(group: pd.DataFrame, names: Mapping[str, str], config: EvaluationConfig) -> dict[str, object]:
    """The correlation over all rows of all pairs together."""
    values = group[["overlap", "auroc"]].to_numpy()
    own, other = (group[side].map(lambda name: names.get(name, name)) for side in PAIR)
    pairs = list(zip(own, other, strict=True))
    found = jackknife(pairs, lambda kept: spearman(values[kept]), config.confidence).within(-1, 1)
    counts = {"pairs": len({*pairs}), "undefined": 0, "sets": len({*own, *other}), "seeds": group["seed"].nunique()}
    bounds = {"correlation": found.value, "correlation_low": found.low, "correlation_high": found.high}
    return {"scope": "pairs and epochs", **counts, "rows": len(group), **bounds}


def _within(group: pd.DataFrame) -> Iterable[dict[str, object]]:
    """The mean over pairs, and then each pair."""
    by_seed = group.groupby([*OF_A_PAIR])[["overlap", "auroc"]].apply(lambda rows: spearman(rows.to_numpy()))
    of_pairs = by_seed.groupby([*PAIR]).mean()
    used, seeds = of_pairs.dropna(), group["seed"].nunique()
    undefined, involved = len(of_pairs) - len(used), {name for pair in used.index for name in pair}
    counts = {"pairs": len(used), "undefined": undefined, "sets": len(involved), "seeds": seeds, "rows": len(group)}
    yield {"scope": "within a pair", **counts, "correlation": used.mean()}
    for pair, value in of_pairs.items():
        yield {"scope": "one pair", **dict(zip(PAIR, pair, strict=True)), "seeds": seeds, "correlation": value}


def spearman(rows: np.ndarray) -> float:
    """Spearman's correlation of the columns of (n, 2); NaN of fewer than three rows or if one column is constant.

    >>> spearman(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]))
    -1.0
    """
    if len(rows) < 3 or (rows.max(axis=0) == rows.min(axis=0)).any():
        return math.nan
    return float(np.corrcoef(stats.rankdata(rows, axis=0).T)[0, 1])
