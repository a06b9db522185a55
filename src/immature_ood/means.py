"""Means over pairs of data sets, and how sure they are. There are two questions, whose answers are never mixed.

*These pairs.* The data sets are fixed; other test images and other seeds could have been drawn. A mean of AUROCs is, to
first order, its expectation plus a sum of what each test unit contributes (immature_ood.delong), and a unit contributes
to every pair whose ID or OOD set it is in, under every seed. So contributions are summed over all of these before they
are squared,

    v_set = n/(n − 1) Σ_units (Σ_pairs,seeds contribution)²,        n units in the set,

and the variance due to test images is the sum of the v_set. Between seeds, each ID model is a draw of its own: the
variance over the S seeds of what the pairs of one ID set add to the mean, times S, for each ID set. The interval is
that of Student's t with the degrees of freedom of Satterthwaite (1946), (Σ v)² / Σ (v² / df). Of one ID set under a few
seeds that is too narrow (.87 at worst with two seeds): there t is the mean of those of both parts, weighted by their
variances (Cochran 1964). Where one of several ID sets carries nearly all that seeds do, it is left too narrow. With one
seed that second part is missing, and the interval is one for the models that were trained, not for others. The fit sets
stay fixed. A detector that is given other sets' models (trained_elsewhere) may have one model for several ID sets,
whose seeds are then not independent: of several seeds its interval is too narrow.

*New sets.* The data sets, too, are a draw. Each is in many pairs, so that pairs are not independent of one another. The
error is the delete-one-set jackknife's (Efron and Stein 1981), which leaves out all pairs of a set at once, with
Student's t at (sets − 1) degrees of freedom. The dyadic-robust errors of Fafchamps and Gubert (2007) and Aronow, Samii
and Assenova (2015) have the same aim but are too small for few sets: with 5 sets such intervals held the truth in .57
to .80 of simulations, the jackknife's in .95 to .99. With fewer than 5 ID or 5 OOD sets there is no interval.

How often these intervals hold the truth: tests/coverage_means.py, with its figures in docs/coverage-means.md.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from immature_ood.controls import NONE_SOLVED, UNSOLVED, overs
from immature_ood.evaluation import SATURATED, verdict
from immature_ood.intervals import FEWEST_UNITS, Estimate
from immature_ood.maturity import Chains
from immature_ood.metrics import auroc_influence
from immature_ood.scores import Scores
from immature_ood.study import EvaluationConfig

__all__ = [
    "FEWEST_SETS",
    "MEANS_COLUMNS",
    "NO_NEW_SETS",
    "ONE_SEED",
    "Key",
    "Paired",
    "Place",
    "Term",
    "bounds",
    "combined",
    "epochs_of",
    "interval",
    "jackknife",
    "mean_of_new_sets",
    "mean_of_these_pairs",
    "means_summary",
    "means_table",
    "p_of_these_pairs",
    "paired",
    "sets",
    "term",
    "terms_of",
]

Part = tuple[float, float]  # of a variance, and its degrees of freedom

FEWEST_SETS = 5  # ID sets, and OOD sets, below which nothing is said of new ones
NO_NEW_SETS = f"with fewer than {FEWEST_SETS} ID or OOD sets nothing is said of new ones"
ONE_SEED = "for the models that were trained: other seeds are not covered"
BOUNDS = ("", "_pairs_low", "_pairs_high", "_sets_low", "_sets_high")
MEANS_COLUMNS = (
    *("model", "detector", "batch_size", "epoch", "over", "pairs", "sets", "seeds", "saturated"),
    *(f"auroc{bound}" for bound in BOUNDS),
    *("reference_epochs", *(f"difference{bound}" for bound in BOUNDS)),
)

Both = tuple[np.ndarray, np.ndarray]  # of ID (n,), and of OOD (m,)

# What is averaged -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """What one pair adds to a mean under one seed: an AUROC, or a difference of AUROCs.

    of_units: by data set, (n,) what each of its n test units contributes to the error of the value.
    separated: whether no score of one set lies among those of the other, so that nothing contributes: there the first
    order says nothing of the error.
    """

    pair: tuple[str, str]
    seed: int | str
    value: float
    of_units: Mapping[str, np.ndarray]
    separated: bool


def term(pair: tuple[str, str], seed: int | str, scores: Both, units: Both, drop_minimum: bool = False) -> Term:
    """The AUROC of a pair under one seed; of pair, scores and units, ID comes first and OOD second.

    scores: (n,), (m,), higher = more OOD. units: (n,), (m,) integers; groups with the same number are not independent
    of one another. drop_minimum, errors: as of metrics.auroc_influence.

    >>> found = term(("a", "b"), 0, (np.array([1.0, 2.0]), np.array([2.0, 3.0])), (np.arange(2), np.zeros(2, int)))
    >>> found.value, found.of_units["a"].tolist(), found.of_units["b"].tolist()
    (0.875, [0.0625, -0.0625], [0.0])
    """
    found = auroc_influence(*scores, drop_minimum)
    contributions = found.of_id, found.of_ood
    of_units = [{name: _by_unit(*both)} for name, *both in zip(pair, contributions, units, strict=True)]
    return Term(pair, seed, found.value, _added(of_units, (1, 1)), not any(map(np.any, contributions)))


def _by_unit(contributions: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(G,) contributions of groups -> (n,) those of their units, in the order of the units' numbers."""
    return np.bincount(np.unique(units, return_inverse=True)[1], weights=contributions)


