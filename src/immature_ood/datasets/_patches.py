"""Patches of pictures that come inside Python packages: splits that share no pixel.

A picture is cut into blocks of 76×76 pixels with 4 unused pixels between them. Blocks go to train, fit and test as
3:1:1 like a knight moves, so that every row and column of blocks has all splits; or all go to test, if no other split
is asked for. Patches are cut inside a block. Within a split neighbouring patches share about 3/7 of a side (at 28×28
they are 16 pixels apart), so its images are less independent than their number suggests: the unit is the block, or the
whole picture.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from immature_ood.config import DatasetConfig, Label
from immature_ood.datasets import SPLITS, Images, deal
from immature_ood.datasets._pixels import opened
from immature_ood.datasets._pools import of_images
from immature_ood.kinds.images import Config as ImageConfig

__all__ = [
    "BLOCK",
    "FLAT",
    "LARGEST_SIDE",
    "UNITS",
    "Patch",
    "Region",
    "is_textured",
    "load_patches",
    "patches",
    "read",
    "regions",
]

BLOCK = 76  # pixels: the side of a region
LARGEST_SIDE = BLOCK
GUARD = 4  # unused pixels between regions
PITCH = BLOCK + GUARD
CYCLE = ("train", "fit", "train", "test", "train")
FLAT = 5.0  # grey levels


@dataclass(frozen=True)
class Region:
    """A block of BLOCK×BLOCK pixels of a picture, all of whose patches belong to one split."""

    split: str
    top: int
    left: int


@dataclass(frozen=True)
class Patch:
    """A part of a picture.

    luma: (side, side) uint8, that of ITU-R BT.601, (299 R + 587 G + 114 B) / 1000 of the stored values.
    pixels: (C, side, side) uint8, the luma or the colours. stored: the format of the picture's file.
    """

    split: str
    origin: str
    stored: str
    luma: np.ndarray
    pixels: np.ndarray


def load_patches(
    pictures: Mapping[str, str],
    image: ImageConfig,
    config: DatasetConfig,
    keep: Callable[[Patch], bool],
    otherwise: str = "flat patches",
    label_of: Callable[[str], Label] = lambda file: (Path(file).stem,),
) -> dict[str, Images]:
    """The patches that `keep` keeps; side is at most 76. Origins are "<file in its package>@y=<top>,x=<left>".

    pictures: the distribution of each file. otherwise: what the patches are that are left out. label_of: the names of
    the classes of a file's patches, by default that of the file.
    """
    found = [(patch, keep(patch)) for file, package in pictures.items() for patch in patches(file, package, image)]
    splits: dict[str, Images] = {}
    for split in SPLITS:
        everything = split == "test" and config.train == config.fit == 0
        here = [(patch, kept) for patch, kept in found if everything or patch.split == split]
        pool = [patch for patch, kept in here if kept]
        pixels = np.array([patch.pixels for patch in pool], np.uint8).reshape(-1, *image.shape)
        origins, formats = [patch.origin for patch in pool], [patch.stored for patch in pool]
        labels = [label_of(_picture_of(origin)) for origin in origins]
        images = Images(pixels, origins, formats, left_out={otherwise: len(here) - len(pool)}, labels=labels)
        splits |= deal(of_images(images), config, (split,))
    return splits


def _block_of(origin: str) -> str:
    """The picture and corner of the block in which a patch lies.

    >>> _block_of("skimage/data/coins.png@y=96,x=16")
    'skimage/data/coins.png@y=80,x=0'
    """
    picture, _, corner = origin.partition("@")
    top, left = (int(part.partition("=")[2]) // PITCH * PITCH for part in corner.split(","))
    return f"{picture}@y={top},x={left}"


def _picture_of(origin: str) -> str:
    return origin.partition("@")[0]


UNITS = {"block": _block_of, "photograph": _picture_of}


def is_textured(patch: Patch) -> bool:
    """Whether a patch is not flat (empty sky, blurred background): a standard deviation of 5 grey levels or more."""
    return bool(patch.luma.std() >= FLAT)


def patches(file: str, package: str, image: ImageConfig) -> Iterator[Patch]:
    """All patches of a picture, region by region."""
    luma, colour, stored = read(file, package)
    pixels = luma[None] if image.channels == 1 else colour
    for region in regions(*luma.shape):
        for top, left in _corners(region, image.side):
            rows, columns = slice(top, top + image.side), slice(left, left + image.side)
            origin = f"{file}@y={top},x={left}"
            yield Patch(region.split, origin, stored, luma[rows, columns], pixels[:, rows, columns])


def read(file: str, package: str) -> tuple[np.ndarray, np.ndarray, str]:
    """A picture inside a package: luma (H, W) and colours (3, H, W), uint8, and the format of its file."""
    with opened(str(distribution(package).locate_file(file))) as (picture, stored):
        colour = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        return np.asarray(picture.convert("L")), colour, stored


def regions(height: int, width: int) -> list[Region]:
    """The disjoint blocks of a picture; what is left at its right and lower edges is unused.

    >>> [region.split for region in regions(76, 400)]
    ['train', 'fit', 'train', 'test', 'train']
    >>> [region.split for region in regions(400, 76)]
    ['train', 'test', 'fit', 'train', 'train']
    """
    return [
        Region(CYCLE[(column + 3 * row) % len(CYCLE)], row * PITCH, column * PITCH)
        for row in range((height + GUARD) // PITCH)
        for column in range((width + GUARD) // PITCH)
    ]


def _corners(region: Region, side: int) -> Iterator[tuple[int, int]]:
    """Top and left of each patch in a region."""
    stride = side - 3 * side // 7
    for top in range(0, BLOCK - side + 1, stride):
        for left in range(0, BLOCK - side + 1, stride):
            yield region.top + top, region.left + left
