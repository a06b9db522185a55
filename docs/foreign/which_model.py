"""Must the model have seen the ID set? Which other set's model is good for it, and can a rule tell by ID images alone?

    python docs/foreign/which_model.py results/paper-small-rgb > docs/foreign/which-rgb.csv
    python docs/foreign/which_model.py results/paper-small-grey-noise noise > docs/foreign/which-grey-noise.csv

reads features of the fit images of each set B under the model of each set A (a study with docs/foreign/rgb.yaml or a
like overlay extracts them), fits detectors on them and tells each C from B. The rules choose among the A that are
neither B nor C. A row a detector, b, epoch, B (or all) and rule. auroc: the mean over pairs (B, C) and seeds.
minus_own and minus_third: its difference to B's own model and to the mean over those A, with 95 % intervals, of one
seed for other test images under these models, of several for other seeds too (see immature_ood.means). One model
serves many B, so that it is seeds as wholes that are independent, not what they do to each B.

own: B's model. third: the mean over A. of C: C's model. The rules: lowest and highest bits/dim of B's fit images,
highest effective rank of their log norms (Roy & Vetterli 2007), largest spread of these. Controls: elsewhere, the A
that does best in the mean for the other B; best, by the test images, which nobody has. Sets that are named behind the
folder are only trained on, and no B, C or third set: a row of that name has their model.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import immature_ood as ood
from immature_ood.epoch_rules.effective_rank import effective_rank
from immature_ood.features import Features, load_features
from immature_ood.means import Term, combined, mean_of_these_pairs, term

DETECTORS = ("gradient_norms", "gradient_norms_mahalanobis", "gradient_norms_knn")
Pair = tuple[str, str]
ALL = "all"


def bits_per_dim(known: Features) -> float:
    """Of the fit images, the mean."""
    return float(-known.statistics["log_prob"].mean() / known.dimensions / np.log(2))


def log_norms(known: Features) -> np.ndarray:
    """(groups, layers) of layers that have a gradient."""
    norms = known.statistics["log_norms"]
    return norms[:, np.isfinite(norms).all(0)]


RULES: Mapping[str, Callable[[Features], float]] = {
    "lowest bits/dim": lambda known: -bits_per_dim(known),
    "highest bits/dim": bits_per_dim,
    "highest effective rank": lambda known: effective_rank(log_norms(known)),
    "largest spread": lambda known: float(log_norms(known).std(0).mean()),
}


class Seen:
    """What is known at one epoch of one seed, detector and b: terms by A and (B, C), and B's fit images by A and B."""

    def __init__(self) -> None:
        self.terms: dict[str, dict[Pair, Term]] = defaultdict(dict)
        self.known: dict[tuple[str, str], Features] = {}
        self.only_trained_on: list[str] = []

    def thirds(self, pair: Pair) -> list[str]:
        """The A that are neither set of a pair."""
        return [a for a in self.terms if a not in (*pair, *self.only_trained_on) and pair in self.terms[a]]

    def pairs(self) -> list[Pair]:
        """Those that a third set's model has seen."""
        found = next(iter(self.terms.values()))
        return [pair for pair in found if not {*pair} & {*self.only_trained_on} and self.thirds(pair)]

    def by(self, rule: str, pair: Pair) -> Term:
        """The term of a pair under the model that a rule chooses."""
        own, others = pair[0], self.thirds(pair)
        if rule == "own" or rule in self.only_trained_on:
            return self.terms[own if rule == "own" else rule][pair]
        if rule == "of C":
            return self.terms[pair[1]][pair]
        if rule == "third":
            return combined([1 / len(others)] * len(others), [self.terms[a][pair] for a in others])
        if rule == "best":
            return max((self.terms[a][pair] for a in others), key=lambda found: found.value)
        if rule == "elsewhere":
            return self.terms[max(others, key=lambda a: self.elsewhere(a, own))][pair]
        return self.terms[max(others, key=lambda a: RULES[rule](self.known[a, own]))][pair]

    def elsewhere(self, a: str, left_out: str) -> float:
        """The mean AUROC of A's model over pairs of other ID sets."""
        found = [
            each.value
            for (b, c), each in self.terms[a].items()
            if a not in (b, c) and b != left_out and not {b, c} & {*self.only_trained_on}
        ]
        return float(np.mean(found))