def combined(weights: Sequence[float], terms: Sequence[Term]) -> Term:
    """Σ weight · term, of terms of one pair and seed; weights (1, −1) give the difference on the same test units."""
    return replace(
        terms[0],
        value=sum(weight * one.value for weight, one in zip(weights, terms, strict=True)),
        of_units=_added([one.of_units for one in terms], weights),
        separated=all(one.separated for one in terms),
    )


def _added(of_units: Iterable[Mapping[str, np.ndarray]], weights: Sequence[float]) -> dict[str, np.ndarray]:
    """Σ weight · contributions by data set; where lengths differ, units that are missing contribute nothing."""
    total: dict[str, np.ndarray] = {}
    for weight, one in zip(weights, of_units, strict=True):
        for dataset, values in one.items():
            before = total.get(dataset, np.zeros(len(values)))
            if len(before) < len(values):
                before = np.concatenate([before, np.zeros(len(values) - len(before))])
            before[: len(values)] += weight * values
            total[dataset] = before
    return total


# Intervals ------------------------------------------------------------------------------------------------------------


def mean_of_these_pairs(terms: Sequence[Term], confidence: float = 0.95) -> Estimate:
    """The mean of the terms, each pair under the same seeds: for these data sets, other test units and other seeds.

    No interval (NaN) if all pairs are separated, or a set has fewer than FEWEST_UNITS. Of the same scores twice, the
    difference is exactly 0: [0, 0].
    """
    value = float(np.mean([one.value for one in terms]))
    reach = _reach(_parts(terms), (1 - confidence) / 2)
    return Estimate(value, value - reach, value + reach)


def p_of_these_pairs(terms: Sequence[Term]) -> float:
    """The two-sided p-value of "the mean is 0", of which mean_of_these_pairs is the interval; NaN if it has none."""
    value, parts = abs(float(np.mean([one.value for one in terms]))), _parts(terms)
    deviation = _deviation(parts)
    if deviation == 0:
        return float(value == 0)
    if math.isnan(deviation):
        return math.nan
    tails = [float(stats.t.sf(value / deviation, df)) for _, df in parts]
    if min(tails) == max(tails):
        return 2 * tails[0]
    return 2 * float(optimize.brentq(lambda tail: _reach(parts, tail) - value, min(tails), max(tails), xtol=1e-300))


def _parts(terms: Sequence[Term]) -> list[Part]:
    """Of what the variance of the mean consists; NaN where there is no interval."""
    few = any(len(values) < FEWEST_UNITS for one in terms for values in one.of_units.values())
    if few or all(one.separated for one in terms):
        return [(math.nan, math.nan)]
    tests, seeds = [*_of_tests(terms)], [*_of_seeds(terms)]
    parts = [_merged(tests), *seeds] if len(seeds) == 1 else [_merged([*tests, *seeds])]
    return [part for part in parts if part[0]]


