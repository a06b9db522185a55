"""Which density of the layers' norms wins on a pair: does the common mode of all layers tell it apart?

The log norms of layers rise and fall together. Their first principal component over the fit set, the common mode, holds
.4 to .6 of the variance. One Gaussian a layer is a sum of squares over layers, to which the common mode gives its part
once for each of them; the distance to neighbours or Mahalanobis's counts it once. So the first should win where an OOD
set differs in the common mode, and the others where it differs in what is left.

    python docs/detectors/what_decides.py results/real-rgb 16 > docs/detectors/what-decides-real-rgb.csv

prints a row a pair, seed and b: AUROC of the paper's score (one), of the distance to the 5th neighbour (neighbours), of
Mahalanobis's with shrinkage (mahalanobis), of the square of the common mode alone (common), of Mahalanobis's in all
other components (rest), and the mode's share of the variance. To stderr: over pairs, the rank correlation of what the
two gain on the first with common and with rest.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.covariance import LedoitWolf

from immature_ood.evaluation import auroc
from immature_ood.features import Features, load_features

NEIGHBOUR = 5


def rows_of(run: Path) -> Iterator[dict[str, object]]:
    """Of the folder of one checkpoint's features, a row an OOD set and b."""
    checkpoint, fit = load_features(run / "fit.safetensors")
    tests = {path.stem.removeprefix("test-"): load_features(path)[1] for path in sorted(run.glob("test-*.safetensors"))}
    for b, of_fit in fit.items():
        parts, share = scores(of_fit, {name: test[b] for name, test in tests.items()})
        own = parts.pop(checkpoint.id_dataset)
        for name, of_ood in parts.items():
            yield {
                **{"id_dataset": checkpoint.id_dataset, "ood_dataset": name, "seed": checkpoint.seed, "batch_size": b},
                **{score: auroc(own[score], of_ood[score]) for score in own},
                "share": share,
            }


def scores(fit: Features, tests: dict[str, Features]) -> tuple[dict[str, dict[str, np.ndarray]], float]:
    """By test set and name of a score, (G,) float64; and the share of the variance that the common mode has."""
    alive = np.isfinite(fit.log_norms).all(axis=0)
    alive[alive] = fit.log_norms[:, alive].std(axis=0) > 0
    x = fit.log_norms[:, alive].astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / deviation
    _, spread, modes = np.linalg.svd(z, full_matrices=False)
    whole, rest = LedoitWolf().fit(z), LedoitWolf().fit(z @ modes[1:].T)

    def of(test: Features) -> dict[str, np.ndarray]:
        v = (np.maximum(test.log_norms[:, alive], -1e6) - mean) / deviation
        return {
            "one": (v**2).sum(axis=1),
            "neighbours": np.sort(cdist(v, z), axis=1)[:, NEIGHBOUR - 1],
            "mahalanobis": whole.mahalanobis(v),
            "common": (v @ modes[0]) ** 2,
            "rest": rest.mahalanobis(v @ modes[1:].T),
        }

    return {name: of(test) for name, test in tests.items()}, float(spread[0] ** 2 / (spread**2).sum())


def main(results: str, epoch: str) -> None:
    """Prints the table of all ID sets and seeds at one epoch."""
    runs = sorted(Path(results, "features").glob(f"*/glow/seed=*/epoch={epoch}"))
    table = pd.DataFrame([row for run in runs for row in rows_of(run)])
    table.to_csv(sys.stdout, index=False, float_format="%.4f")
    for b, rows in table.groupby("batch_size"):
        pairs = rows.groupby(["id_dataset", "ood_dataset"])[
            ["one", "neighbours", "mahalanobis", "common", "rest"]
        ].mean()
        for name in ("neighbours", "mahalanobis"):
            gain = pairs[name] - pairs["one"]
            found = ", ".join(f"{part} {spearmanr(gain, pairs[part])[0]:+.2f}" for part in ("common", "rest"))
            print(f"b={b}, {len(pairs)} pairs: {name} − one a layer, rank correlation with {found}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
