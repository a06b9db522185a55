"""How well scores separate OOD from ID, with bootstrap intervals, and the test of the paper's claim.

OOD is the positive class. The intervals are percentile bootstraps over the test groups: ID and OOD groups are resampled
separately, the model and the fitted detector stay fixed and images are never regrouped. They tell how much a number
depends on the images it was measured on; the spread over seeds tells how much it depends on the training.

A resample of n groups is n integer multiplicities. All metrics depend on the scores only by their order, so that the
scores are sorted once and each resample is a weighting of the sorted groups. The multiplicities depend on the seed and
the number of groups alone: two epochs, or two detectors, on the same test groups are resampled alike, which makes
their difference a paired one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import pandas as pd

from immature_ood.detectors import Fitted
from immature_ood.detectors.gradient_norms import GradientNorms
from immature_ood.features import Features
from immature_ood.provenance import CheckpointId
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = [
    "AUROC_COLUMNS",
    "IMMATURE_COLUMNS",
    "LAYER_COLUMNS",
    "Estimate",
    "Metrics",
    "auroc",
    "auroc_difference",
    "auroc_table",
    "calibration_rows",
    "evaluate",
    "immature_summary",
    "immature_table",
    "layer_auroc_table",
    "metrics",
    "verdict",
    "without_calibration",
]

METRICS = ("auroc", "aupr", "fpr95")
AUROC_COLUMNS = (
    *("id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "detector"),
    *(f"{metric}{bound}" for metric in METRICS for bound in ("", "_low", "_high")),
    *("bits_per_dim", "dead_layers", "images_seen", "train_seconds"),
)
IMMATURE_COLUMNS = (
    *("id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "detector"),
    *("auroc", "auroc_last", "last_epoch", "difference", "difference_low", "difference_high", "verdict"),
)
LAYER_COLUMNS = ("id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "layer", "auroc")
CHUNK_ELEMENTS = 1 << 16  # groups × resamples weighted at once: what stays in the processor's cache, 3 × faster


# Metrics of weighted groups ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metrics:
    """AUROC, AUPR (average precision) and FPR at 95 % TPR, each (R,) for R weightings of the groups."""

    auroc: np.ndarray
    aupr: np.ndarray
    fpr95: np.ndarray


@dataclass(frozen=True)
class _Ranking:
    """Where n ID and m OOD scores stand to each other: all that the metrics depend on. A threshold is a score.

    by_id, by_ood:  (n,), (m,) the groups from the highest to the lowest score.
    above_id:       (n,) number of OOD scores > each ID score.
    reaching_id:    (n,) number of OOD scores ≥ each ID score.
    true_alarms:    (m,) number of OOD scores ≥ each OOD score.
    false_alarms:   (m,) number of ID scores ≥ each OOD score.
    """

    by_id: np.ndarray
    by_ood: np.ndarray
    above_id: np.ndarray
    reaching_id: np.ndarray
    true_alarms: np.ndarray
    false_alarms: np.ndarray


def metrics(id_scores: np.ndarray, ood_scores: np.ndarray, id_weights: np.ndarray, ood_weights: np.ndarray) -> Metrics:
    """All metrics for R weightings at once; ties count half in AUROC, and together elsewhere, as in scikit-learn.

    id_scores (n,), ood_scores (m,): higher = more OOD, ±inf allowed. Raises ValueError if one is NaN.
    id_weights (n, R), ood_weights (m, R): not negative, each column with a positive sum.

    FPR at 95 % TPR is the false positive rate at the highest threshold with TPR ≥ 0.95, not interpolated.

    >>> found = metrics(np.array([1.0, 2.0]), np.array([2.0, 3.0]), np.ones((2, 1)), np.ones((2, 1)))
    >>> float(found.auroc[0]), float(found.fpr95[0])
    (0.875, 0.5)
    """
    return Metrics(*_all_metrics(_rank(id_scores, ood_scores), id_weights, ood_weights))


def _rank(id_scores: np.ndarray, ood_scores: np.ndarray) -> _Ranking:
    if np.isnan(id_scores).any() or np.isnan(ood_scores).any():
        raise ValueError("NaN scores cannot be ranked; score with a detector that gives numbers")
    by_id, by_ood = np.argsort(-id_scores, kind="stable"), np.argsort(-ood_scores, kind="stable")
    negated_id, negated_ood = -id_scores[by_id], -ood_scores[by_ood]  # ascending, as searchsorted needs
    return _Ranking(
        by_id,
        by_ood,
        above_id=np.searchsorted(negated_ood, negated_id, side="left"),
        reaching_id=np.searchsorted(negated_ood, negated_id, side="right"),
        true_alarms=np.searchsorted(negated_ood, negated_ood, side="right"),
        false_alarms=np.searchsorted(negated_id, negated_ood, side="right"),
    )


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """(n, R) -> (n + 1, R): the weight of the first 0, 1, …, n groups. Integers stay integers, hence exact."""
    return np.concatenate([np.zeros_like(weights, shape=(1, weights.shape[1])), weights]).cumsum(axis=0)


def _auroc(ranking: _Ranking, id_weights: np.ndarray, ood_weights: np.ndarray) -> np.ndarray:
    """(R,) the weight of the pairs in which OOD scores higher than ID, ties half."""
    negatives, detected = id_weights[ranking.by_id], _cumulated(ood_weights[ranking.by_ood])
    return _area(ranking, negatives, detected) / negatives.sum(axis=0)


def _area(ranking: _Ranking, negatives: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """(R,) the area under the ROC curve, its false positives not yet divided by their sum."""
    twice = detected[ranking.above_id] + detected[ranking.reaching_id]
    return np.einsum("nr,nr->r", negatives, twice) / (2 * detected[-1])


def _all_metrics(ranking: _Ranking, id_weights: np.ndarray, ood_weights: np.ndarray) -> np.ndarray:
    """(3, R) AUROC, AUPR and FPR95."""
    negatives, positives = id_weights[ranking.by_id], ood_weights[ranking.by_ood]
    alarmed, detected = _cumulated(negatives), _cumulated(positives)
    true_alarms, false_alarms = detected[ranking.true_alarms], alarmed[ranking.false_alarms]
    precision = np.zeros(true_alarms.shape)
    np.divide(true_alarms, true_alarms + false_alarms, out=precision, where=true_alarms > 0)
    first = (100 * detected[1:] < 95 * detected[-1]).sum(axis=0)  # the first OOD group with TPR ≥ 0.95
    return np.stack(
        [
            _area(ranking, negatives, detected) / alarmed[-1],
            np.einsum("nr,nr->r", positives, precision) / detected[-1],
            false_alarms[first, np.arange(len(first))] / alarmed[-1],
        ]
    )


# Bootstrap -----------------------------------------------------------------------------------------------------------

Statistic = Callable[[_Ranking, np.ndarray, np.ndarray], np.ndarray]  # ranking, ID and OOD weights -> (..., R)


@dataclass(frozen=True)
class Estimate:
    """A number and its bootstrap interval."""

    value: float
    low: float
    high: float


def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """AUROC of (n,) ID against (m,) OOD scores, ties half.

    >>> auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.875
    """
    return float(_once(_auroc, _rank(id_scores, ood_scores)))


def evaluate(id_scores: np.ndarray, ood_scores: np.ndarray, config: EvaluationConfig) -> dict[str, Estimate]:
    """AUROC, AUPR and FPR95 of (n,) ID against (m,) OOD scores, with percentile bootstrap intervals."""
    ranking = _rank(id_scores, ood_scores)
    values = _once(_all_metrics, ranking)
    resampled = _resampled(_all_metrics, ranking, config)
    estimates = [_estimate(value, resamples, config) for value, resamples in zip(values, resampled, strict=True)]
    return dict(zip(METRICS, estimates, strict=True))


def auroc_difference(
    scores: tuple[np.ndarray, np.ndarray], reference: tuple[np.ndarray, np.ndarray], config: EvaluationConfig
) -> Estimate:
    """AUROC of `scores` minus AUROC of `reference`, each (ID scores, OOD scores) of the same groups in the same order.

    Both are resampled alike, so that the interval is that of the paired difference. Raises ValueError if the numbers
    of groups differ.
    """
    sizes = [len(part) for part in scores], [len(part) for part in reference]
    if sizes[0] != sizes[1]:
        raise ValueError(f"not the same test groups: {sizes[0]} against {sizes[1]} (ID, OOD); score both on one set")
    rankings = [_rank(*scores), _rank(*reference)]
    value, reference_value = (_once(_auroc, ranking) for ranking in rankings)
    resamples, reference_resamples = (_resampled(_auroc, ranking, config) for ranking in rankings)
    return _estimate(value - reference_value, resamples - reference_resamples, config)


def _once(statistic: Statistic, ranking: _Ranking) -> np.ndarray:
    """(...) the statistic with each group counted once."""
    ones = (np.ones((len(groups), 1), dtype=int) for groups in (ranking.by_id, ranking.by_ood))
    return statistic(ranking, *ones)[..., 0]


def _resampled(statistic: Statistic, ranking: _Ranking, config: EvaluationConfig) -> np.ndarray:
    """(..., R) the statistic of each bootstrap resample."""
    n, m = len(ranking.by_id), len(ranking.by_ood)
    id_weights = _multiplicities(config.seed, 0, n, config.resamples)
    ood_weights = _multiplicities(config.seed, 1, m, config.resamples)
    step = max(1, CHUNK_ELEMENTS // (n + m))
    chunks = (slice(start, start + step) for start in range(0, config.resamples, step))
    return np.concatenate([statistic(ranking, id_weights[:, c], ood_weights[:, c]) for c in chunks], axis=-1)


@lru_cache(maxsize=8)  # the same few sizes come back for every pair, epoch and detector
def _multiplicities(seed: int, stream: int, groups: int, resamples: int) -> np.ndarray:
    """(groups, resamples) int16, how often each resample draws each group. ID and OOD are different streams."""
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))
    draws = (generator.integers(groups, size=groups) for _ in range(resamples))
    counts = np.stack([np.bincount(drawn, minlength=groups).astype(np.int16) for drawn in draws], axis=1)
    counts.flags.writeable = False
    return counts


def _estimate(value: np.ndarray, resamples: np.ndarray, config: EvaluationConfig) -> Estimate:
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(resamples, [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high))


# Tables --------------------------------------------------------------------------------------------------------------


def auroc_table(
    scores: Iterable[Scores], train_seconds: Mapping[CheckpointId, float], config: EvaluationConfig
) -> pd.DataFrame:
    """One row a checkpoint, OOD data set, batch size and detector, with the columns AUROC_COLUMNS, sorted.

    Calibration rows have ood_dataset = id_dataset: the ID *test* set as the positive class against the ID *fit* set.
    They ask whether the test set looks more OOD than the set the detector was fitted on: about 0.5 if the detector
    has not overfitted its fit set and the splits are alike. `without_calibration` leaves them out.

    train_seconds: by checkpoint. Raises ValueError if one is missing.
    """
    rows = [
        {**row, "train_seconds": _seconds(train_seconds, one.checkpoint)}
        for one in scores
        for row in _auroc_rows(one, config)
    ]
    return _sorted(rows, AUROC_COLUMNS)


def _auroc_rows(scores: Scores, config: EvaluationConfig) -> Iterable[dict[str, object]]:
    id_dataset = scores.checkpoint.id_dataset
    for (detector, b), dead in scores.dead_layers.items():
        for dataset in [id_dataset, *scores.ood_datasets]:
            negatives = scores.of(detector, b, id_dataset, "fit" if dataset == id_dataset else "test")
            estimates = evaluate(negatives, scores.of(detector, b, dataset), config)
            yield {
                **_identity(scores.checkpoint, dataset, b),
                "detector": detector,
                **_flat(estimates),
                "bits_per_dim": scores.bits_per_dim,
                "dead_layers": len(dead),
                "images_seen": scores.checkpoint.images_seen,
            }


def calibration_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an AUROC table that set the ID test set against the ID fit set."""
    return table[table["id_dataset"] == table["ood_dataset"]]


