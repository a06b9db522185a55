"""Images from wherever a user has them: a folder, picture files, NumPy files, or a data set by its name."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from immature_ood import registry
from immature_ood.config import DatasetConfig
from immature_ood.datasets import array, folder
from immature_ood.datasets._pixels import FORMATS, opened, to_image
from immature_ood.datasets._pools import to_images
from immature_ood.kinds.images import Config as ImageConfig

__all__ = [
    "Look",
    "Picture",
    "Survey",
    "differences",
    "number_of",
    "picture_of",
    "pictures_of",
    "source_of",
    "survey_of",
]

ARRAYS = (".npy", ".npz")
AT_ONCE = 256  # rows of a NumPy file in memory
GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}  # modes of Pillow without colours
SHOWN = 10  # files that are named in a message


@dataclass(frozen=True)
class Look:
    """How an image is stored: the format of its file, its mode (as Pillow calls it) and its shorter side."""

    stored: str
    mode: str
    side: int


@dataclass(frozen=True)
class Picture:
    """An image to be scored: pixels (C, H, W) uint8, or why there are none."""

    path: str
    pixels: np.ndarray | None = None
    look: Look | None = None
    error: str = ""


@dataclass
class Survey:
    """How images are stored. colour: whether any has channels that differ."""

    formats: Counter[str]
    modes: Counter[str]
    sides: Counter[int]
    colour: bool = False

    @classmethod
    def empty(cls) -> "Survey":
        """Of no images."""
        return cls(Counter(), Counter(), Counter())

    def add(self, look: Look, times: int = 1) -> None:
        """Counts so many images more."""
        self.formats[look.stored] += times
        self.modes[look.mode] += times
        self.sides[look.side] += times

    @property
    def median_side(self) -> int:
        """The median of the shorter sides."""
        ordered = sorted(self.sides.elements())
        return ordered[len(ordered) // 2]

    def described(self) -> dict[str, Any]:
        """JSON values, for a card."""
        sides = {"least": min(self.sides), "median": self.median_side, "most": max(self.sides)}
        return {"formats": dict(self.formats), "modes": dict(self.modes), "sides": sides}


def source_of(data: str, sizes: Mapping[str, int] | None = None) -> DatasetConfig:
    """The section of a data set for a folder, a NumPy file or a name; raises ValueError if it is none of them."""
    path, described = Path(data), dict(sizes or {})
    if path.is_dir():
        return _parsed({"source": "folder", "path": data, **described})
    if path.suffix in ARRAYS:
        return _parsed({"source": "array", "path": data, **described})
    names = [name for name in registry.names("datasets") if _is_of_images(name)]
    if data in names:
        return _parsed({"source": data, **described})
    raise ValueError(f"there is no folder or NumPy file {data}, and no data set of that name{_nearest(data, names)}")


def _parsed(section: Mapping[str, Any]) -> DatasetConfig:
    from immature_ood.kinds.images import ImageDatasetConfig

    config: DatasetConfig = registry.parse("datasets", section, ImageDatasetConfig)
    return config


def _is_of_images(name: str) -> bool:
    source = registry.load("datasets", name)
    needs_options = getattr(source, "EXAMPLE", None)
    return "images" in getattr(source, "KINDS", ("images",)) and not needs_options and name not in ("array", "folder")


def _nearest(name: str, names: Sequence[str]) -> str:
    return "" if os.sep in name or "." in name else registry.did_you_mean(name, [*names])


def survey_of(data: str) -> Survey:
    """How the images of a folder or NumPy file are stored; of a name, nothing.

    All pictures of a folder are read. Raises ValueError naming those that cannot be.
    """
    survey = Survey.empty()
    if Path(data).is_dir():
        _survey_folder(Path(data), survey)
    elif Path(data).suffix in ARRAYS:
        shape, axis = _shape(Path(data))
        look = _look_of_rows(Path(data), shape, axis)
        survey.add(look, shape[0])
        survey.colour = look.mode == "RGB"
    return survey


def _survey_folder(place: Path, survey: Survey) -> None:
    unreadable = []
    for name in folder.look(place).files:
        try:
            with opened(str(place / name)) as (picture, stored):
                survey.add(Look(stored, picture.mode, min(picture.size)))
                survey.colour |= _has_colours(picture)
        except Exception as error:  # Pillow raises nearly everything over damaged files
            unreadable.append(f"  {place / name}: {_reason(error)}")
    if unreadable:
        more = f"\n  and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
        listed = "\n".join(unreadable[:SHOWN])
        raise ValueError(f"{len(unreadable)} pictures cannot be read; mend or remove them:\n{listed}{more}")


def _has_colours(picture: Any) -> bool:
    """Whether the channels of a picture differ anywhere."""
    if picture.mode in GREY:
        return False
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")), 2, 0)
    return bool((red != green).any() or (green != blue).any())


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    return str(error) or type(error).__name__


def number_of(data: Sequence[str]) -> int:
    """How many images there are to be scored, as far as that is known before they are read."""
    return sum(_number_of(each) for each in data)


def _number_of(data: str) -> int:
    path = Path(data)
    if path.is_dir():
        return len(folder.look(path).files)
    if path.suffix in ARRAYS:
        return _shape(path)[0][0]
    return 1 if path.is_file() else source_of(data).test


def pictures_of(data: str, image: ImageConfig, data_dir: Path) -> Iterator[Picture]:
    """The images of a folder, file or data set (its test images), one after another, in the order of their names.

    Those that cannot be read have an error. Raises ValueError if there is no such thing.
    """
    path = Path(data)
    if path.is_dir():
        return (_read(path / name, image) for name in folder.look(path).files)
    if path.suffix in ARRAYS:
        return _rows(path, image)
    if path.is_file():
        return iter([_read(path, image)])
    return _of_name(data, image, data_dir)


def picture_of(data: str, image: ImageConfig) -> Picture:
    """One picture, or the row of a NumPy file that "file.npy#row" names; raises ValueError if there is no such."""
    if Path(data).is_file() and Path(data).suffix not in ARRAYS:
        return _read(Path(data), image)
    file, _, row = data.rpartition("#")
    if not (Path(file).suffix in ARRAYS and Path(file).is_file() and row.isdigit()):
        raise ValueError(f"there is no picture {data}; name one, or a row of a NumPy file, such as file.npy#0")
    number = _shape(Path(file))[0][0]
    if int(row) >= number:
        raise ValueError(f"{file} has {number} images: rows 0 to {number - 1}, not {row}")
    return next(_rows(Path(file), image, int(row)))


def _read(path: Path, image: ImageConfig) -> Picture:
    try:
        with opened(str(path)) as (picture, stored):
            look = Look(stored, picture.mode, min(picture.size))
            return Picture(str(path), to_image(picture, image)[0], look)
    except Exception as error:  # Pillow raises nearly everything over damaged files
        return Picture(str(path), error=_reason(error))


def _rows(path: Path, image: ImageConfig, first: int = 0) -> Iterator[Picture]:
    shape, axis = _shape(path)
    look, stored = _look_of_rows(path, shape, axis), array._stored(path)
    for start in range(first, len(stored), AT_ONCE):
        few = stored[start : start + AT_ONCE]
        few = few[:, None] if axis is None else np.moveaxis(few, axis, 1)
        for row, pixels in enumerate(to_images(few, image)[0], start):
            yield Picture(f"{path}#{row}", pixels, look)


def _shape(path: Path) -> tuple[tuple[int, ...], int | None]:
    """The shape of a file's images and the axis of their channels, None if there is none."""
    arrays, axis = array.Config(path=str(path)).look()
    return arrays.shape, axis


