"""Files that appear whole or not at all, and arrays with self-describing metadata (safetensors, never pickle)."""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

__all__ = [
    "StorageError",
    "check_writable",
    "load_arrays",
    "load_metadata",
    "load_split",
    "read_json",
    "read_json_lines",
    "save_arrays",
    "write_array",
    "write_bytes",
    "write_json",
    "write_whole",
]

METADATA_KEY = "immature_ood"


class StorageError(Exception):
    """A file that cannot be written, read or trusted; the message names the file and the mend."""


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raises StorageError if a folder, perhaps not there yet, could not be written to."""
    path = Path(folder).absolute()
    for link in (place for place in (path, *path.parents) if place.is_symlink() and not place.exists()):
        raise StorageError(f"cannot write {folder}: {link} is a link to {os.readlink(link)}, which is not there")
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "cannot be written" if nearest.is_dir() else "is not a folder"
        raise StorageError(f"cannot write {folder}: {nearest} {reason}; make it writable or choose another --directory")


@contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed, else removed.

    The temporary name keeps the suffix of `path`, for writers that choose a format by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_what_the_dead_left(path)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        written = os.path.getsize(temporary) if os.path.exists(temporary) else 0
        reason = f"{error.strerror or error} (after {written:,} bytes)"
        raise StorageError(f"cannot write {path}: {reason}; free space or choose another folder, then rerun") from error
    finally:
        with suppress(OSError):  # it was renamed, or its folder is not one
            temporary.unlink()


def _remove_what_the_dead_left(path: Path) -> None:
    """Removes the temporary files of this path whose process was killed before it could."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)\.partial{re.escape(path.suffix)}")
    for other in path.parent.iterdir():
        writer = name.fullmatch(other.name)
        if writer and not _is_alive(int(writer[1])):
            other.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes the bytes, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def write_array(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Writes one array as .npy, whole or not at all; never an array of objects, which would need pickle."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def load_split(path: str | os.PathLike[str], check: Callable[[np.ndarray], None]) -> np.ndarray:
    """The samples of one split, mapped from disk and read-only.

    check: raises ValueError if an array does not hold samples of the study's kind of data (KindOfData.check).
    Raises StorageError if the file is anything else: truncated, pickled, of another type or shape.
    """
    try:
        stored = np.lib.format.open_memmap(path, mode="r")
        size = os.path.getsize(path)
    except Exception as error:  # numpy parses the header as Python: a damaged one raises TokenError, SyntaxError, ...
        raise StorageError(f"{path}: cannot be read as npy ({error}); delete it and rerun") from error
    if size != stored.offset + stored.nbytes:
        raise StorageError(
            f"{path}: holds {size:,} bytes, not whole {stored.dtype} {stored.shape}; delete it and rerun"
        )
    try:
        check(stored)
    except ValueError as error:
        raise StorageError(f"{path}: {error}; delete it and rerun") from error
    return stored


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Writes a value as indented JSON with sorted keys, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises StorageError if it cannot be read."""
    return _read_json(path, json.loads)


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects in a file of one JSON object a line. Raises StorageError if it cannot be read as that."""
    rows = _read_json(path, lambda text: [json.loads(line) for line in text.splitlines()])
    if not all(isinstance(row, dict) for row in rows):
        raise StorageError(f"{path}: does not hold one JSON object a line; delete it and rerun")
    return rows


def _read_json(path: str | os.PathLike[str], parse: Callable[[str], Any]) -> Any:
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path}: cannot be read as JSON ({error}); delete it and rerun") from error


def save_arrays(
    path: str | os.PathLike[str], schema: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Writes named arrays as safetensors: equal arrays and metadata give equal bytes.

    schema: what the file is and the version of its layout, such as "features/1".
    metadata: JSON values; stored under one key as sorted JSON, since safetensors' own key order is random.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = _digest(contiguous, metadata)
    described = json.dumps({**metadata, "schema": schema, "sha256": content}, sort_keys=True)
    write_bytes(path, save(contiguous, metadata={METADATA_KEY: described}))


def load_arrays(path: str | os.PathLike[str], schema: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what save_arrays wrote, to the last bit: (arrays by name, metadata); else raises StorageError."""
    with _opened(path, schema) as (file, metadata):
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if metadata.pop("sha256", None) != _digest(arrays, metadata):
        raise StorageError(f"{path}: its content is not what was written, damaged on disk; delete it and rerun")
    return arrays, metadata


def load_metadata(path: str | os.PathLike[str], schema: str) -> dict[str, Any]:
    """Reads the metadata of what save_arrays wrote, without its arrays."""
    with _opened(path, schema) as (_, metadata):
        metadata.pop("sha256", None)
        return metadata


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """sha256 over the metadata, and each array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@contextmanager
def _opened(path: str | os.PathLike[str], schema: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file, _checked_metadata(path, file.metadata(), schema)
    except (SafetensorError, OSError) as error:
        raise StorageError(
            f"{path}: cannot be read as safetensors, truncated or corrupt ({error}); delete it and rerun"
        ) from error


def _checked_metadata(path: str | os.PathLike[str], raw: Mapping[str, str] | None, schema: str) -> dict[str, Any]:
    try:
        metadata = json.loads((raw or {})[METADATA_KEY])
        found = metadata.pop("schema")
    except (KeyError, ValueError, AttributeError, TypeError):
        raise StorageError(f"{path}: holds no metadata of this project; delete it and rerun") from None
    if found != schema:
        raise StorageError(f"{path}: is {found!r}, expected {schema!r}; delete it and rerun")
    return metadata
