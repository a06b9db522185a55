"""The tables of how well scores separate OOD from ID, and the test of the paper's claim.

OOD is the positive class. The intervals (immature_ood.intervals) tell how much a number depends on the images it was
measured on, the model and the fitted detector held fixed; the spread over seeds tells how much it depends on the
training.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import pandas as pd

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import POOLED
from immature_ood.detectors import Fitted
from immature_ood.detectors.gradient_norms import GradientNorms
from immature_ood.features import Features
from immature_ood.intervals import Estimate, Pair, Units, auroc_difference, compare, evaluate
from immature_ood.maturity import Chain, Chains
from immature_ood.metrics import auroc
from immature_ood.scores import Scores
from immature_ood.sidecars import Trained
from immature_ood.study import EvaluationConfig

__all__ = [
    "AUROC_COLUMNS",
    "IDENTITY",
    "IMMATURE_COLUMNS",
    "LAYER_COLUMNS",
    "PAIR",
    "SATURATED",
    "SPIKE",
    "VERDICTS",
    "Estimate",
    "auroc",
    "auroc_difference",
    "auroc_table",
    "calibration_rows",
    "chain_of",
    "evaluate",
    "holm",
    "immature_table",
    "in_spikes",
    "layer_auroc_table",
    "scored_epochs",
    "spikes",
    "verdict",
    "without_calibration",
]

VERDICTS = ("better", "equivalent", "worse", "undecided", "saturated")
SATURATED = 0.98  # where both AUROCs are at least this, they say nothing of one another
SPIKE = 0.1  # bits/dim above the lowest so far: more than training that goes well moves up and down
METRICS = ("auroc", "aupr", "fpr95")
PAIR = ("id_dataset", "ood_dataset")
MATURITY = ("excess_bits_per_dim", "maturity")
IDENTITY = (*PAIR, "model", "seed", "epoch", "batch_size")  # the columns that say what a row is of; most tables' first
AUROC_COLUMNS = (
    *IDENTITY,
    "detector",
    *(f"{metric}{bound}" for metric in METRICS for bound in ("", "_low", "_high")),
    *("bits_per_dim", *MATURITY, "dead_layers", "images_seen", "train_seconds"),
)
IMMATURE_COLUMNS = (
    *IDENTITY,
    *("detector", *MATURITY, "reference_epoch", "reference_excess", "reference_maturity"),
    *("auroc", "auroc_reference", "difference", "difference_low", "difference_high", "verdict"),
    *("p_difference", "p_equivalence", "corrected"),
)
LAYER_COLUMNS = (*IDENTITY, "layer", "auroc")


def auroc_table(
    scores: Iterable[Scores], trained: Mapping[CheckpointId, Trained], chains: Chains, config: EvaluationConfig
) -> pd.DataFrame:
    """One row a checkpoint, OOD data set, batch size and detector, with the columns AUROC_COLUMNS, sorted.

    Calibration rows have ood_dataset = id_dataset: the ID *test* set as the positive class against the ID *fit* set.
    They ask whether the test set looks more OOD than the set the detector was fitted on: about 0.5 if the detector
    has not overfitted its fit set and the splits are alike. `without_calibration` leaves them out.

    trained: by checkpoint. chains: how mature each is. Raises ValueError if one is missing.
    """
    rows = [
        {**row, **_maturity(chain_of(chains, one), one.checkpoint.epoch), "train_seconds": seconds}
        for one in scores
        for seconds in [_train_seconds(trained, one.checkpoint)]
        for row in _auroc_rows(one, config)
    ]
    return _sorted(rows, AUROC_COLUMNS)


def _auroc_rows(scores: Scores, config: EvaluationConfig) -> Iterable[dict[str, object]]:
    id_dataset = scores.checkpoint.id_dataset
    for (detector, b), dead in scores.dead_layers.items():
        for dataset in [id_dataset, *scores.ood_datasets]:
            split = "fit" if dataset == id_dataset else "test"
            pair = scores.of(detector, b, id_dataset, split), scores.of(detector, b, dataset)
            units = Units.numbered(scores.units_of(b, id_dataset, split), scores.units_of(b, dataset))
            yield {
                **_identity(scores.checkpoint, dataset, b),
                "detector": detector,
                **_flat(evaluate(*pair, config, units)),
                "bits_per_dim": scores.bits_per_dim,
                "dead_layers": len(dead),
                "images_seen": scores.checkpoint.images_seen,
            }


def chain_of(chains: Chains, scores: Scores) -> Chain:
    """The training that scores are of."""
    checkpoint = scores.checkpoint
    return chains.of(checkpoint.id_dataset, checkpoint.model, checkpoint.seed)


def _maturity(chain: Chain, epoch: int) -> dict[str, object]:
    """The values of the columns MATURITY."""
    return dict(zip(MATURITY, (chain.excess[epoch], chain.states[epoch]), strict=True))


def calibration_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an AUROC table that set the ID test set against the ID fit set."""
    return table[table["id_dataset"] == table["ood_dataset"]]


