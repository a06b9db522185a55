"""The IDX format of MNIST and its kin (yann.lecun.com/exdb/mnist), for images, compressed with gzip."""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._pools import of_arrays
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.storage import StorageError

__all__ = ["load_official", "read"]

UNSIGNED_BYTES, DIMENSIONS = 8, 3
HEADER = 4 + 4 * DIMENSIONS  # bytes: two zeros, the type, the number of dimensions, then each as a big-endian integer


def load_official(
    files: Mapping[str, Download], image: ImageConfig, config: DatasetConfig, folder: Path
) -> dict[str, Images]:
    """The splits of a training and a test file. Origins are "<file>#<row>"."""

    def open_pool(part: str) -> Pool:
        path = find(files[part], folder)
        return of_arrays({path.name: read(path)[:, None]}, "IDX", image)

    return deal_official(open_pool, image, config)


def read(path: Path) -> np.ndarray:
    """The images of a file, (N, H, W) uint8. Raises StorageError if it holds anything else."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"{path}: cannot be unpacked ({error}); delete it and rerun") from error
    shape = tuple(int.from_bytes(content[start : start + 4]) for start in range(4, HEADER, 4))
    expected = bytes([0, 0, UNSIGNED_BYTES, DIMENSIONS])
    if content[:4] != expected or len(content) - HEADER != math.prod(shape):
        raise StorageError(f"{path}: is no IDX file of grey images, or is cut off; delete it and rerun")
    return np.frombuffer(content, np.uint8, offset=HEADER).reshape(shape)
