"""Your own images: all pictures in a folder and below it, of any size and mode.

`path` in the study names the folder; a relative one is relative to where Snakemake runs. Train, fit and test images are
dealt from one pool. Files are known by their suffix; hidden ones are left out. Snakemake makes the data set anew when a
picture comes, goes or has another size in bytes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from immature_ood.datasets import Images, deal
from immature_ood.datasets._pools import of_files
from immature_ood.storage import StorageError
from immature_ood.study import DatasetConfig, ImageConfig, StudyError

__all__ = ["PACKAGES", "SUFFIXES", "UNITS", "listing", "load"]

PACKAGES = ("pillow",)
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


def load(image: ImageConfig, config: DatasetConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<path of the study>/<file below it>". Raises StudyError where there is no folder or no picture."""
    folder = Path(config.path or "")
    if not folder.is_dir():
        raise StudyError(f"path: there is no folder {config.path}")
    names = sorted(_pictures(folder))
    if not names:
        raise StudyError(f"path: no pictures ({', '.join(sorted(SUFFIXES))}) in {folder} or below it")

    def contents(places: Sequence[int]) -> Iterator[bytes]:
        for place in places:
            try:
                yield (folder / names[place]).read_bytes()
            except OSError as error:
                raise StorageError(f"{folder / names[place]}: cannot be read ({error.strerror}); mend it") from error

    return deal(of_files(names, contents, str(folder), image), config)


def listing(path: str) -> str:
    """A hash of the names and sizes of all pictures of a folder, to see whether it changed."""
    folder = Path(path)
    lines = [f"{name} {(folder / name).stat().st_size}" for name in sorted(_pictures(folder))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _pictures(folder: Path) -> Iterator[str]:
    """The pictures in a folder, relative to it."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()