def without_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an AUROC table that set ID against OOD."""
    return table[table["id_dataset"] != table["ood_dataset"]]


def verdict(difference: Estimate, margin: float, aurocs: tuple[float, ...] = ()) -> str:
    """What an interval of AUROC(epoch) − AUROC(reference epoch) says of the epoch, one of VERDICTS.

    "saturated" if all of the AUROCs are at least SATURATED. Else "equivalent" if the interval lies within ±margin,
    else "better" if above 0, "worse" if below 0, else "undecided", as it is without an interval.
    Equivalence comes first: a difference can be beyond chance and yet too small to matter.

    >>> verdict(Estimate(0.05, 0.01, 0.09), margin=0.02)
    'better'
    """
    if np.isnan(difference.low):
        return "undecided"
    if aurocs and min(aurocs) >= SATURATED:
        return "saturated"
    return _decided(-margin <= difference.low and difference.high <= margin, difference.low > 0, difference.high < 0)


def _decided(equivalent: bool, better: bool, worse: bool) -> str:
    if equivalent:
        return "equivalent"
    if better:
        return "better"
    return "worse" if worse else "undecided"


def immature_table(scores: Iterable[Scores], chains: Chains, config: EvaluationConfig) -> pd.DataFrame:
    """The paper's claim: each kept epoch against the one nearest to the minimum of the same training, sorted.

    Columns IMMATURE_COLUMNS. The reference is the epoch of the lowest held-out bits/dim among those at which the
    detector has scores; seeds may differ in it. One that has scores at a single epoch is compared with nothing.
    reference_maturity is its state, or maturity.STILL_FALLING where the training did not reach its minimum.

    difference = AUROC(epoch) − AUROC(reference), with the interval of the paired difference. p_difference, of "it is
    0", and p_equivalence, of "it is the margin or more", are uncorrected, as is verdict; corrected is the verdict that
    is left of it by Holm's method. That is done over the comparisons of one model, detector and b that are counted
    together: of all pairs and seeds, without the saturated, the trained epochs before the reference; the untrained
    apart, and those past the reference. The chance that any "better" or "worse" among them is wrong is at most
    1 − confidence; so is that for any "equivalent". Raises ValueError if chains lack a training.
    """
    rows: list[dict[str, object]] = []
    for _, training in groupby(sorted(scores, key=_place), key=lambda one: _place(one)[:-1]):
        in_order = [*training]
        rows += _immature_rows(in_order, chain_of(chains, in_order[0]), config)
    table = _sorted(rows, IMMATURE_COLUMNS)
    return table.assign(corrected=_corrected(table, config)) if rows else table


def _place(scores: Scores) -> tuple[str, str, str, int]:
    checkpoint = scores.checkpoint
    return checkpoint.id_dataset, checkpoint.model, str(checkpoint.seed), checkpoint.epoch


def _immature_rows(training: Sequence[Scores], chain: Chain, config: EvaluationConfig) -> Iterable[dict[str, object]]:
    """The rows of one training's scores."""
    for (detector, b), by_epoch in scored_epochs(training).items():
        reference = by_epoch.pop(chain.reference(by_epoch))
        for scores in by_epoch.values():
            for dataset in scores.ood_datasets:
                yield {
                    **_identity(scores.checkpoint, dataset, b),
                    "detector": detector,
                    **_maturity(chain, scores.checkpoint.epoch),
                    **_described(chain, reference.checkpoint.epoch),
                    **_compared((scores, reference), (detector, b), dataset, config),
                }


def scored_epochs(training: Iterable[Scores]) -> dict[tuple[str, int], dict[int, Scores]]:
    """By detector and b, then epoch, the scores of one training that hold it."""
    found: dict[tuple[str, int], dict[int, Scores]] = {}
    for one in training:
        for key in one.dead_layers:
            found.setdefault(key, {})[one.checkpoint.epoch] = one
    return found


def _described(chain: Chain, reference: int) -> dict[str, object]:
    return {
        "reference_epoch": reference,
        "reference_excess": chain.excess[reference],
        "reference_maturity": chain.described(reference),
    }


def _compared(
    both: tuple[Scores, Scores], key: tuple[str, int], dataset: str, config: EvaluationConfig
) -> dict[str, object]:
    """An epoch's AUROC on one pair against the reference's."""
    pairs, checkpoint = [_test_pair(one, *key, dataset) for one in both], both[0].checkpoint
    units = Units.numbered(*(both[0].units_of(key[1], name) for name in (checkpoint.id_dataset, dataset)))
    found = compare(pairs[0], pairs[1], config, units)
    difference, aurocs = found.estimate(config.confidence), (found.first.value, found.second.value)
    return {
        **dict(zip(("auroc", "auroc_reference"), aurocs, strict=True)),
        **_flat({"difference": difference}),
        "verdict": verdict(difference, config.margin, aurocs),
        "p_difference": found.p_difference(),
        "p_equivalence": found.p_equivalence(config.margin),
    }


