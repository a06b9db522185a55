"""Photographs of 1,000 kinds of things: ImageNet32 (Chrabaszcz, Loshchilov and Hutter 2017), resampled by box.

1,281,167 training images and, for tests, the 50,000 validation images, 32×32, in colour. Not to be confused with the
older imagenet32_pixelrnn. The downloads have no loss, though ImageNet itself is JPEG; `jpeg_quality: 75` gives what the
code released with arXiv 2502.00820 seems to have used.

The site sometimes asks for a log-in; then the files must be put into data_dir/imagenet32/ by hand. One of the ten
training files is in memory at a time, 0.4 GB, and the chosen images, 3 kB each.
"""

import io
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import readable
from immature_ood.datasets._pools import to_images
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 1_281_167, "test": 50_000}
FILES = {
    "train": Download(
        file="Imagenet32_train_npz.zip",
        urls=(
            "https://image-net.org/data/downsample/Imagenet32_train_npz.zip",
            "http://www.image-net.org/image/downsample/Imagenet32_train_npz.zip",
        ),
        checksum="sha256:94226337ecc1b0309d9fcd0167127aaadc931587035fbcb53925235edbaec4fc",
        page="https://image-net.org/download-images",
        size=3_580_435_279,
    ),
    "test": Download(
        file="Imagenet32_val_npz.zip",
        urls=(
            "https://image-net.org/data/downsample/Imagenet32_val_npz.zip",
            "http://www.image-net.org/image/downsample/Imagenet32_val_npz.zip",
        ),
        checksum="sha256:013990e6dec1237dcd1f9beadbab81ead6604cc119af5cacbfb59ae28148377a",
        page="https://image-net.org/download-images",
        size=139_697_668,
    ),
}
SHAPE = (3, 32, 32)
ROW = 3 * 32 * 32  # bytes
BLOCK = 4096  # rows


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<member of the archive>#<row>"."""
    return deal_official(lambda part: _pool(find(FILES[part], data_dir / "imagenet32"), image), image, config)


def _pool(path: Path, image: ImageConfig) -> Pool:
    """The images of all .npz files of an archive, in the order of their numbers."""
    with readable(path), zipfile.ZipFile(path) as archive:
        members = sorted((name for name in archive.namelist() if name.endswith(".npz")), key=lambda n: (len(n), n))
    counts = [_count(path, member) for member in members]
    ends = np.cumsum(counts)
    starts = ends - counts

    def read(places: np.ndarray) -> Images:
        batches = np.searchsorted(ends, places, side="right")
        rows = places - starts[batches]
        pixels = np.empty((len(places), *SHAPE), np.uint8)
        for batch in np.unique(batches):
            here = batches == batch
            pixels[here] = _rows(path, members[batch], rows[here])
        names = [f"{Path(members[batch]).name}#{row}" for batch, row in zip(batches, rows, strict=True)]
        fitted, resized = to_images(pixels, image)
        return Images(fitted, names, ["NPZ"] * len(names), resized)

    return Pool(sum(counts), read)


def _count(path: Path, member: str) -> int:
    with _opened(path, member) as (_, count):
        return count


def _rows(path: Path, member: str, rows: np.ndarray) -> np.ndarray:
    """These images of a .npz file, (N, 3, 32, 32) uint8, read block by block."""
    chosen = np.empty((len(rows), ROW), np.uint8)
    with _opened(path, member) as (file, count):
        for start in range(0, count, BLOCK):
            block = np.frombuffer(file.read(BLOCK * ROW), np.uint8).reshape(-1, ROW)
            here = (rows >= start) & (rows < start + BLOCK)
            chosen[here] = block[rows[here] - start]
    return chosen.reshape(-1, *SHAPE)


@contextmanager
def _opened(path: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    """The array of images in a .npz file in the archive, (N, 3072) uint8, past its header; and N."""
    unpacked = io.BytesIO()
    with readable(path), zipfile.ZipFile(path) as archive, archive.open(member) as packed:
        shutil.copyfileobj(packed, unpacked)  # read() would need the memory twice
    with readable(path), zipfile.ZipFile(unpacked) as arrays, arrays.open("data.npy") as file:
        np.lib.format.read_magic(file)
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
        if columns_first or dtype != np.uint8 or shape[1:] != (ROW,):
            raise ValueError(f"{member} holds {dtype} {shape}, no images")
        yield file, shape[0]
