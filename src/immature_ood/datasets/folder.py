"""Your own images: all pictures in a folder and below it, of any size and mode.

`path` in the study names the folder; a relative one is relative to where Snakemake runs. Train, fit and test images are
dealt from one pool. Files are known by their suffix, linked folders are walked, each once, and whatever is left out is
counted by reason. A picture's classes are the folders that it lies in. Snakemake makes the data set anew when a picture
comes, goes, or has another size or time of its last change; it does not see an edit that leaves both as they were.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from immature_ood.config import Label
from immature_ood.config_file import StudyError
from immature_ood.datasets import Images, deal
from immature_ood.datasets._files import Contents, files_below, hash_of
from immature_ood.datasets._pools import of_files
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.storage import StorageError

__all__ = ["CLASSES", "PACKAGES", "SUFFIXES", "UNITS", "Config", "listing", "load", "look"]

PACKAGES = ("pillow",)
CLASSES: tuple[Label, ...] = ()  # the section's own
SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pcx", ".pgm", ".png", ".pnm"),
    *(".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
}


def _folder_of(origin: str) -> str:
    """The folder in which a picture lies.

    >>> _folder_of("mine/walk 1/a.png")
    'mine/walk 1'
    """
    return origin.rpartition("/")[0]


UNITS = {"image": str, "folder": _folder_of}


class Config(ImageDatasetConfig):
    """A folder of pictures."""

    source: str = "folder"
    path: str
    """The pictures lie in this folder; a relative path is relative to where Snakemake runs."""

    def labels(self) -> list[Label]:
        """The folders that the pictures lie in."""
        return list(dict.fromkeys(map(_label_of, look(Path(self.path)).files)))

    def faults(self) -> Iterator[str]:
        """What is wrong with the folder; no picture is read."""
        folder = Path(self.path)
        found = look(folder)
        yield from _path_faults(folder, found)
        yield from self.shortages(f"pictures in {folder}{_without(found)}")

    def available(self) -> dict[str, int | None]:
        """The number of pictures of the classes that are chosen, if there are any."""
        there = sum(self.takes(_label_of(file)) for file in look(Path(self.path)).files)
        return {"all": there} if there else {}

    def contents(self) -> str:
        """A hash of the names, sizes and times of change of all pictures."""
        return listing(self.path)


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<path of the study>/<file below it>". Raises StudyError where there is no folder or no picture."""
    folder = Path(config.path)
    found = look(folder)
    for fault in _path_faults(folder, found):
        raise StudyError(fault)

    def contents(places: Sequence[int]) -> Iterator[bytes]:
        for place in places:
            try:
                yield (folder / found.files[place]).read_bytes()
            except OSError as error:
                path = folder / found.files[place]
                raise StorageError(f"{path}: cannot be read ({error.strerror}); mend it") from error

    names = [os.fsencode(name).decode("utf-8", "surrogateescape") for name in found.files]  # whatever the locale
    splits = deal(of_files(names, contents, str(folder), image, label_of=_label_of), config)
    return splits | {"test": replace(splits["test"], left_out={**found.left_out, **splits["test"].left_out})}


def _label_of(file: str) -> Label:
    """The folders between that of the study and a picture, the innermost first.

    >>> _label_of("animals/cats/1.png"), _label_of("1.png")
    (('cats', 'animals'), ())
    """
    return tuple(reversed(file.split("/")[:-1]))


def _path_faults(folder: Path, found: Contents) -> Iterator[str]:
    if not folder.is_dir():
        yield f"path: there is no folder {folder}"
    elif not found.files:
        yield f"path: no pictures ({', '.join(sorted(SUFFIXES))}) in {folder} or below it{_without(found)}"


def _without(found: Contents) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.left_out.items())
    return f" (left out: {reasons})" if reasons else ""


def listing(path: str) -> str:
    """A hash of the names, sizes and times of change of all pictures of a folder, to see whether it changed."""
    return hash_of(Path(path), look(Path(path)).files)


def look(folder: Path) -> Contents:
    """The pictures in a folder and below it; see files_below."""
    return files_below(folder, SUFFIXES)
