"""Your own images: all pictures in a folder and below it, of any size and mode.

`path` in the study names the folder; a relative one is relative to where Snakemake runs. Train, fit and test images are
dealt from one pool. Files are known by their suffix, linked folders are walked, each once, and whatever is left out is
counted by reason. Snakemake makes the data set anew when a picture comes, goes, or has another size or time of its last
change; it does not see an edit that leaves both as they were.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from immature_ood.config_file import StudyError
from immature_ood.datasets import Images, deal
from immature_ood.datasets._pools import of_files
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.storage import StorageError

__all__ = ["PACKAGES", "SUFFIXES", "UNITS", "Config", "Contents", "listing", "load", "look"]

PACKAGES = ("pillow",)
SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pcx", ".pgm", ".png", ".pnm"),
    *(".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
}
FOLDER, PICTURE = "folder", "picture"


def _folder_of(origin: str) -> str:
    """The folder in which a picture lies.

    >>> _folder_of("mine/walk 1/a.png")
    'mine/walk 1'
    """
    return origin.rpartition("/")[0]


UNITS = {"image": str, "folder": _folder_of}


@dataclass(frozen=True)
class Contents:
    """What is in a folder and below it.

    pictures: their names relative to the folder, in the order of their bytes; a name that is not of the locale's
        encoding has surrogates, as Python has it.
    left_out: how many files and folders are not read, by reason, such as "hidden" or their suffix.
    """

    pictures: list[str]
    left_out: Mapping[str, int]


class Config(ImageDatasetConfig):
    """A folder of pictures."""

    source: str = "folder"
    path: str
    """The pictures lie in this folder; a relative path is relative to where Snakemake runs."""

    def faults(self) -> Iterator[str]:
        """What is wrong with the folder; no picture is read."""
        folder = Path(self.path)
        found = look(folder)
        yield from _path_faults(folder, found)
        yield from self.shortages(f"pictures in {folder}{_without(found)}")

    def available(self) -> dict[str, int | None]:
        """The number of pictures, if there are any."""
        there = len(look(Path(self.path)).pictures)
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
                yield (folder / found.pictures[place]).read_bytes()
            except OSError as error:
                path = folder / found.pictures[place]
                raise StorageError(f"{path}: cannot be read ({error.strerror}); mend it") from error

    names = [os.fsencode(name).decode("utf-8", "surrogateescape") for name in found.pictures]  # whatever the locale
    splits = deal(of_files(names, contents, str(folder), image), config)
    return splits | {"test": replace(splits["test"], left_out=found.left_out)}


def _path_faults(folder: Path, found: Contents) -> Iterator[str]:
    if not folder.is_dir():
        yield f"path: there is no folder {folder}"
    elif not found.pictures:
        yield f"path: no pictures ({', '.join(sorted(SUFFIXES))}) in {folder} or below it{_without(found)}"


def _without(found: Contents) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.left_out.items())
    return f" (left out: {reasons})" if reasons else ""


def listing(path: str) -> str:
    """A hash of the names, sizes and times of change (ns) of all pictures of a folder, to see whether it changed."""
    digest = hashlib.sha256()
    for name in look(Path(path)).pictures:
        status = (Path(path) / name).stat()
        digest.update(b"%s\0%d %d\n" % (os.fsencode(name), status.st_size, status.st_mtime_ns))
    return digest.hexdigest()[:16]


def look(folder: Path) -> Contents:
    """The pictures in a folder and below it, also behind links; of several ways to one folder the first, unlinked one.

    A folder that is not there is empty.
    """
    pictures: list[str] = []
    left_out: Counter[str] = Counter()
    waiting, linked = [""], list[str]()
    seen: set[tuple[int, int]] = set()
    while waiting or linked:
        below = waiting.pop() if waiting else linked.pop(0)
        try:
            status = (folder / below).stat()
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except (OSError, ValueError):  # ValueError: a name that no file can have
            left_out["folders that cannot be entered"] += folder.exists()
            continue
        if (status.st_dev, status.st_ino) in seen:
            left_out["folders linked to twice"] += 1
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            kind, name = _kind(entry), f"{below}{entry.name}"
            if kind == FOLDER:
                (linked if entry.is_symlink() else waiting).append(f"{name}/")
            elif kind == PICTURE:
                pictures.append(name)
            else:
                left_out[kind] += 1
    return Contents(sorted(pictures, key=os.fsencode), dict(sorted(left_out.items())))


def _kind(entry: "os.DirEntry[str]") -> str:
    """FOLDER, PICTURE, or why it is neither."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        if entry.is_dir():
            return FOLDER
        if entry.is_file():
            suffix = PurePosixPath(entry.name).suffix.lower()
            return PICTURE if suffix in SUFFIXES else suffix or "no suffix"
    except OSError:  # a link that leads to itself
        pass
    return "links to nothing" if entry.is_symlink() else "no files"
