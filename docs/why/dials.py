"""AUROC of each changed set under each detector, straight from a study's features, for one ID set, model and seed.

    python docs/why/dials.py results/dials-rgb/features/cifar10/glow/seed=0 > docs/why/dials-rgb.csv

prints a row a set, detector, b and epoch whose features are there. (The workflow's own table is tables/dials.csv.)
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import immature_ood as ood
from immature_ood.features import load_features
from immature_ood.metrics import auroc

DETECTORS = ("gradient_norms", "gradient_norms_mahalanobis", "gradient_norms_knn", "likelihood", "typicality")


def rows(folder: Path) -> Iterator[tuple[str, str, int, int, float]]:
    """(set, detector, b, epoch, AUROC) of one checkpoint's features."""
    checkpoint, fit = load_features(folder / "fit.safetensors")
    test = {path.stem.removeprefix("test-"): load_features(path)[1] for path in sorted(folder.glob("test-*"))}
    own = test.pop(checkpoint.id_dataset)
    for name in DETECTORS:
        for b, features in fit.items():
            detector = ood.fit(name, features)
            normal = detector.score(own[b])
            for changed, others in test.items():
                yield changed, name, b, checkpoint.epoch, auroc(normal, detector.score(others[b]))


if __name__ == "__main__":
    found = [row for folder in sorted(Path(sys.argv[1]).glob("epoch=*")) for row in rows(folder)]
    table = pd.DataFrame(found, columns=["set", "detector", "batch_size", "epoch", "auroc"])
    table.sort_values([*table.columns[:-1]]).to_csv(sys.stdout, index=False, float_format="%.4f")
