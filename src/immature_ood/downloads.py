"""Downloads that are whole, made once and of the published checksum; archives that cannot leave their folder."""

import hashlib
import os
import platform
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TextIO

import requests

from immature_ood.progress import progress
from immature_ood.storage import StorageError, write_bytes

__all__ = ["Download", "extract", "fetch", "find"]

BLOCK = 1 << 16  # bytes; a connection that breaks loses less than one
WEB_PAGE = "a web page"


@dataclass(frozen=True)
class Download:
    """A file on the internet.

    urls: mirrors, tried in turn. checksum: the published one, "md5:…" or "sha256:…"; empty if none was published.
    page: where a person finds it. size: bytes, 0 if not known.
    package: where a system package has it, with the checksum that it has there, if it does not have the published one.
    """

    file: str
    urls: tuple[str, ...]
    checksum: str
    page: str = ""
    size: int = 0
    package: tuple[str, str] = ("", "")

    @property
    def checksums(self) -> tuple[str, ...]:
        """Those known before the file is here, any of which it may have."""
        return tuple(filter(None, (self.checksum, self.package[1])))


class _Failed(Exception):
    """One attempt that did not work; perhaps the next will."""


def find(download: Download, folder: Path) -> Path:
    """The file: from the folder, else from a system package, else from the internet, and then in the folder.

    Raises StorageError.
    """
    path, packaged = folder / download.file, Path(download.package[0])
    if not path.exists() and packaged.is_file() and _has_any(packaged, download.checksums):
        return packaged
    return fetch(download, folder)


def fetch(download: Download, folder: Path, *, timeout: float = 30, attempts: int = 4, pause: float = 1.0) -> Path:
    """The file in the folder, downloaded if it is not there; it is never there but whole and of its checksum.

    An attempt goes on where the one before stopped, if the server can; pauses double. After `timeout` seconds without a
    byte an attempt ends. The sha256 is kept beside the file and holds from then on, also where none was published. Of
    two processes one downloads, and the other waits; a file that is there needs neither a lock nor the right to write.
    Raises StorageError if no mirror gives the file, or if the file that is there is another one.
    """
    path = folder / download.file
    if path.exists():
        return _present(download, path)
    with _in_turn(path):
        if path.exists():  # it came while this process waited
            return _present(download, path)
        failures = []
        for attempt in range(attempts):
            for url in download.urls:
                try:
                    _attempt(download, url, path, timeout)
                    return path
                except _Failed as failure:
                    failures.append(f"{url}: {failure}")
            if attempt + 1 < attempts:
                time.sleep(pause * 2**attempt)
    raise StorageError(
        f"cannot download {download.file} ({'; '.join(dict.fromkeys(failures))}); {_by_hand(download, path)}"
    )


def _present(download: Download, path: Path) -> Path:
    """The path of a file that is there; its sha256 is noted if it is not, and can be."""
    _check_present(download, path)
    if not _noted(path):
        with suppress(StorageError):  # a folder that is only read
            _note(path)
    return path


def _by_hand(download: Download, path: Path) -> str:
    return f"get it by hand from {download.page or download.urls[0]}, put it at {path} and rerun"


