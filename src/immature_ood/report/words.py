"""The claim in sentences, from the study's own numbers, and the verdict of each pair."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from immature_ood.controls import ALL, UNSOLVED
from immature_ood.detector_table import SCORED, total_seconds
from immature_ood.evaluation import PAIR, verdict
from immature_ood.intervals import Estimate
from immature_ood.maturity import CHAIN, ONE_PASS
from immature_ood.means import interval
from immature_ood.report.results import Headline, Results
from immature_ood.words import duration, readable

__all__ = ["NEAR", "Chip", "ChipRow", "Claim", "chips", "claim_rows", "claims", "costs", "still_falling"]

NEAR = "excess 0.1"
SHORT = {ONE_PASS: "one pass", NEAR: "near-mature"}
HOW = {  # a verdict as what a detector does at a moment, against what it does at the minimum
    "better": "tell OOD {samples} better than",
    "equivalent": "tell OOD {samples} as well as",
    "worse": "tell OOD {samples} worse than",
    "undecided": "tell OOD {samples} neither better nor worse, as far as these numbers say, than",
    "saturated": "tell nearly all OOD {samples}, as they do",
}
BRIEFLY = {"undecided": "undecided", "saturated": "nearly all at both"}
SAME = "same"


@dataclass(frozen=True)
class Claim:
    """The claim at one b in a sentence. verdicts: (moment, one of evaluation.VERDICTS or SAME)."""

    batch_size: int
    verdicts: tuple[tuple[str, str], ...]
    sentence: str


def claims(results: Results) -> list[Claim]:
    """For each b what the headline's detector does after one pass, and near the minimum, against the minimum."""
    return [_claim(results, headline) for headline in results.headlines]


def _claim(results: Results, headline: Headline) -> Claim:
    rows = results.of(results.tables.claim, headline).set_index(["moment", "over"])
    found = {moment: _found(rows, moment, results.settings.margin) for moment in SHORT}
    verdicts = tuple((SHORT[moment], word) for moment, word in found.items())
    parts = [*filter(None, [_after_one_pass(results, headline, rows, found[ONE_PASS]), _near(rows, found)])]
    if not parts:
        unit = results.settings.data.unit
        parts = [
            f"At b = {headline.batch_size} no kept epoch is earlier than the lowest held-out {unit}, to be compared"
        ]
    return Claim(headline.batch_size, verdicts, "; ".join(parts) + "." + _unsolved(rows))


def _found(rows: pd.DataFrame, moment: str, margin: float) -> str:
    """The verdict over all pairs at a moment; SAME where nothing is compared."""
    return _verdict(rows.loc[(moment, ALL)].to_dict(), margin) if (moment, ALL) in rows.index else SAME


def _after_one_pass(results: Results, headline: Headline, rows: pd.DataFrame, found: str) -> str:
    if found == SAME:
        return ""
    row, data = rows.loc[(ONE_PASS, ALL)].to_dict(), results.settings.data
    return (
        f"After one pass over the training {data.samples} (epoch {row['epochs']}), scores by "
        f"{readable(headline.detector)} of {headline.model} at b = {headline.batch_size} "
        f"{HOW[found].format(samples=data.samples)} at the minimum of the held-out {data.unit} (epoch "
        f"{row['reference_epochs']}): mean AUROC {_compared(row)}, over {_over(row)}"
    )


def _near(rows: pd.DataFrame, found: Mapping[str, str]) -> str:
    """What is said of the first near-mature epoch; where one pass is that, it is said already."""
    word = found[NEAR]
    if word == SAME:
        return "no kept epoch before that is near-mature" if found[ONE_PASS] != SAME else ""
    row = rows.loc[(NEAR, ALL)].to_dict()
    if found[ONE_PASS] != SAME and row["epochs"] == rows.loc[(ONE_PASS, ALL), "epochs"]:
        return "that is the first near-mature epoch too"
    return f"at the first near-mature epoch ({row['epochs']}), {BRIEFLY.get(word, word)}: {_compared(row)}"


def _compared(row: Mapping[str, Any]) -> str:
    return f"{row['auroc']:.3f} against {row['auroc_reference']:.3f}, {_difference(row)}"


def _unsolved(rows: pd.DataFrame) -> str:
    if (ONE_PASS, UNSOLVED) not in rows.index:
        return ""
    row = rows.loc[(ONE_PASS, UNSOLVED)].to_dict()
    return f" Over the {_over(row)} that no control solves, one pass has {_difference(row)}."


def _verdict(row: Mapping[str, Any], margin: float) -> str:
    """What the interval of the mean difference says, one of evaluation.VERDICTS."""
    estimate = Estimate(row["difference"], row["difference_pairs_low"], row["difference_pairs_high"])
    return verdict(estimate, margin, (row["auroc"], row["auroc_reference"]))


def _over(row: Mapping[str, Any]) -> str:
    pairs, seeds = int(row["pairs"]), int(row["seeds"])
    return f"{pairs} pair{'s' * (pairs > 1)}" + (f" and {seeds} seeds" if seeds > 1 else "")


def _difference(row: Mapping[str, Any]) -> str:
    value, low, high = (row[f"difference{bound}"] for bound in ("", "_pairs_low", "_pairs_high"))
    return f"{value:+.3f} {interval(low, high)}".replace("-", "−")