def _merged(parts: Sequence[Part]) -> Part:
    """Their sum, with the degrees of freedom of Satterthwaite."""
    variance = sum(part for part, _ in parts)
    return variance, (variance**2 / sum(part**2 / df for part, df in parts) if variance else math.nan)


def _deviation(parts: Sequence[Part]) -> float:
    return math.sqrt(sum(part for part, _ in parts))


def _reach(parts: Sequence[Part], tail: float) -> float:
    """From the mean to an end of the interval that leaves out such a tail on either side."""
    deviation = _deviation(parts)
    return sum(part / deviation * float(stats.t.isf(tail, df)) for part, df in parts)


def _of_tests(terms: Sequence[Term]) -> Iterator[Part]:
    """The variance of the mean due to each data set's test units, and its degrees of freedom."""
    total = _added([one.of_units for one in terms], [1 / len(terms)] * len(terms))
    for n, values in ((len(values), values) for values in total.values() if len(values) > 1):
        yield n / (n - 1) * float((values**2).sum()), n - 1


def _of_seeds(terms: Sequence[Term]) -> Iterator[Part]:
    """The same, due to each ID set's models; none if there is one seed."""
    seeds = sorted({one.seed for one in terms}, key=str)
    for id_dataset in {one.pair[0]: None for one in terms} if len(seeds) > 1 else {}:
        of_set = [one for one in terms if one.pair[0] == id_dataset]
        added = [sum(one.value for one in of_set if one.seed == seed) / len(terms) for seed in seeds]
        yield len(seeds) * float(np.var(added, ddof=1)), len(seeds) - 1


def mean_of_new_sets(terms: Sequence[Term], confidence: float = 0.95) -> Estimate:
    """The mean of the terms: for data sets such as these; no interval (NaN) with fewer than 5 ID or 5 OOD sets."""
    values = np.array([one.value for one in terms])
    return jackknife([one.pair for one in terms], lambda kept: float(values[kept].mean()), confidence)


def jackknife(
    pairs: Sequence[tuple[str, str]], statistic: Callable[[np.ndarray], float], confidence: float = 0.95
) -> Estimate:
    """A statistic of rows, each of a pair (ID, OOD), with the interval of the delete-one-set jackknife.

    statistic: of a boolean mask (rows,) of the rows that are used. No interval (NaN) with fewer than 5 ID or OOD sets.
    """
    names = np.array(pairs)
    value = statistic(np.ones(len(names), dtype=bool))
    fewest = min(len({*side}) for side in names.T)
    if fewest < FEWEST_SETS:
        return Estimate(value, math.nan, math.nan)
    without = np.array([statistic((names != name).all(axis=1)) for name in sorted({*names.flat})])
    error = math.sqrt((len(without) - 1) * float(np.var(without)))
    return _interval(value, error, fewest - 1, confidence)


def _interval(value: float, error: float, freedom: float, confidence: float) -> Estimate:
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Estimate(value, value - reach, value + reach)


def bounds(
    name: str, terms: Sequence[Term], confidence: float, lowest: float = -1, highest: float = 1
) -> dict[str, float]:
    """The columns name, name_pairs_low, name_pairs_high, name_sets_low and name_sets_high of a table of means.

    lowest, highest: what a mean can be; by default a difference of two AUROCs.
    """
    means = mean_of_these_pairs, mean_of_new_sets
    these, new = (mean(terms, confidence).within(lowest, highest) for mean in means)
    numbers = these.value, these.low, these.high, new.low, new.high
    return dict(zip((f"{name}{bound}" for bound in BOUNDS), numbers, strict=True))


def sets(terms: Iterable[Term]) -> dict[str, int]:
    """How many pairs, data sets and seeds a mean is over."""
    terms = list(terms)
    return {
        "pairs": len({one.pair for one in terms}),
        "sets": len({name for one in terms for name in one.pair}),
        "seeds": len({one.seed for one in terms}),
    }


# Tables ---------------------------------------------------------------------------------------------------------------

Key = tuple[str, str, int]  # a model, a detector, b
Place = tuple[str, str, int | str]  # an ID set, an OOD set, a seed


