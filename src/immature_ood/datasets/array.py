"""Your own images in a NumPy file: a `.npy` of the images alone, or a `.npz` in which they are called `images`.

They are uint8, (N, H, W), (N, H, W, C) or (N, C, H, W), with C 1 or 3. Of four axes the second is that of the channels
if it is 1 or 3 long, else the last; `layout` says otherwise. A `.npz` may have, with one entry an image, `split`
("train" or "test", which are then kept apart as official sets), `names` (which origins then have), `unit` (what belongs
together) and `label` (its class, which `label_in_names` finds in names otherwise). Nothing is unpickled. A `.npy` is
mapped from disk, and only the images asked for are read; the images of a `.npz` are unpacked in memory. The data set is
made anew when the file has another size or time of its last change.
"""

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import numpy as np
from pydantic import field_validator

from immature_ood.config import Label
from immature_ood.config_file import StudyError
from immature_ood.datasets import Images, Pool, deal, deal_official
from immature_ood.datasets._pools import to_images
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.registry import did_you_mean
from immature_ood.storage import StorageError

__all__ = ["CLASSES", "PACKAGES", "UNITS", "Arrays", "Config", "load", "look"]

PACKAGES = ("pillow",)
CLASSES: tuple[Label, ...] = ()  # the file's own
IMAGES = "images"
CHANNELS = (1, 3)
PARTS = ("train", "test")
AT_ONCE = 256  # images in memory as they are stored
AXES = {"channels_first": 1, "channels_last": 3}
MENDS = {  # by kind of number
    "f": "if they are in [0, 1], write np.rint(255 * images).astype(np.uint8)",
    "b": "write 255 * images.astype(np.uint8)",
    "i": "if they are 0 to 255, write images.astype(np.uint8)",
    "u": "if they are 0 to 255, write images.astype(np.uint8)",
}


def _unit_of(origin: str) -> str:
    """What an image belongs to, as the file's `unit` has it; without one it is on its own.

    >>> _unit_of("signs.npz#12 unit=track%207 name=a.png"), _unit_of("signs.npz#12 name=a.png")
    ('track%207', 'signs.npz#12 name=a.png')
    """
    found = re.search(r"\.npz#\d+ unit=(\S*)", origin)
    return found[1] if found else origin


UNITS = {"unit": _unit_of, "image": str}


@dataclass(frozen=True)
class Arrays:
    """What is in a file beside the pixels.

    shape: of the images, as they are stored. split, names, unit, label: N texts each, or None.
    """

    shape: tuple[int, ...]
    split: np.ndarray | None = None
    names: np.ndarray | None = None
    unit: np.ndarray | None = None
    label: np.ndarray | None = None

    def available(self, takes: Callable[[Label], bool]) -> dict[str, int | None]:
        """How many images there are of the labels that are taken, of all or of each official set."""
        taken = (
            np.ones(self.shape[0], bool) if self.label is None else np.array([takes((each,)) for each in self.label])
        )
        if self.split is None:
            return {"all": int(np.count_nonzero(taken))}
        return {part: int(np.count_nonzero(taken & (self.split == part))) for part in PARTS}

    def labelled(self, pattern: str) -> "Arrays":
        """With the first group of a pattern in each name as the label. Raises StudyError."""
        if self.names is None:
            raise StudyError("label_in_names: there is no array 'names'; add it, or leave the key out")
        found = [re.search(pattern, name) for name in self.names]
        if None in found:
            raise StudyError(f"label_in_names: {pattern!r} is not in the name {str(self.names[found.index(None)])!r}")
        return replace(self, label=np.array([match[1] or "" for match in found if match]))

    def origin(self, file: str, row: int) -> str:
        """Where an image is: "<file>#<row>", its unit and its name, if they are known; the unit without spaces."""
        unit = "" if self.unit is None else f" unit={quote(self.unit[row], safe='')}"
        return f"{file}#{row}{unit}" + ("" if self.names is None else f" name={self.names[row]}")


