"""The files in a folder and below it: which there are, and whether any changed."""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["Contents", "files_below", "hash_of"]

FOLDER, TAKEN = "folder", "taken"


@dataclass(frozen=True)
class Contents:
    """What is in a folder and below it.

    files: their names relative to the folder, in the order of their bytes; a name that is not of the locale's
        encoding has surrogates, as Python has it.
    left_out: how many files and folders are not read, by reason, such as "hidden" or their suffix.
    """

    files: list[str]
    left_out: Mapping[str, int]


def hash_of(folder: Path, names: Iterable[str]) -> str:
    """A hash of the names of files in a folder, their sizes and times of change (ns), to see whether one changed."""
    digest = hashlib.sha256()
    for name in names:
        status = (folder / name).stat()
        digest.update(b"%s\0%d %d\n" % (os.fsencode(name), status.st_size, status.st_mtime_ns))
    return digest.hexdigest()[:16]


def files_below(folder: Path, suffixes: Collection[str] | None = None) -> Contents:
    """The files in a folder and below it, also behind links; of several ways to one folder the first, unlinked one.

    suffixes: of those that are taken, in small letters, such as ".png"; by default all. A folder that is not there is
    empty.
    """
    files: list[str] = []
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
            kind, name = _kind(entry, suffixes), f"{below}{entry.name}"
            if kind == FOLDER:
                (linked if entry.is_symlink() else waiting).append(f"{name}/")
            elif kind == TAKEN:
                files.append(name)
            else:
                left_out[kind] += 1
    return Contents(sorted(files, key=os.fsencode), dict(sorted(left_out.items())))


def _kind(entry: "os.DirEntry[str]", suffixes: Collection[str] | None) -> str:
    """FOLDER, TAKEN, or why it is neither."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        if entry.is_dir():
            return FOLDER
        if entry.is_file():
            suffix = PurePosixPath(entry.name).suffix.lower()
            return TAKEN if suffixes is None or suffix in suffixes else suffix or "no suffix"
    except OSError:  # a link that leads to itself
        pass
    return "links to nothing" if entry.is_symlink() else "no files"
