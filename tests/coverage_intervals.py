"""How often the intervals of one comparison hold the truth, by simulation.

`python tests/coverage_intervals.py` prints the tables of docs/coverage-intervals.md. Nothing here is a test;
test_intervals.py asserts what the document says.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import numpy as np
from scipy import optimize, stats

from immature_ood import intervals
from immature_ood.intervals import Units
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
AUROCS = (0.55, 0.75, 0.95, 0.995, 0.9995)
METRICS = ("auroc", "aupr", "fpr95")
FINE = (np.arange(200_000) + 0.5) / 200_000  # quantiles, for integrals over the OOD scores


@dataclass(frozen=True)
class Shape:
    """The distributions of ID and OOD scores, by their quantile and survival functions of a shift or scale."""

    name: str
    id: stats.rv_continuous
    ood: Callable[[float], stats.rv_continuous]
    largest: float

    def distributions(self, auroc: float):
        """Of ID and OOD scores."""
        return self.id, self.ood(_solved(self, auroc))

    def auroc(self, parameter: float) -> float:
        """P(OOD > ID), by quadrature."""
        return float(self.id.cdf(self.ood(parameter).ppf(FINE)).mean())

    def truth(self, auroc: float) -> dict[str, float]:
        """The metrics of all scores there are, with as many ID as OOD."""
        of_id, of_ood = self.distributions(auroc)
        false, true = of_id.sf(of_ood.ppf(FINE)), 1 - FINE
        return {"auroc": auroc, "aupr": (true / (true + false)).mean(), "fpr95": of_id.sf(of_ood.ppf(0.05))}


@cache
def _solved(shape: Shape, auroc: float) -> float:
    return optimize.brentq(lambda parameter: shape.auroc(parameter) - auroc, 1e-9, shape.largest, xtol=1e-12)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("normal", stats.norm(), lambda shift: stats.norm(shift), 10),
        Shape("normal, OOD twice as wide", stats.norm(), lambda shift: stats.norm(shift, 2), 20),
        Shape("normal, ID twice as wide", stats.norm(0, 2), lambda shift: stats.norm(shift), 20),
        Shape("exponential", stats.expon(), lambda scale: stats.expon(scale=scale), 1e5),
        Shape("Student, 3 degrees", stats.t(3), lambda shift: stats.t(3, shift), 100),
    )
}


def latent(generator: np.random.Generator, repeats: int, numbers: np.ndarray, within: float) -> np.ndarray:
    """(repeats, n) standard normal; groups of one unit (numbers (n,) from 0) correlate by `within`."""
    shared = generator.normal(size=(repeats, numbers.max() + 1))[:, numbers]
    return np.sqrt(within) * shared + np.sqrt(1 - within) * generator.normal(size=shared.shape)


def unequal(generator: np.random.Generator, units: int, groups: int) -> np.ndarray:
    """(groups,) the unit of each group; sizes differ by the ten and more, none is empty."""
    shares = generator.exponential(size=units)
    return np.concatenate([np.arange(units), generator.choice(units, groups - units, p=shares / shares.sum())])


@dataclass(frozen=True)
class Setting:
    """What is simulated: groups on each side, in units (0: each its own) that correlate by `within`."""

    groups: int
    units: int = 0
    within: float = 0.0

    def numbers(self, generator: np.random.Generator) -> np.ndarray:
        """(groups,) the unit of each group."""
        return unequal(generator, self.units, self.groups) if self.units else np.arange(self.groups)


def single(shape: Shape, auroc: float, setting: Setting, repeats: int, evaluate=intervals.evaluate):
    """By metric: the coverage, the mean width and the share of repeats with an interval of no width."""
    truth, held = shape.truth(auroc), {metric: [] for metric in METRICS}
    for pair, units in _drawn(shape, [auroc], 0.0, setting, repeats):
        estimates = _called(evaluate, *pair[0], units=units)
        for metric in METRICS:
            held[metric].append(_held(estimates[metric], truth[metric]))
    return {metric: np.mean(rows, axis=0) for metric, rows in held.items()}


def paired(shape, aurocs, correlation, setting, repeats, auroc_difference=intervals.auroc_difference):
    """The coverage, the mean width and the share of no width, of a paired difference of two AUROCs."""
    truth = aurocs[0] - aurocs[1]
    drawn = _drawn(shape, aurocs, correlation, setting, repeats)
    return np.mean([_held(_called(auroc_difference, *pairs, units=units), truth) for pairs, units in drawn], axis=0)


def _drawn(shape: Shape, aurocs, correlation: float, setting: Setting, repeats: int) -> Iterable:
    """Pairs of ID and OOD scores, one for each AUROC, and the units."""
    generator = np.random.default_rng([setting.groups, setting.units])
    numbers = [setting.numbers(generator) for _ in range(2)]
    first = [latent(generator, repeats, each, setting.within) for each in numbers]
    noise = [latent(generator, repeats, each, setting.within) for each in numbers]
    second = [correlation * z + np.sqrt(1 - correlation**2) * e for z, e in zip(first, noise, strict=True)]
    scores = [
        [distribution.ppf(stats.norm.cdf(z)) for distribution, z in zip(shape.distributions(auroc), zs, strict=True)]
        for auroc, zs in zip(aurocs, (first, second), strict=False)
    ]
    units = Units.numbered(*numbers) if setting.units else None
    return (([(of_id[r], of_ood[r]) for of_id, of_ood in scores], units) for r in range(repeats))


def _held(estimate, truth: float) -> tuple[bool, float, bool]:
    return estimate.low <= truth <= estimate.high, estimate.high - estimate.low, estimate.high == estimate.low


def _called(function, *arguments, units):
    return function(*arguments, CONFIG, units) if units else function(*arguments, CONFIG)


# The document ---------------------------------------------------------------------------------------------------------


def metrics_tables(repeats, evaluate=intervals.evaluate):
    """Of one metric, each group its own unit: the coverage, and in brackets the mean width."""
    for groups, shape in product((100, 500), SHAPES.values()):
        print(f"\n{shape.name}, n = m = {groups}\n\n| AUROC | {' | '.join(METRICS)} |\n|---|---|---|---|")
        for auroc in AUROCS:
            found = single(shape, auroc, Setting(groups), repeats, evaluate)
            print(f"| {auroc} | {' | '.join(map(_cell, found.values()))} |", flush=True)


def paired_tables(repeats, auroc_difference=intervals.auroc_difference):
    """Of paired differences of normal scores that correlate."""
    correlations = (0.0, 0.5, 0.9)
    for groups in (100, 500):
        print(f"\nn = m = {groups}\n\n| AUROCs | {' | '.join(map(str, correlations))} |\n|---|---|---|---|")
        for aurocs in [*zip(AUROCS, AUROCS, strict=True), *pairwise(AUROCS)]:
            rows = (
                paired(SHAPES["normal"], aurocs, correlation, Setting(groups), repeats, auroc_difference)
                for correlation in correlations
            )
            print(f"| {aurocs[0]}, {aurocs[1]} | {' | '.join(map(_cell, rows))} |", flush=True)


def units_tables(repeats):
    """Of normal scores of 500 groups in unequal units."""
    for units, within in product((15, 77), (0.1, 0.5)):
        print(f"\n{units} units, correlation {within}\n\n| AUROC | {' | '.join(METRICS)} |\n|---|---|---|---|")
        for auroc in AUROCS:
            found = single(SHAPES["normal"], auroc, Setting(500, units, within), repeats)
            print(f"| {auroc} | {' | '.join(map(_cell, found.values()))} |", flush=True)


def _cell(found):
    held, width, _ = found
    return f"{held:.3f} [{width:.4f}]"


if __name__ == "__main__":
    metrics_tables(1500)
    paired_tables(600)
    units_tables(600)
