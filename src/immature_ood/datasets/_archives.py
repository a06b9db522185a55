"""Pools of pictures in archives, which are read where they are: only the chosen members, and nothing is extracted."""

import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from immature_ood.config import Label
from immature_ood.datasets import Pool
from immature_ood.datasets._pools import Crop, of_files
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.storage import StorageError

__all__ = ["of_tar", "of_zip", "of_zip_members", "readable"]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what goes wrong in reading an archive or array file into a StorageError that names it."""
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise StorageError(f"{path}: cannot be read ({error}); it is damaged or another file, delete it") from error


def of_zip(
    path: Path, folder: str, suffix: str, image: ImageConfig, label_of: Callable[[str], Label] | None = None
) -> Pool:
    """The pictures in a folder of a .zip and below it, by name. Origins are "<archive>/<member>"."""
    with readable(path), zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(f"{folder}/") and name.endswith(suffix))
    return of_zip_members(path, names, image, label_of=label_of)


def of_zip_members(
    path: Path,
    names: Sequence[str],
    image: ImageConfig,
    crop: Crop | None = None,
    label_of: Callable[[str], Label] | None = None,
) -> Pool:
    """These pictures of a .zip. Origins are "<archive>/<member>"; label_of: as of of_files, by the member's name."""

    def contents(places: Sequence[int]) -> Iterator[bytes]:
        with readable(path), zipfile.ZipFile(path) as archive:
            for place in places:
                yield archive.read(names[place])

    return of_files(names, contents, path.name, image, crop, label_of)


def of_tar(path: Path, image: ImageConfig) -> Pool:
    """The pictures in a .tar that is not compressed, in its order. Origins are "<archive>/<member>"."""
    names: list[str] = []
    starts, sizes = array("Q"), array("Q")
    with readable(path), tarfile.open(path, "r:") as archive:
        while member := archive.next():
            if member.isfile():
                names.append(member.name)
                starts.append(member.offset_data)
                sizes.append(member.size)
            archive.members.clear()  # type: ignore[attr-defined] # there may be a million, a kilobyte each

    def contents(places: Sequence[int]) -> Iterator[bytes]:
        with readable(path), path.open("rb") as file:
            for place in places:
                file.seek(starts[place])
                yield file.read(sizes[place])

    return of_files(names, contents, path.name, image)