def _corrected(table: pd.DataFrame, config: EvaluationConfig) -> pd.Series:
    counted = table[table["verdict"].ne("saturated") & table["p_difference"].notna()]
    untrained, past = counted["epoch"] == 0, counted["epoch"] > counted["reference_epoch"]
    together = counted.groupby(["model", "detector", "batch_size", untrained.rename("untrained"), past.rename("past")])
    same, apart = (
        together[f"p_{kind}"].transform(holm) <= 1 - config.confidence for kind in ("equivalence", "difference")
    )
    higher = counted["difference"] > 0
    verdicts = map(_decided, same, apart & higher, apart & ~higher)
    return pd.Series([*verdicts], counted.index, dtype=object).reindex(table.index).fillna(table["verdict"])


def holm(p_values: pd.Series) -> pd.Series:
    """(K,) p-values corrected for there being K of them (Holm 1979).

    >>> holm(pd.Series([0.03, 0.01, 0.04])).tolist()
    [0.06, 0.03, 0.06]
    """
    ordered = p_values.sort_values()
    factors = np.arange(len(ordered), 0, -1)
    return (ordered * factors).cummax().clip(upper=1.0).reindex(p_values.index)


def spikes(training: pd.DataFrame) -> list[str]:
    """A line for each kept trained checkpoint whose held-out bits/dim exceed the lowest so far by more than SPIKE.

    training: what maturity.with_maturity gives of all trainings.
    """
    return [
        f"training was in a spike or past its best at {row.id_dataset}, {row.model}, seed {row.seed}, "
        f"epoch {row.epoch}: {row.above:.2f} bits/dim above the lowest so far"
        for row in in_spikes(training).itertuples()
    ]


def in_spikes(training: pd.DataFrame) -> pd.DataFrame:
    """The rows of those checkpoints, with the column above, bits/dim."""
    lowest = training.groupby(["id_dataset", "model", "seed"])["fit_bits_per_dim"].cummin()
    rows = training.assign(above=training["fit_bits_per_dim"] - lowest)
    return rows[rows["maturity"].ne("") & rows["epoch"].ge(1) & rows["above"].gt(SPIKE)]


def layer_auroc_table(checkpoint: CheckpointId, fitted: Fitted, tests: Iterable[Features]) -> pd.DataFrame:
    """AUROC of each single layer's term of GradientNorms, columns LAYER_COLUMNS, in the order of the layers.

    tests: the features of the ID test set and of each OOD test set, at any batch sizes; other splits are ignored.
    Dead layers have AUROC NaN. Empty if no GradientNorms was fitted.
    """
    detectors = {
        b: detector
        for (name, b), detector in fitted.detectors.items()
        if name == "gradient_norms" and isinstance(detector, GradientNorms)
    }
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


def _test_pair(scores: Scores, detector: str, b: int, ood_dataset: str) -> Pair:
    return scores.of(detector, b, scores.checkpoint.id_dataset), scores.of(detector, b, ood_dataset)


def _identity(checkpoint: CheckpointId, ood_dataset: str, b: int) -> dict[str, object]:
    """The values of the columns IDENTITY."""
    values = (checkpoint.id_dataset, ood_dataset, checkpoint.model, checkpoint.seed, checkpoint.epoch, b)
    return dict(zip(IDENTITY, values, strict=True))


def _flat(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """{"auroc": Estimate} -> {"auroc": …, "auroc_low": …, "auroc_high": …}."""
    bounds = {"": "value", "_low": "low", "_high": "high"}
    return {
        name + suffix: getattr(estimate, bound)
        for name, estimate in estimates.items()
        for suffix, bound in bounds.items()
    }


def _train_seconds(trained: Mapping[CheckpointId, Trained], checkpoint: CheckpointId) -> float:
    """The training time of a checkpoint; all seeds together took the time of all."""
    found = [trained[one] for one in trained if one == checkpoint]
    if checkpoint.seed == POOLED:
        found = [trained[one] for one in trained if replace(one, seed=POOLED) == _unlike_seeds(checkpoint, one)]
    if not found:
        raise ValueError(f"no training time for {checkpoint}; pass it in trained")
    return sum(one.train_seconds for one in found)


def _unlike_seeds(checkpoint: CheckpointId, one: CheckpointId) -> CheckpointId:
    """A checkpoint of all seeds, with what differs between seeds as another has it."""
    return replace(checkpoint, images_seen=one.images_seen, run_key=one.run_key)


def _sorted(rows: list[dict[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Sorted by what a row is of; all seeds together come last."""
    table = pd.DataFrame(rows, columns=[*columns])

    def order(column: pd.Series) -> pd.Series:
        return column.replace(POOLED, np.inf).astype(float) if column.name == "seed" else column

    return table.sort_values([*IDENTITY, "detector"], key=order, ignore_index=True)