def without_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an AUROC table that set ID against OOD."""
    return table[table["id_dataset"] != table["ood_dataset"]]


def verdict(difference: Estimate, margin: float) -> str:
    """What an interval of AUROC(epoch) − AUROC(last epoch) says of the epoch.

    "equivalent" if it lies within ±margin, else "better" if above 0, "worse" if below 0, else "undecided".
    Equivalence comes first: a difference can be beyond chance and yet too small to matter.

    >>> verdict(Estimate(0.05, 0.01, 0.09), margin=0.02)
    'better'
    """
    if -margin <= difference.low and difference.high <= margin:
        return "equivalent"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "undecided"


def immature_table(scores: Iterable[Scores], config: EvaluationConfig) -> pd.DataFrame:
    """The paper's claim: each epoch against the last one of the same training, columns IMMATURE_COLUMNS, sorted.

    difference = AUROC(epoch) − AUROC(last epoch), with the interval of the paired bootstrap.
    """
    rows = []
    for _, training in groupby(sorted(scores, key=_place), key=lambda one: _place(one)[:-1]):
        *earlier, last = training
        rows += [row for one in earlier for row in _immature_rows(one, last, config)]
    return _sorted(rows, IMMATURE_COLUMNS)


def _place(scores: Scores) -> tuple[str, str, int, int]:
    checkpoint = scores.checkpoint
    return checkpoint.id_dataset, checkpoint.model, checkpoint.seed, checkpoint.epoch


def _immature_rows(scores: Scores, last: Scores, config: EvaluationConfig) -> Iterable[dict[str, object]]:
    for detector, b in scores.dead_layers:
        for dataset in scores.ood_datasets:
            pairs = _test_pair(scores, detector, b, dataset), _test_pair(last, detector, b, dataset)
            difference = auroc_difference(*pairs, config)
            yield {
                **_identity(scores.checkpoint, dataset, b),
                "detector": detector,
                "auroc": auroc(*pairs[0]),
                "auroc_last": auroc(*pairs[1]),
                "last_epoch": last.checkpoint.epoch,
                **_flat({"difference": difference}),
                "verdict": verdict(difference, config.margin),
            }


def immature_summary(table: pd.DataFrame) -> str:
    """The table of the claim in a few lines: what each detector's immature epochs are, against the last one."""
    if table.empty:
        return "One epoch only: nothing to set against the last epoch."
    lines = ["AUROC of each epoch ≥ 1 against the last epoch, over pairs, batch sizes and seeds:"]
    for detector, rows in table.groupby("detector"):
        trained, untrained = rows[rows["epoch"] >= 1], rows[rows["epoch"] == 0]
        control = f"; untrained: {_counts(untrained)}" if len(untrained) else ""
        lines.append(f"  {detector}: {_counts(trained)}{control}")
    return "\n".join(lines)