def _look_of_rows(path: Path, shape: Sequence[int], axis: int | None) -> Look:
    sides = [each for place, each in enumerate(shape) if place not in (0, axis)]
    return Look(path.suffix[1:].upper(), "RGB" if axis is not None and shape[axis] == 3 else "L", min(sides))


def _of_name(name: str, image: ImageConfig, data_dir: Path) -> Iterator[Picture]:
    config = source_of(name, {"train": 0, "fit": 0})
    images = registry.load("datasets", config.source).load(config, image, data_dir)["test"]
    for pixels, origin in zip(images.pixels, images.origins, strict=True):
        yield Picture(origin, pixels)


def differences(card: Mapping[str, Any], found: Survey) -> Iterator[str]:
    """A line, with numbers, for each way in which images are stored otherwise than those of a card."""
    known = card.get("pictures")
    if not known or not found.sides:
        return
    total = found.sides.total()
    for what, counted in (("formats", found.formats), ("modes", found.modes)):
        if new := {name: count for name, count in counted.items() if name not in known[what]}:
            said, were = _counts(new), _counts(known[what])
            yield f"{sum(new.values())} of {total} images have other {what} ({said}) than in fitting ({were})"
    least, most = known["sides"]["least"], known["sides"]["most"]
    if outside := {side: count for side, count in found.sides.items() if not least <= side <= most}:
        span = f"{min(outside)} to {max(outside)}"
        count = sum(outside.values())
        yield f"{count} of {total} images have other sizes ({span} pixels) than in fitting ({least} to {most})"


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
