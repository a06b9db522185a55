"""What a detector gains by its model having been trained on the ID set: own model minus others', over epochs.

A study with docs/foreign/grey.yaml (or a like overlay) has detectors <base>_under_<A>: fitted on the fit images of the
ID set B as the model of A sees them. Here they are set beside <base> under B's own model, for the pairs (B, C).

    python docs/foreign/own_minus_foreign.py results/paper-small-grey > docs/foreign/grey.csv

prints a row a base detector, b, epoch and kind of A: `neither`, A is neither B nor C, `ood`, A is C. own, foreign: mean
AUROC over pairs, of others' models the mean over A first; difference: own − foreign with its 95 % interval for other
test images of these sets under these models, those of one set resampled together (see immature_ood.means); of several
seeds for other ones too, as wholes, since one model serves many B.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from immature_ood.means import Term, combined, mean_of_these_pairs, term
from immature_ood.scores import Scores, load_scores

BASES = {"norms": "gradient_norms", "mahalanobis": "gradient_norms_mahalanobis", "neighbours": "gradient_norms_knn"}


def of_pair(scores: Scores, detector: str, b: int, ood: str) -> Term:
    """The AUROC of a detector on one pair."""
    own = scores.checkpoint.id_dataset
    values = scores.of(detector, b, own), scores.of(detector, b, ood)
    return term((own, ood), scores.checkpoint.seed, values, (scores.units_of(b, own), scores.units_of(b, ood)))


def rows(results: Path) -> Iterator[dict[str, object]]:
    """A row a base detector, b, epoch and kind of A."""
    found = [load_scores(path) for path in sorted(results.glob("scores/*/*/seed=*/epoch=*/scores.safetensors"))]
    for epoch in sorted({scores.checkpoint.epoch for scores in found}):
        here = [scores for scores in found if scores.checkpoint.epoch == epoch]
        for base, detector in BASES.items():
            for b in sorted({b for scores in here for _, b in scores.dead_layers}):
                for kind in ("neither", "ood"):
                    pairs = [each for scores in here for each in terms(scores, base, detector, b, kind)]
                    if not pairs:
                        continue  # an epoch that was not scored so
                    own, foreign, difference = zip(*pairs, strict=True)
                    gained = mean_of_these_pairs([replace(each, pair=("any", each.pair[1])) for each in difference])
                    yield {
                        **{
                            "detector": detector,
                            "batch_size": b,
                            "epoch": epoch,
                            "trained_on": kind,
                            "pairs": len(pairs),
                        },
                        **{"own": mean_of_these_pairs(own).value, "foreign": mean_of_these_pairs(foreign).value},
                        **{"difference": gained.value, "low": gained.low, "high": gained.high},
                    }


def terms(scores: Scores, base: str, detector: str, b: int, kind: str) -> Iterator[tuple[Term, Term, Term]]:
    """(own, foreign, own − foreign) of each pair of one ID set."""
    prefix = f"{base}_under_"
    trained = [name.removeprefix(prefix) for name, size in scores.dead_layers if size == b and name.startswith(prefix)]
    for ood in scores.ood_datasets:
        others = [a for a in trained if (a == ood) == (kind == "ood")]
        if others:
            own = of_pair(scores, detector, b, ood)
            foreign = [of_pair(scores, f"{base}_under_{a}", b, ood) for a in others]
            mean = combined([1 / len(others)] * len(others), foreign)
            yield own, mean, combined([1, -1], [own, mean])


if __name__ == "__main__":
    pd.DataFrame(rows(Path(sys.argv[1]))).to_csv(sys.stdout, index=False, float_format="%.4f")