def still_falling(results: Results) -> str:
    """Whether the trainings reached the minimum of their held-out bits/dim, said plainly."""
    keys = results.tables.training[[*CHAIN]].drop_duplicates().itertuples(index=False, name=None)
    falling = [results.chains.of(*key).still_falling for key in keys]
    unit, number = results.settings.data.unit, len(falling)
    if not any(falling):
        return f"All {number} trainings reached the minimum of their held-out {unit}."
    return (
        f"{sum(falling)} of {number} trainings were still falling when they ended: what is called the minimum there is "
        "the lowest epoch so far, of a model that is immature itself."
    )


# Pair by pair ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chip:
    """The verdict of one pair at a moment: a word, what stands in the chip, and the difference beside it, if any."""

    word: str
    text: str
    value: str = ""


@dataclass(frozen=True)
class ChipRow:
    """One pair. solved: whether a control solves it. chips: by b, then by moment, in the order of the header."""

    pair: str
    chips: tuple[Chip, ...]


def chips(results: Results) -> tuple[list[str], list[ChipRow]]:
    """The header, a column a b and moment, and a row a pair of the headline's model and detector."""
    header = [f"b = {one.batch_size}, {SHORT[moment]}" for one in results.headlines for moment in SHORT]
    pairs = results.pairs[[*PAIR]].drop_duplicates().itertuples(index=False, name=None)
    rows = [
        ChipRow(
            " → ".join(pair), tuple(_chip(results, one, pair, moment) for one in results.headlines for moment in SHORT)
        )
        for pair in pairs
    ]
    return header, rows


def _chip(results: Results, headline: Headline, pair: tuple[str, str], moment: str) -> Chip:
    found = [*_verdicts(results, headline, pair, moment)]
    if not found:
        return Chip("none", "–")
    counts = Counter(word for word, _ in found)
    word = counts.most_common(1)[0][0] if len(counts) == 1 else "mixed"
    value = f"{sum(value for _, value in found) / len(found):+.3f}".replace("-", "−")
    said = word if len(counts) == 1 else ", ".join(f"{count} {each}" for each, count in sorted(counts.items()))
    return Chip(word, said, "" if word == SAME else value)


def _verdicts(results: Results, headline: Headline, pair: tuple[str, str], moment: str) -> Iterator[tuple[str, float]]:
    """The corrected verdict and the difference of each seed at a moment of its training."""
    rows = _of_pair(results.of(results.pairs, headline), pair)
    compared = _of_pair(results.of(results.tables.immature, headline), pair).set_index(["seed", "epoch"])
    for seed, of_seed in rows.groupby("seed", sort=False):
        chain = results.chains.of(pair[0], headline.model, seed)
        epoch = chain.moments(of_seed["epoch"], results.settings.one_pass).get(moment)
        if epoch is not None and (seed, epoch) in compared.index:
            row = compared.loc[(seed, epoch)]
            yield str(row["corrected"]), float(row["difference"])
        elif epoch is not None:
            yield SAME, 0.0


def _of_pair(rows: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return rows[(rows[PAIR[0]] == pair[0]) & (rows[PAIR[1]] == pair[1])]


# All models and detectors ---------------------------------------------------------------------------------------------


def claim_rows(results: Results) -> list[dict[str, str]]:
    """The claim of every model, detector that is no control, b and moment, over all pairs: what the table says."""
    table = results.tables.claim
    rows = table[(table["over"] == ALL) & ~table["detector"].isin(results.settings.controls)]
    return [_claim_row(row, results.settings.margin) for row in rows.to_dict("records")]


def _claim_row(row: Mapping[str, Any], margin: float) -> dict[str, str]:
    return {
        "model": row["model"],
        "detector": readable(row["detector"]),
        "b": str(row["batch_size"]),
        "moment": row["moment"],
        "epochs": row["epochs"],
        "minimum": row["reference_epochs"],
        "AUROC": f"{row['auroc']:.3f}",
        "at the minimum": f"{row['auroc_reference']:.3f}",
        "difference": _difference(row),
        "verdict": _verdict(row, margin),
    }


def costs(results: Results) -> list[str]:
    """What training to one pass and to the last kept epoch, and scoring, took: a sentence each, of the smallest b."""
    rows = results.of(results.tables.detectors, results.headlines[0])
    rows = rows[rows["over"] == ALL].sort_values("epoch")
    trained = rows[rows["epoch"] > 0]
    if trained.empty:
        return []
    chosen = [trained[trained["epoch"] == results.settings.one_pass], trained.iloc[[-1]]]
    ends = pd.concat(chosen).drop_duplicates("epoch").to_dict("records")
    training = ", and ".join(f"{duration(row['train_seconds'])} to epoch {row['epoch']}" for row in ends)
    last = trained.iloc[[-1]]
    scoring = float(total_seconds(last).iloc[0] - last["train_seconds"].iloc[0])
    said = f"Training took {training}, a model." if not math.isnan(ends[0]["train_seconds"]) else ""
    scored = f"Scoring {SCORED:,} {results.settings.data.samples} takes {duration(max(scoring, 0.0))}."
    return [*filter(None, [said, "" if math.isnan(scoring) else scored])]
