"""What training a model buys the person with 1,000 images: detectors of `fit` under four models, over all pairs.

    python docs/first-answer/whose_model.py data > docs/first-answer/whose-model.csv

takes 1,000 training images of each set in data/ (docs/data.md), deals them as `immature-ood fit` does, and prints a row
a pair, b, detector and model with its AUROC on 500 test images of each set. Models: own, trained until `fit` stops;
own_12, for 12 passes; untrained; another, own of the next set of that shape by name. Detectors: that of `fit`, its two
parts, and the paper's.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from immature_ood import face, fitting
from immature_ood.density import DensityModel
from immature_ood.detector_file import NAME
from immature_ood.features import Features
from immature_ood.metrics import auroc

IMAGES, TEST, SIZES = 1000, 500, (1, 5)
DETECTORS = {
    "as in fit": fitting.DETECTOR,
    "statistics": fitting.DETECTOR["parts"]["statistics"],
    "neighbours": fitting.DETECTOR["parts"]["norms"],
    "paper": {"detector": "gradient_norms"},
}
EPOCHS = {"own": None, "own_12": 12, "untrained": 0}


def splits(file: Path) -> dict[str, np.ndarray]:
    """1,000 training images in the parts of fit, and 500 test images, drawn with the seed 0."""
    with np.load(file) as arrays:
        images, split = arrays["images"], arrays["split"]
    random = np.random.default_rng(0)
    mine = images[random.choice(np.flatnonzero(split == "train"), IMAGES, replace=False)]
    new = images[random.choice(np.flatnonzero(split == "test"), TEST, replace=False)]
    ends = np.cumsum([*fitting.sizes_of(IMAGES).values()])
    return {**dict(zip(("train", "fit", "test"), np.split(mine, ends[:-1]), strict=True)), "new": new}


def features(model: DensityModel, images: np.ndarray) -> dict[int, Features]:
    """By b, all that the detectors read of images (n, C, H, W) uint8."""
    needs = {each for asked in DETECTORS.values() for each in face.plug_in("detectors", asked).needs()}
    return face.extract(model, images, SIZES, statistics=sorted(needs), name=NAME)


def rows(sets: Mapping[str, Mapping[str, np.ndarray]]) -> list[tuple[object, ...]]:
    """(id, ood, b, detector, model, AUROC) of sets of one shape."""
    models, found = {}, []
    for name, parts in sets.items():
        for kind, epochs in EPOCHS.items():
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as work:
                fitted = fitting.fit(fitting.parts_of(parts), fitting.Recipe(epochs=epochs), Path(work))
            models[name, kind] = fitted.model
            said = f"{name} {kind}: {fitted.card['training'][-1]['epoch']} passes, {time.monotonic() - began:.0f} s"
            print(said, file=sys.stderr, flush=True)
    names = sorted(sets)
    for place, name in enumerate(names):
        whose = {kind: models[name, kind] for kind in EPOCHS}
        whose["another"] = models[names[(place + 1) % len(names)], "own"]
        for kind, model in whose.items():
            known = features(model, sets[name]["fit"])
            seen = {other: features(model, sets[other]["new"]) for other in names}
            for (label, asked), b in itertools.product(DETECTORS.items(), SIZES):
                detector = face.fit(asked, known[b])
                scores = {other: detector.score(seen[other][b]) for other in names}
                found += [
                    (name, other, b, label, kind, auroc(scores[name], scores[other]))
                    for other in names
                    if other != name
                ]
    return found


def main(folder: Path) -> None:
    """Prints the table."""
    sets = {file.stem: splits(file) for file in sorted(folder.glob("*.npz"))}
    shapes = {each["new"].shape[1:] for each in sets.values()}
    alike = [{n: each for n, each in sets.items() if each["new"].shape[1:] == shape} for shape in sorted(shapes)]
    found = [row for group in alike for row in rows(group)]
    table = pd.DataFrame(found, columns=["id", "ood", "batch_size", "detector", "model", "auroc"])
    table.to_csv(sys.stdout, index=False, float_format="%.4f")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
