"""How few images of the ID set does a detector need to be fitted on?

    python docs/paper-small/few.py results/paper-small-rgb > docs/paper-small/few-rgb.csv

fits detectors on disjoint parts of each checkpoint's fit images, at most 10 of each size, and prints a row a detector,
b, number of images and epoch: auroc, the mean over parts of the mean over pairs, and deviation, the standard deviation
of that mean between parts, of which a part of all images has none.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import immature_ood as ood
from immature_ood.features import Features, load_features
from immature_ood.metrics import auroc

DETECTORS = ("gradient_norms", "gradient_norms_mahalanobis", "gradient_norms_knn", "likelihood", "typicality")
SIZES = (50, 100, 200, 500, 1000)
PARTS = 10


def parts(features: Features, size: int) -> Iterator[Features]:
    """Disjoint ones, each of `size` images."""
    groups = size // features.batch_size
    for part in range(min(PARTS, len(features.units) // groups)):
        yield features.taken(np.arange(part * groups, (part + 1) * groups))


def rows_of(folder: Path) -> Iterator[dict[str, object]]:
    """AUROC of each pair of one checkpoint, for each detector, b, size and part."""
    checkpoint, fit = load_features(folder / "fit.safetensors")
    test = {path.stem.removeprefix("test-"): load_features(path)[1] for path in sorted(folder.glob("test-*"))}
    for b, held_out in fit.items():
        own = test[checkpoint.id_dataset][b]
        for name in DETECTORS:
            for size in (size for size in SIZES if size <= held_out.images.size):
                for part, given in enumerate(parts(held_out, size)):
                    detector = ood.fit(name, given)
                    normal = detector.score(own)
                    for other in (other for other in test if other != checkpoint.id_dataset):
                        value = auroc(normal, detector.score(test[other][b]))
                        place = (name, b, size, checkpoint.epoch, part)
                        yield dict(zip(("detector", "b", "images", "epoch", "part"), place, strict=True), auroc=value)


def main(results: Path) -> None:
    """Prints the table."""
    rows = [row for folder in sorted(results.glob("features/*/*/seed=*/epoch=*")) for row in rows_of(folder)]
    place = ["detector", "b", "images", "epoch"]
    means = pd.DataFrame(rows).groupby([*place, "part"])["auroc"].mean()
    of_parts = means.groupby(level=place)
    table = pd.DataFrame({"parts": of_parts.size(), "auroc": of_parts.mean(), "deviation": of_parts.std()})
    table.reset_index().to_csv(sys.stdout, index=False, float_format="%.4f")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