class Config(ImageDatasetConfig):
    """Images in a NumPy file."""

    source: str = "array"
    path: str
    """The .npy or .npz file; a relative path is relative to where Snakemake runs."""
    layout: Literal["channels_first", "channels_last"] | None = None
    """Which of four axes is that of the channels; by default the second if it is 1 or 3 long, else the last."""
    label_in_names: str | None = None
    """The class of an image is what the first group of this regular expression finds in its name."""

    @field_validator("label_in_names")
    @classmethod
    def _is_pattern_of_a_group(cls, pattern: str | None) -> str | None:
        try:
            if pattern is not None and not re.compile(pattern).groups:
                raise ValueError(r"a regular expression with a group is asked for, such as ^train/(\w+)/")
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return pattern

    def labels(self) -> list[Label]:
        """The classes that the file has."""
        try:
            label = self.look()[0].label
        except StudyError:
            return []
        return [] if label is None else [(name,) for name in sorted({*label.tolist()})]

    def faults(self) -> Iterator[str]:
        """What is wrong with the file; no pixel is read."""
        try:
            arrays, _ = self.look()
            if self.unit == "unit" and arrays.unit is None:
                yield f"unit: there is no array 'unit' in {self.path}; add it, or leave the key out"
            if self.chooses_classes and arrays.label is None:
                key = "without" if self.classes is None else "classes"
                yield f"{key}: there is no array 'label' in {self.path}; add it, give label_in_names, or leave it out"
        except StudyError as error:
            yield str(error)
        yield from self.shortages(f"images in {self.path}")

    def available(self) -> dict[str, int | None]:
        """The number of images, if the file is well."""
        try:
            return self.look()[0].available(self.takes)
        except StudyError:
            return {}

    def look(self) -> tuple[Arrays, int | None]:
        """What is in the file beside the pixels, and which axis is that of the channels. Raises StudyError."""
        arrays = look(Path(self.path))
        if self.label_in_names:
            arrays = arrays.labelled(self.label_in_names)
        try:
            return arrays, _channels(arrays.shape, self.layout)
        except StudyError as error:
            raise StudyError(f"path: {self.path}: {error}") from None

    def contents(self) -> str:
        """Of an .npz the size and checksum of each array, which a copy keeps; of a .npy its size and time (ns)."""
        path = Path(self.path)
        if path.suffix == ".npz":
            with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
                return " ".join(f"{each.filename} {each.file_size} {each.CRC:08x}" for each in archive.infolist())
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file>#<row>", with the image's unit and name (Arrays.origin).

    Raises StudyError if the file is at fault, StorageError if its images cannot be read.
    """
    path, (arrays, axis) = Path(config.path), config.look()
    stored = _stored(path)

    def pool(rows: np.ndarray) -> Pool:
        labels = None if arrays.label is None else [(label,) for label in arrays.label[rows].tolist()]
        return Pool(len(rows), lambda places: _read(path, arrays, stored, axis, rows[places], image), labels)

    if arrays.split is None:
        splits = deal(pool(np.arange(len(stored))), config)
    else:
        splits = deal_official(lambda part: pool(np.flatnonzero(arrays.split == part)), image, config)
    if max(images.pixels.max(initial=0) for images in splits.values()) <= 1:
        raise StudyError(f"path: no pixel of {path} is above 1, of 255; write 255 * images if they are 0 and 1")
    return splits


def _stored(path: Path) -> np.ndarray:
    """The images as they are stored, of a .npy mapped."""
    try:
        if path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        with np.load(path, allow_pickle=False) as arrays:
            found: np.ndarray = arrays[IMAGES]
            return found
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StorageError(f"{path}: its images cannot be read ({error}); it is damaged, write it anew") from error


def _read(
    path: Path, arrays: Arrays, stored: np.ndarray, axis: int | None, rows: np.ndarray, image: ImageConfig
) -> Images:
    """The images of these rows, a few at a time: only as they become are they in memory together."""
    pixels, resized = np.empty((len(rows), *image.shape), np.uint8), False
    for start in range(0, len(rows), AT_ONCE):
        few = stored[rows[start : start + AT_ONCE]]
        few = few[:, None] if axis is None else np.moveaxis(few, axis, 1)
        pixels[start : start + AT_ONCE], resampled = to_images(few, image)
        resized |= resampled
    origins = [arrays.origin(path.name, row) for row in rows.tolist()]
    return Images(pixels, origins, [path.suffix[1:].upper()] * len(rows), resized)


def _channels(shape: tuple[int, ...], layout: str | None) -> int | None:
    """The axis of the channels, None if there is none. Raises StudyError."""
    axes = [AXES[layout]] if layout else [*AXES.values()]
    if len(shape) == 3 and 0 not in shape:
        return None
    if len(shape) == 4 and 0 not in shape and (found := [axis for axis in axes if shape[axis] in CHANNELS]):
        return found[0]
    wanted = "(N, H, W), (N, H, W, C) or (N, C, H, W), with C 1 or 3"
    raise StudyError(f"images are {shape}{f' and layout {layout}' if layout else ''}, but must be {wanted}")


def look(path: Path) -> Arrays:
    """What is in a file, of the images their header alone. Raises StudyError beginning with "path" if it is bad."""
    if path.suffix not in (".npy", ".npz"):
        raise StudyError(f"path: {path} is neither .npy nor .npz")
    if not path.is_file():
        raise StudyError(f"path: there is no file {path}")
    status = path.stat()
    return _look(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _look(path: Path, size: int, changed: int) -> Arrays:
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return Arrays(_image_shape(file, size))
        with zipfile.ZipFile(path) as archive:
            return _look_inside(archive)
    except StudyError as error:
        raise StudyError(f"path: {path}: {error}") from None
    except Exception as error:  # numpy parses a header as Python: a damaged one raises TokenError, SyntaxError, ...
        raise StudyError(f"path: {path} cannot be read ({error}); it is cut off, or another file") from error


def _look_inside(archive: zipfile.ZipFile) -> Arrays:
    sizes = {each.filename.removesuffix(".npy"): each.file_size for each in archive.infolist()}
    if IMAGES not in sizes:
        raise StudyError(f"there is no array {IMAGES!r}{did_you_mean(IMAGES, [*sizes])}")
    with archive.open(f"{IMAGES}.npy") as file:
        shape = _image_shape(file, sizes[IMAGES])
    texts = {key: _texts(archive, key, shape[0]) for key in ("split", "names", "unit", "label") if key in sizes}
    if unknown := {*texts.get("split", ())} - {*PARTS}:
        raise StudyError(f"split has {str(min(unknown))!r}; it must be {' or '.join(PARTS)}")
    return Arrays(shape, **texts)


def _image_shape(file: IO[bytes], size: int) -> tuple[int, ...]:
    """The shape of an array of uint8, of which nothing but the header is read. size: bytes that there are."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise StudyError(f"{IMAGES} are Python objects, which are never unpickled; write them as one array of uint8")
    if dtype != np.uint8:
        raise StudyError(f"{IMAGES} are {dtype}, but must be uint8; {MENDS.get(dtype.kind, 'write numbers 0 to 255')}")
    if size != (whole := file.tell() + int(np.prod(shape))):
        raise StudyError(f"it has {size:,} of {whole:,} bytes: it is cut off; write it anew")
    return shape


def _texts(archive: zipfile.ZipFile, key: str, count: int) -> np.ndarray:
    """An array with one text (or whole number) an image, as texts."""
    with archive.open(f"{key}.npy") as file:
        try:
            array = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise StudyError(f"{key}: {error}; write it as an array of texts, np.array({key}, dtype=str)") from None
    if array.shape != (count,) or array.dtype.kind not in "USiu":
        raise StudyError(f"{key} is {array.dtype} {array.shape}, but must be a text for each of {count:,} images")
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(str)