@contextmanager
def _in_turn(path: Path) -> Iterator[None]:
    """Waits until no other process downloads the file; a dead process holds no lock."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            _wait(file, path)
            yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write {path}: {reason}; free space or choose another folder, then rerun") from error


def _wait(lock: TextIO, path: Path) -> None:
    try:
        flock(lock, LOCK_EX)
    except OSError as error:
        reason = f"{path.parent} has no file locks ({error.strerror})"
        mend = f"choose a data_dir on another file system, or put the file at {path} by hand"
        raise StorageError(f"cannot download {path.name}: {reason}; {mend}, then rerun") from error


def _check_present(download: Download, path: Path) -> None:
    """Raises StorageError unless the file has a published checksum, and the sha256 noted when it came."""
    for known in filter(None, (download.checksums, _noted(path))):
        if not _has_any(path, known):
            found = _checksum(path, known[0])
            raise StorageError(
                f"{path}: has {found}, expected {known[0]}; it is damaged or another version: "
                "delete it, and it is downloaded again"
            )


def _has_any(path: Path, checksums: tuple[str, ...]) -> bool:
    return any(_checksum(path, checksum) == checksum for checksum in checksums)


def _noted(path: Path) -> tuple[str, ...]:
    """The sha256 that was noted when the file first came, if it was."""
    noted = _note_of(path)
    return (f"sha256:{noted.read_text(encoding='utf-8').partition(' ')[0]}",) if noted.exists() else ()


def _note(path: Path) -> None:
    digest = _checksum(path, "sha256:").removeprefix("sha256:")
    write_bytes(_note_of(path), f"{digest}  {path.name}\n".encode())


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum(path: Path, like: str) -> str:
    """The file's, by the method that `like` begins with."""
    method = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{method}:{hashlib.file_digest(file, method).hexdigest()}"


def _attempt(download: Download, url: str, path: Path, timeout: float) -> None:
    """Downloads to a partial file, and renames it if it is the file. Raises _Failed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        _transfer(url, partial, timeout)
    except requests.RequestException as error:
        raise _Failed(str(error).partition("\n")[0]) from error
    known = download.checksums or _noted(path)
    came = _description(partial)
    if known and not _has_any(partial, known):
        found = _checksum(partial, known[0])
        partial.unlink()
        raise _Failed(f"{came} came, with {found} instead of {known[0]}")
    if not known and came.startswith(WEB_PAGE):  # of a site that refuses, and no checksum would tell
        partial.unlink()
        raise _Failed(f"{came} came")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    _note(path)


def _description(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1000).lower()
    size = f"{path.stat().st_size:,} bytes"
    return f"{WEB_PAGE} of {size}" if b"<html" in start or b"<!doctype" in start else f"a file of {size}"


def _transfer(url: str, partial: Path, timeout: float) -> None:
    """Adds to the partial file what it lacks. Raises requests.RequestException or _Failed."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is there already
        answer.raise_for_status()
        goes_on = answer.status_code == requests.codes.partial_content
        length = answer.headers.get("Content-Length")
        expected = int(length) + (have if goes_on else 0) if length else None
        with partial.open("ab" if goes_on else "wb") as file:
            try:
                _copy(answer, file, expected)
            except requests.exceptions.ChunkedEncodingError:  # its own message is of three lines
                raise _Failed(f"the connection ended after {file.tell():,} of {expected or 0:,} bytes") from None


def _copy(answer: requests.Response, file: BinaryIO, expected: int | None) -> None:
    with progress(f"download {answer.url}", (expected or 0) // BLOCK) as advance:
        for block in answer.iter_content(BLOCK):
            file.write(block)
            advance()


def extract(archive: Path, folder: Path) -> Path:
    """Unpacks a .zip or .tar (.gz, .bz2, .xz) into the folder, which appears whole or not at all; returns the folder.

    Raises StorageError if the archive is corrupt, if a member would lie or point outside of the folder or is neither a
    file, a folder nor a link, or if this Python does not know how to look for that in a tar (PEP 706).
    """
    if folder.exists():
        return folder
    if not (hasattr(tarfile, "data_filter") or zipfile.is_zipfile(archive)):
        raise StorageError(
            f"{archive}: Python {platform.python_version()} cannot unpack it safely; take 3.11.4 or newer"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, temporary)
        else:
            with tarfile.open(archive) as file:
                file.extractall(temporary, filter="data")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, zlib.error) as error:
        raise StorageError(f"{archive}: cannot be unpacked ({error}); delete it and rerun") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            kind = member.external_attr >> 28  # 0: not said, 4: a folder, 8: a file
            if name.is_absolute() or ".." in name.parts or kind not in (0, 4, 8):
                raise ValueError(f"{member.filename} would lie outside of the folder, or is no file")
        file.extractall(folder)
