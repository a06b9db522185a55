"""What `immature-ood score` costs beside the engine that it scores by: writes benchmarks/results/command.csv.

The engine (norms of the layers that the detector reads, in chunks as extraction makes them, images already tensors),
the detector on an array, and the command on a .npy file and on a folder of PNG files take turns, round by round, on one
thread, by process CPU time, without the start of Python. Memory is the peak of processes of their own.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from run import interleaved, machine

from immature_ood import fitting, runtime
from immature_ood.cli.score import Job, _score
from immature_ood.cli.writing import Format
from immature_ood.detector_file import ImageDetector
from immature_ood.gradients import make_engine

HERE = Path(__file__).parent
SHAPES = {"grey, 28×28": (1, 28, 28), "colour, 32×32": (3, 32, 32)}
IMAGES, FITTED, CHUNK = 1000, 1000, 100
# A process of the command, which prints the most memory that it had.
PEAK = """
from immature_ood.cli import main
from immature_ood.costs import peak_memory
try:
    main()
finally:
    print(peak_memory())
"""


def images(shape: tuple[int, int, int], number: int, seed: int = 0) -> np.ndarray:
    """(number, *shape) uint8, smooth: sums of noise along rows, so that a model has something to learn."""
    steps = np.random.default_rng(seed).normal(0, 12, (number, *shape))
    return (np.cumsum(steps, axis=3) + 128).clip(0, 255).astype(np.uint8)


def detector_of(shape: tuple[int, int, int], work: Path) -> ImageDetector:
    """As `fit` makes it by default, but of one pass."""
    sizes = fitting.sizes_of(FITTED)
    parts = np.split(images(shape, FITTED), np.cumsum([*sizes.values()])[:-1])
    splits = dict(zip(sizes, parts, strict=True))
    return fitting.fit(fitting.parts_of(splits), fitting.Recipe(epochs=1), work)


def methods(detector: ImageDetector, folder: Path) -> dict[str, Callable[[], object]]:
    """What takes turns, each of IMAGES new images."""
    new = images(detector.shape, IMAGES, seed=1)
    layers = "all" if detector.reads.reads_weights() else "without_weights"
    engine = make_engine(detector.model, None, detector.model.scored_by[0], layers)
    x = detector.model.taken(torch.from_numpy(new).float().add(0.5).div(256))

    def norms() -> None:
        for start in range(0, IMAGES, CHUNK):
            engine(x[start : start + CHUNK], [1], None)

    file, pictures = folder / "new.npy", folder / "new"
    np.save(file, new)
    pictures.mkdir()
    for number, image in enumerate(new):
        Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)).save(pictures / f"{number:04}.png")
    return {
        "the engine": norms,
        "the detector, of an array": partial(detector.score, new),
        "the command, of a .npy file": partial(command, detector, file, folder),
        "the command, of PNG files": partial(command, detector, pictures, folder),
    }


def command(detector: ImageDetector, data: Path, folder: Path) -> None:
    """What `immature-ood score` does once the detector is there."""
    _score(Job(detector, 0.05, 1, by_folder=False), [str(data)], folder, folder / "scores.csv", Format.CSV)


def rows(name: str, rounds: int) -> Iterator[dict[str, object]]:
    """One of each method, with its share and quartiles over rounds, and one of memory for each number of images."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        detector = detector_of(SHAPES[name], folder / "work")
        detector.save(folder / "a.iood")
        seconds = interleaved(methods(detector, folder), rounds)
        for method, taken in seconds.items():
            share = seconds["the engine"] / taken
            yield {
                "images": name,
                "method": method,
                "milliseconds_an_image": 1000 * float(np.median(taken)) / IMAGES,
                "share_of_the_engine": float(np.median(share)),
                "share_low": float(np.quantile(share, 0.25)),
                "share_high": float(np.quantile(share, 0.75)),
            }
        for number in (1000, 20000):
            np.save(folder / "many.npy", images(SHAPES[name], number, seed=2))
            yield {"images": name, "method": f"peak MiB, {number:,} images of a .npy", "mib": peak(folder)}


def peak(folder: Path) -> float:
    """MiB that a process of the command has at most, pages of the .npy file that it maps among them."""
    given = ["score", str(folder / "a.iood"), str(folder / "many.npy"), "--out", str(folder / "scores.csv")]
    done = subprocess.run([sys.executable, "-c", PEAK, *given], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    runtime.prepare(1)
    table = pd.DataFrame([{**row, **machine()} for name in SHAPES for row in rows(name, rounds)])
    table.to_csv(HERE / "results/command.csv", index=False, float_format="%.4g")
    print(table[["images", "method", "milliseconds_an_image", "share_of_the_engine", "mib"]].to_string())


if __name__ == "__main__":
    main()