def terms_of(
    scores: Iterable[Scores], names: Mapping[str, str], config: EvaluationConfig
) -> dict[Key, dict[Place, dict[int, Term]]]:
    """The AUROCs of all scores by key, place and epoch, sorted; names: as of means_table."""
    found: dict[Key, dict[Place, dict[int, Term]]] = {}
    for one in scores:
        for key, place, each in _terms(one, names, config):
            found.setdefault(key, {}).setdefault(place, {})[one.checkpoint.epoch] = each
    return dict(sorted(found.items()))


def _terms(scores: Scores, names: Mapping[str, str], config: EvaluationConfig) -> Iterator[tuple[Key, Place, Term]]:
    checkpoint = scores.checkpoint
    own = checkpoint.id_dataset
    for detector, b in scores.dead_layers:
        for dataset in scores.ood_datasets:
            pair = names.get(own, own), names.get(dataset, dataset)
            of_pair = scores.of(detector, b, own), scores.of(detector, b, dataset)
            units = scores.units_of(b, own), scores.units_of(b, dataset)
            key, place = (checkpoint.model, detector, b), (own, dataset, checkpoint.seed)
            yield key, place, term(pair, checkpoint.seed, of_pair, units, config.drop_minimum)


@dataclass(frozen=True)
class Paired:
    """One pair under one seed: its AUROC at an epoch and at the reference of the training (see maturity.Chain)."""

    key: Key
    place: Place
    epoch: int
    reference: int
    terms: tuple[Term, Term]

    @property
    def same(self) -> bool:
        """Whether the epoch is the reference."""
        return self.epoch == self.reference

    @property
    def difference(self) -> Term:
        """AUROC(epoch) − AUROC(reference), 0 where they are the same."""
        return combined((1, -1), self.terms)

    @property
    def solvable(self) -> tuple[str, str, int]:
        """What a control may solve: ID set, OOD set and b."""
        return *self.place[:2], self.key[2]


def paired(key: Key, place: Place, by_epoch: Mapping[int, Term], epoch: int, reference: int) -> Paired:
    """The AUROC at an epoch and at the reference."""
    return Paired(key, place, epoch, reference, (by_epoch[epoch], by_epoch[reference]))


def means_table(
    scores: Iterable[Scores],
    names: Mapping[str, str],
    chains: Chains,
    config: EvaluationConfig,
    solved: pd.DataFrame = NONE_SOLVED,
) -> pd.DataFrame:
    """One row a model, detector, batch size and epoch, columns MEANS_COLUMNS: means over all pairs and seeds.

    difference: the mean of AUROC(epoch) − AUROC(reference), the kept epoch of the lowest held-out bits/dim of each
    training among those at which the detector has scores; empty where the epoch is that of all. reference_epochs: these
    epochs, such as 8/16. saturated: pairs whose AUROC is at least SATURATED at both under every seed, which can hardly
    differ. names: the data set whose test images and seeds a data set shares, where it is called otherwise. solved:
    what controls.solved_pairs gives; where it holds some pairs, there is a second row over the others.
    """
    rows = [
        _row((*key, epoch), over, chosen, config)
        for key, places in terms_of(scores, names, config).items()
        for epoch, of_epoch in sorted(_by_epoch(key, places, chains).items())
        for over, chosen in overs(of_epoch, lambda one: one.solvable, solved)
    ]
    return pd.DataFrame(rows, columns=[*MEANS_COLUMNS])


def _by_epoch(key: Key, places: Mapping[Place, Mapping[int, Term]], chains: Chains) -> dict[int, list[Paired]]:
    found: dict[int, list[Paired]] = {}
    for place, by_epoch in places.items():
        reference = chains.of(place[0], key[0], place[2]).reference(by_epoch)
        for epoch in by_epoch:
            found.setdefault(epoch, []).append(paired(key, place, by_epoch, epoch, reference))
    return found


def _row(
    key: tuple[str, str, int, int], over: str, chosen: Sequence[Paired], config: EvaluationConfig
) -> dict[str, object]:
    differ = not all(one.same for one in chosen)
    return {
        **dict(zip(("model", "detector", "batch_size", "epoch"), key, strict=True)),
        "over": over,
        **sets(one.terms[0] for one in chosen),
        "saturated": _saturated(chosen),
        **bounds("auroc", [one.terms[0] for one in chosen], config.confidence, lowest=0),
        "reference_epochs": epochs_of(one.reference for one in chosen),
        **(bounds("difference", [one.difference for one in chosen], config.confidence) if differ else {}),
    }


