"""The IDX format of MNIST and its kin (yann.lecun.com/exdb/mnist), of images and of classes, compressed with gzip."""

import gzip
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from immature_ood.config import DatasetConfig, Label
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._pools import of_arrays
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.storage import StorageError

__all__ = ["load_official", "read"]

UNSIGNED_BYTES = 8
IMAGES, CLASSES = 3, 1  # dimensions


def load_official(
    files: Mapping[str, Download],
    image: ImageConfig,
    config: DatasetConfig,
    folder: Path,
    label_files: Mapping[str, Download] | None = None,
    classes: Sequence[Label] = (),
) -> dict[str, Images]:
    """The splits of a training and a test file. Origins are "<file>#<row>".

    label_files: where the number of each image's class is, among `classes`; had if the config chooses some.
    """

    def open_pool(part: str) -> Pool:
        path = find(files[part], folder)
        labels = None
        if label_files and config.chooses_classes:
            numbers = read(find(label_files[part], folder), CLASSES)
            labels = [classes[number] for number in numbers.tolist()]
        return of_arrays({path.name: read(path)[:, None]}, "IDX", image, labels)

    return deal_official(open_pool, image, config)


def read(path: Path, dimensions: int = IMAGES) -> np.ndarray:
    """What a file holds, uint8: images (N, H, W), or, of one dimension, (N,) the numbers of their classes.

    Raises StorageError if it holds anything else.
    """
    header = 4 + 4 * dimensions  # bytes: two zeros, the type, the number of dimensions, then each, big-endian
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"{path}: cannot be unpacked ({error}); delete it and rerun") from error
    shape = tuple(int.from_bytes(content[start : start + 4]) for start in range(4, header, 4))
    expected = bytes([0, 0, UNSIGNED_BYTES, dimensions])
    if content[:4] != expected or len(content) - header != math.prod(shape):
        what = "grey images" if dimensions == IMAGES else "classes"
        raise StorageError(f"{path}: is no IDX file of {what}, or is cut off; delete it and rerun")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
