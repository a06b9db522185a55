"""From a folder of pictures to a verdict on new ones, by the command alone: wall time, AUROC, false alarms.

    python docs/first-answer/pictures.py WORK --data data > docs/first-answer/pictures.csv

writes images as PNG files into the folder WORK, runs `immature-ood fit` and `immature-ood score` on them as anyone
would, and prints a row a task. What is mixed for `score`, 500 images that belong and 500 that do not, is in one folder;
their names say which is which to this script, not to the command. FashionMNIST and colour images are read from data/
(docs/data.md), the rest comes with the packages.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import binomtest

import immature_ood as ood
from immature_ood import datasets
from immature_ood.cli.pictures import source_of
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.storage import load_split

NEW = 500
TASKS = {  # ID, its images for fit, OOD
    "digits": ("digits", 1000, "glyphs"),
    "clothes": ("fashion_mnist", 2000, "mnist"),
    "clothes, near": ("fashion_mnist", 2000, "kmnist"),
    "photographs": ("cifar10", 2000, "svhn"),
    "photographs, near": ("cifar10", 2000, "tiny_imagenet"),
    "house numbers": ("svhn", 2000, "cifar10"),
}


def packaged(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """So many training images of a set that comes with a package, and NEW others."""
    image = ImageConfig(channels=1, side=28)
    with tempfile.TemporaryDirectory() as folder:
        config = source_of(name, {"train": size, "fit": 0, "test": NEW})
        datasets.make("images", config, image, folder, Path("data"))
        train, test = (load_split(Path(folder, f"{split}.npy"), image.check)[:] for split in ("train", "test"))
    return train, test


def images(name: str, size: int, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """So many images of a set to fit on, and NEW others, drawn with the seed 0."""
    file = data / f"{name}.npz"
    if not file.exists():
        return packaged(name, size)
    with np.load(file) as arrays:
        found, split = arrays["images"], arrays["split"]
    random = np.random.default_rng(0)
    return tuple(
        found[random.choice(np.flatnonzero(split == part), number, replace=False)]
        for part, number in (("train", size), ("test", NEW))
    )


def write(images: np.ndarray, folder: Path, stem: str) -> None:
    """Each image (C, H, W) as a PNG file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{stem}_{number:04}.png")


def command(*words: object) -> float:
    """Runs immature-ood; returns wall seconds."""
    began = time.monotonic()
    subprocess.run(["immature-ood", *map(str, words)], check=True, stdout=sys.stderr)
    return time.monotonic() - began


def row(task: str, work: Path, data: Path) -> dict[str, object]:
    """What one task gave."""
    name, size, other = TASKS[task]
    mine, new = images(name, size, data)
    _, odd = images(other, NEW, data)
    folder = work / task.replace(", ", "_").replace(" ", "_")
    write(mine, folder / "mine", "image")
    write(new, folder / "new", "belongs")
    write(odd, folder / "new", "odd")
    detector, table = folder / "mine.iood", folder / "scores.csv"
    fit = command("fit", folder / "mine", "--out", detector)
    score = command("score", detector, folder / "new", "--out", table, "--sheet", folder / "sheet.png")
    scores = pd.read_csv(table)
    belongs = scores.path.str.contains("belongs")
    found = ood.auroc(scores.score[belongs], scores.score[~belongs])
    alarms = scores.verdict[belongs] == "odd"
    interval = binomtest(int(alarms.sum()), len(alarms)).proportion_ci(method="exact")
    return {
        **{"task": task, "id": name, "images": size, "ood": other, "fit_seconds": fit, "score_seconds": score},
        **{"auroc": found.value, "auroc_low": found.low, "auroc_high": found.high},
        **{"false_alarms": alarms.mean(), "false_alarms_low": interval.low, "false_alarms_high": interval.high},
        "odd_found": (scores.verdict[~belongs] == "odd").mean(),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    asked = parser.parse_args()
    table = pd.DataFrame([row(task, asked.work, asked.data) for task in TASKS])
    table.to_csv(sys.stdout, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