def seen(folders: list[Path]) -> Iterator[tuple[tuple[str, int, int, int], Seen]]:
    """By (detector, b, epoch, seed)."""
    found: dict[tuple[str, int, int, int], Seen] = defaultdict(Seen)
    for folder in folders:
        checkpoint, own = load_features(folder / "fit.safetensors")
        fits = {path.stem.removeprefix("fit-"): load_features(path)[1] for path in sorted(folder.glob("fit-*"))}
        tests = {path.stem.removeprefix("test-"): load_features(path)[1] for path in sorted(folder.glob("test-*"))}
        for dataset, known in {**fits, checkpoint.id_dataset: own}.items():
            for b, features in known.items():
                for name in DETECTORS:
                    detector = ood.fit(name, features)
                    scores = {test: detector.score(given[b]) for test, given in tests.items()}
                    place = found[name, b, checkpoint.epoch, checkpoint.seed]
                    place.known[checkpoint.id_dataset, dataset] = features
                    for other in (test for test in tests if test != dataset):
                        units = tests[dataset][b].units, tests[other][b].units
                        place.terms[checkpoint.id_dataset][dataset, other] = term(
                            (dataset, other), checkpoint.seed, (scores[dataset], scores[other]), units
                        )
    yield from found.items()


def rows(results: Path, only_trained_on: list[str]) -> Iterator[dict[str, object]]:
    """A row a detector, b, epoch and rule, of the seeds in which every set's fit images are seen by every model."""
    folders = sorted(results.glob("features/*/*/seed=*/epoch=*"))
    whole = [folder for folder in folders if len([*folder.glob("fit-*")]) == len([*folder.glob("test-*")]) - 1]
    by_place: dict[tuple[str, int, int], list[Seen]] = defaultdict(list)
    for (name, b, epoch, _), one in seen(whole):
        one.only_trained_on = only_trained_on
        if len(one.terms) > 2 and {b for seen_by in one.terms.values() for b, _ in seen_by} <= {*one.terms}:
            by_place[name, b, epoch].append(one)
    for (name, b, epoch), seeds in sorted(by_place.items()):
        place = {"detector": name, "batch_size": b, "epoch": epoch, "seeds": len(seeds)}
        cases = [(one, pair) for one in seeds for pair in one.pairs()]
        for dataset in (ALL, *sorted({pair[0] for _, pair in cases})):
            of_set = [(one, pair) for one, pair in cases if dataset in (ALL, pair[0])]
            for rule in ("own", "third", "of C", *only_trained_on, *RULES, "elsewhere", "best"):
                yield {**place, "id_dataset": dataset, "rule": rule, **compared(of_set, rule)}


def compared(cases: list[tuple[Seen, Pair]], rule: str) -> dict[str, float]:
    """The mean AUROC under the models that a rule chooses, and its differences to B's own model and to the thirds'."""
    chosen = [one.by(rule, pair) for one, pair in cases]
    row: dict[str, float] = {"pairs": len(cases), "auroc": mean_of_these_pairs(chosen).value}
    for control in ("own", "third"):
        other = [one.by(control, pair) for one, pair in cases]
        differences = [combined([1, -1], both) for both in zip(chosen, other, strict=True)]
        gained = mean_of_these_pairs([replace(each, pair=("any", each.pair[1])) for each in differences])
        row |= {f"minus_{control}": gained.value, f"minus_{control}_low": gained.low}
        row |= {f"minus_{control}_high": gained.high}
    return row


if __name__ == "__main__":
    pd.DataFrame(rows(Path(sys.argv[1]), sys.argv[2:])).to_csv(sys.stdout, index=False, float_format="%.4f")
