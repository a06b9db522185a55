"""Animals and vehicles: CIFAR-10 (Krizhevsky 2009), 50,000 training and 10,000 test images, 32×32, in colour.

Read from the binary version, so that nothing that was downloaded is unpickled. Classes are called by name or number,
and "animals" or "vehicles".
"""

import math
import tarfile
from pathlib import Path

import numpy as np

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import readable
from immature_ood.datasets._pools import of_arrays
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["CLASSES", "FILES", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 50_000, "test": 10_000}
FILES = {
    "images": Download(
        file="cifar-10-binary.tar.gz",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        checksum="md5:c32a1d4ab5d03f1284b67883e8d87530",
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        size=170_052_171,
    ),
}
FOLDER = "cifar-10-batches-bin"  # in the archive
MEMBERS = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
SHAPE = (3, 32, 32)
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VEHICLES = ("airplane", "automobile", "ship", "truck")
CLASSES = tuple((name, "vehicles" if name in VEHICLES else "animals", str(number)) for number, name in enumerate(NAMES))


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file in the archive>#<row>"."""
    path = find(FILES["images"], data_dir / "cifar10")

    def open_pool(part: str) -> Pool:
        batches = _read(path, MEMBERS[part])
        pixels = {member: records[:, 1:].reshape(-1, *SHAPE) for member, records in batches.items()}
        labels = [CLASSES[number] for records in batches.values() for number in records[:, 0].tolist()]
        return of_arrays(pixels, "binary", image, labels)

    return deal_official(open_pool, image, config)


def _read(path: Path, members: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The records of each file in the archive, (N, 1 + 3·32·32) uint8: a class, then an image."""
    batches = {}
    with readable(path), tarfile.open(path, "r:gz") as archive:
        for member in members:
            file = archive.extractfile(f"{FOLDER}/{member}")
            records = np.frombuffer(file.read() if file else b"", np.uint8)
            batches[member] = records.reshape(-1, 1 + math.prod(SHAPE))
    return batches