def epochs_of(epochs: Iterable[int]) -> str:
    """Each epoch once.

    >>> epochs_of([16, 8, 16])
    '8/16'
    """
    return "/".join(map(str, sorted({*epochs})))


def _saturated(chosen: Sequence[Paired]) -> int:
    """How many pairs have an AUROC of at least SATURATED in all terms."""
    unsaturated = {one.place[:2] for one in chosen if min(each.value for each in one.terms) < SATURATED}
    return len({one.place[:2] for one in chosen} - unsaturated)


def means_summary(table: pd.DataFrame, margin: float = 0.02, controls: Sequence[str] = ()) -> str:
    """A line for each detector and batch size: the first trained epoch against the reference; "" of one epoch alone.

    margin: of EvaluationConfig. controls: detectors that read no trained model, and are left out.
    """
    table = table[~table["detector"].isin(controls)]
    trained = table[table["epoch"] >= 1].drop_duplicates(["model", "detector", "batch_size", "over"])
    rows = trained[trained["difference"].notna()]
    if rows.empty:
        return ""
    lines = [line for _, of_same in rows.groupby("over", sort=True) for line in _lines(of_same)]
    return "\n".join([*lines, "", *_property_of_the_score(rows, margin)])


def _lines(rows: pd.DataFrame) -> list[str]:
    several = rows.to_dict("records")
    return [*_headings(several), *map(_line, several)]


def _headings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    row, pairs = rows[0], sorted({row["pairs"] for row in rows})
    over = f"{' or '.join(map(str, pairs))} pairs" + (" that no control solves" if row["over"] == UNSOLVED else "")
    seeds = f"{row['seeds']} seeds" if row["seeds"] > 1 else f"1 seed, {ONE_SEED}"
    new = NO_NEW_SETS if math.isnan(row["difference_sets_low"]) else "then, after 'new', for data sets such as these"
    return [
        "Mean AUROC at the first trained epoch − at the kept one of the lowest held-out bits/dim,",
        f"over {over} of {row['sets']} sets;",
        f"{seeds}.",
        f"The intervals are for these data sets; {new}.",
    ]


def _property_of_the_score(rows: pd.DataFrame, margin: float) -> list[str]:
    """Whether scores agree on what the first trained epoch is against the reference, by intervals for these pairs."""
    lines = ["Is 'immature is enough' a property of the score? By these intervals, each by itself, the first epoch is:"]
    for (over, model, b), of_same in rows.groupby(["over", "model", "batch_size"]):
        verdicts: dict[str, list[str]] = {}
        for row in of_same.to_dict("records"):
            verdicts.setdefault(_verdict(row, margin), []).append(row["detector"])
        words = "; ".join(f"{word} for {len(names)} ({', '.join(names)})" for word, names in verdicts.items())
        lines.append(f"  {model}, b={b}, {over} pairs: {words}")
    return lines


def _verdict(row: Mapping[str, Any], margin: float) -> str:
    bounds_of = (row[f"difference{bound}"] for bound in BOUNDS[:3])
    return verdict(Estimate(*bounds_of), margin)


def _line(row: Mapping[str, Any]) -> str:
    change, low, high, new_low, new_high = (row[f"difference{bound}"] for bound in BOUNDS)
    new = "" if math.isnan(new_low) else f", new {interval(new_low, new_high)}"
    saturated = f"; {row['saturated']} of {row['pairs']} pairs saturated" if row["saturated"] else ""
    return (
        f"  {row['detector']}, {row['model']}, b={row['batch_size']}: {row['auroc']:.3f} (epoch {row['epoch']}) − "
        f"{row['auroc'] - change:.3f} ({row['reference_epochs']}) = {change:+.3f} {interval(low, high)}{new}{saturated}"
    )


def interval(low: float, high: float) -> str:
    """An interval of a difference in brackets, or that there is none.

    >>> interval(-0.0123, 0.2), interval(math.nan, math.nan)
    ('[-0.012, +0.200]', '(no interval)')
    """
    return "(no interval)" if math.isnan(low) else f"[{low:+.3f}, {high:+.3f}]"