def _counts(rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    return ", ".join(f"{counts.get(word, 0)} {word}" for word in ("better", "equivalent", "worse", "undecided"))


def layer_auroc_table(checkpoint: CheckpointId, fitted: Fitted, tests: Iterable[Features]) -> pd.DataFrame:
    """AUROC of each single layer's term of GradientNorms, columns LAYER_COLUMNS, in the order of the layers.

    tests: the features of the ID test set and of each OOD test set, at any batch sizes; other splits are ignored.
    Dead layers have AUROC NaN. Empty if no GradientNorms was fitted.
    """
    detectors = {b: detector for (_, b), detector in fitted.items() if isinstance(detector, GradientNorms)}
    used = [features for features in tests if features.split == "test" and features.batch_size in detectors]
    terms = {(f.batch_size, f.dataset): detectors[f.batch_size].terms(f) for f in used}
    columns = [
        pd.DataFrame(
            {
                **_identity(checkpoint, dataset, b),
                "layer": detectors[b].layers,
                "auroc": _auroc_by_layer(terms[b, checkpoint.id_dataset], ood_terms),
            }
        )
        for (b, dataset), ood_terms in sorted(terms.items(), key=lambda item: item[0])
        if dataset != checkpoint.id_dataset
    ]
    return pd.concat(columns, ignore_index=True) if columns else pd.DataFrame(columns=LAYER_COLUMNS)


def _auroc_by_layer(id_terms: np.ndarray, ood_terms: np.ndarray) -> np.ndarray:
    """(n, K), (m, K) -> (K,) AUROC, NaN where a layer is dead."""
    dead = np.isnan(id_terms[0])
    layers = enumerate(zip(np.ascontiguousarray(id_terms.T), np.ascontiguousarray(ood_terms.T), strict=True))
    return np.array([np.nan if dead[k] else auroc(*pair) for k, pair in layers])


def _test_pair(scores: Scores, detector: str, b: int, ood_dataset: str) -> tuple[np.ndarray, np.ndarray]:
    return scores.of(detector, b, scores.checkpoint.id_dataset), scores.of(detector, b, ood_dataset)


def _identity(checkpoint: CheckpointId, ood_dataset: str, b: int) -> dict[str, object]:
    """The columns all tables begin with."""
    return {
        "id_dataset": checkpoint.id_dataset,
        "ood_dataset": ood_dataset,
        "model": checkpoint.model,
        "seed": checkpoint.seed,
        "epoch": checkpoint.epoch,
        "batch_size": b,
    }


def _flat(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """{"auroc": Estimate} -> {"auroc": …, "auroc_low": …, "auroc_high": …}."""
    bounds = {"": "value", "_low": "low", "_high": "high"}
    return {
        name + suffix: getattr(estimate, bound)
        for name, estimate in estimates.items()
        for suffix, bound in bounds.items()
    }


def _seconds(train_seconds: Mapping[CheckpointId, float], checkpoint: CheckpointId) -> float:
    if checkpoint not in train_seconds:
        raise ValueError(f"no training time for {checkpoint}; pass it in train_seconds")
    return train_seconds[checkpoint]


def _sorted(rows: list[dict[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[*columns])
    return table.sort_values([*columns[:7]], ignore_index=True)
