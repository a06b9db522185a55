"""What one choice does: AUROC of the same pairs with and without it, by paired bootstrap intervals.

The same test groups are scored twice, so that a difference is the choice's and not that of other images. Audits of the
released code's choices use it (each a study of its own, beside the study `audit`), and the experiment in which a model
is trained on another model's samples.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from immature_ood.evaluation import auroc, auroc_difference, verdict
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = ["AUDIT_COLUMNS", "SUMMARY_COLUMNS", "audit_rows", "audit_summary", "summary_text"]

AUDIT_COLUMNS = (
    *("choice", "id_dataset", "ood_dataset", "seed", "epoch", "batch_size", "detector"),
    *("auroc", "auroc_changed", "difference", "difference_low", "difference_high", "verdict"),
)
INTERVAL = ("", "_low", "_high")
SUMMARY_COLUMNS = (
    *("choice", "detector", "batch_size", "pairs", *(f"difference{end}" for end in INTERVAL)),
    *("better", "equivalent", "worse", "undecided"),
    *("claim", "claim_changed", *(f"claim_difference{end}" for end in INTERVAL), "changes_claim"),
)


def audit_rows(
    choice: str, base: Iterable[Scores], changed: Iterable[Scores], names: Mapping[str, str], config: EvaluationConfig
) -> pd.DataFrame:
    """AUROC with the choice minus AUROC without it, for each pair, checkpoint, batch size and detector of both.

    Seeds are matched by their order: another model has other weights anyhow.
    names: what a data set of the changed study is called in the base study, where it is called otherwise. A detector
    that the base study lacks is compared with the one whose name it continues: gradient_norms_epsilon with
    gradient_norms. Raises ValueError if the two share no checkpoint, or were not scored on the same number of groups.
    """

    def called(dataset: str) -> str:
        return names.get(dataset, dataset)

    base, changed = list(base), list(changed)
    places = [{seed: place for place, seed in enumerate(_seeds(study))} for study in (base, changed)]

    def key(one: Scores, place: Mapping[int, int]) -> tuple[str, int, int]:
        return called(one.checkpoint.id_dataset), place[one.checkpoint.seed], one.checkpoint.epoch

    by_key = {key(one, places[1]): one for one in changed}
    rows = [
        {"choice": choice, **row}
        for one in base
        if (other := by_key.get(key(one, places[0])))
        for row in _rows(one, other, {called(dataset): dataset for dataset in other.ood_datasets}, config)
    ]
    if not rows:
        raise ValueError(f"{choice}: no ID data set, seed and epoch in both studies; give them the same epochs")
    return pd.DataFrame(rows, columns=[*AUDIT_COLUMNS])


def _seeds(scores: Iterable[Scores]) -> list[int]:
    return sorted({one.checkpoint.seed for one in scores})


def _rows(
    base: Scores, changed: Scores, ood_datasets: Mapping[str, str], config: EvaluationConfig
) -> Iterable[dict[str, object]]:
    """ood_datasets: the changed study's name of each of the base study's."""
    id_dataset, changed_id = base.checkpoint.id_dataset, changed.checkpoint.id_dataset
    for detector, b in changed.dead_layers:
        of_base = next((name for name, size in base.dead_layers if size == b and detector.startswith(name)), None)
        if of_base is None:
            continue
        for dataset in sorted({*base.ood_datasets} & ood_datasets.keys()):
            without = base.of(of_base, b, id_dataset), base.of(of_base, b, dataset)
            with_it = changed.of(detector, b, changed_id), changed.of(detector, b, ood_datasets[dataset])
            difference = auroc_difference(with_it, without, config)
            yield {
                "id_dataset": id_dataset,
                "ood_dataset": dataset,
                "seed": base.checkpoint.seed,
                "epoch": base.checkpoint.epoch,
                "batch_size": b,
                "detector": detector,
                "auroc": auroc(*without),
                "auroc_changed": auroc(*with_it),
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "verdict": verdict(difference, config.margin),
            }


def audit_summary(audit: pd.DataFrame, config: EvaluationConfig) -> pd.DataFrame:
    """One row a choice, detector and batch size, columns SUMMARY_COLUMNS, over the trained epochs.

    difference: the mean over pairs, seeds and epochs of AUROC with the choice minus AUROC without it. claim: the mean
    over pairs of AUROC at the first trained epoch minus AUROC at the last one, without and with the choice;
    claim_difference is how much the choice moves it. changes_claim: whether it turns "the immature model detects as
    well" (claim ≥ −margin) into its opposite or back, and by more than chance. All intervals are percentile bootstraps
    over pairs, a seed's pair counting as one more.
    """
    trained = audit[audit["epoch"] >= 1]
    rows = [
        {**dict(zip(("choice", "detector", "batch_size"), key, strict=True)), **_summed_up(group, config)}
        for key, group in trained.groupby(["choice", "detector", "batch_size"], sort=False)
    ]
    return pd.DataFrame(rows, columns=[*SUMMARY_COLUMNS])


def _summed_up(rows: pd.DataFrame, config: EvaluationConfig) -> dict[str, object]:
    by_pair = ["id_dataset", "ood_dataset", "seed"]
    means = rows.groupby(by_pair)["difference"].mean().to_numpy()
    epochs = rows["epoch"]
    first, last = (
        rows[epochs == epoch].set_index(by_pair)[["auroc", "auroc_changed"]] for epoch in (epochs.min(), epochs.max())
    )
    claim = (first - last).dropna()
    moved = (claim["auroc_changed"] - claim["auroc"]).to_numpy()
    before, after = claim.mean()
    low, high = _interval(moved, config)
    turned = (before >= -config.margin) != (after >= -config.margin)
    return {
        "pairs": len(means),
        **dict(zip((f"difference{end}" for end in INTERVAL), (means.mean(), *_interval(means, config)), strict=True)),
        **{word: int((rows["verdict"] == word).sum()) for word in ("better", "equivalent", "worse", "undecided")},
        "claim": before,
        "claim_changed": after,
        **dict(zip((f"claim_difference{end}" for end in INTERVAL), (moved.mean(), low, high), strict=True)),
        "changes_claim": bool(turned and (low > 0 or high < 0)),
    }


def _interval(values: np.ndarray, config: EvaluationConfig) -> tuple[float, float]:
    """Of the mean of (n,) values, one a pair."""
    draws = np.random.default_rng(config.seed).integers(len(values), size=(config.resamples, len(values)))
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def summary_text(summary: pd.DataFrame) -> str:
    """The summary as a table for people, and in a line what nothing at all changed in."""
    moved = (summary[["difference_low", "difference_high", "better", "worse", "undecided"]] != 0).any(axis=1)
    rows = [_row(row) for row in summary[moved].itertuples()]
    headers = ["choice", "detector", "b", "mean AUROC moves by", "better/same/worse/?", "first − last epoch", "turned"]
    table = tabulate(rows, headers, tablefmt="simple", disable_numparse=True)
    same = ", ".join(f"{row.choice} {row.detector} b={row.batch_size}" for row in summary[~moved].itertuples())
    notes = [
        "better/same/worse/?: pairs and epochs whose AUROC rises, stays within the margin, falls, or cannot be told.",
        "first − last epoch: mean AUROC of the first trained epoch minus that of the last, without → with the choice.",
        f"Nothing moves in: {same}." if same else "",
    ]
    return "\n".join([table, "", *filter(None, notes)])


def _row(row: Any) -> list[str]:
    return [
        row.choice,
        row.detector,
        str(row.batch_size),
        f"{row.difference:+.3f} [{row.difference_low:+.3f}, {row.difference_high:+.3f}]",
        f"{row.better}/{row.equivalent}/{row.worse}/{row.undecided}",
        f"{row.claim:+.3f} → {row.claim_changed:+.3f}",
        "yes" if row.changes_claim else "",
    ]
