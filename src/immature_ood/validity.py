"""Whether results follow from the study, as they say themselves: for those that Snakemake's memory does not know.

Snakemake remembers in .snakemake what each file was made from, and makes anew what no longer follows. Results that were
moved, or whose .snakemake was deleted, have no such memory: here what their files hold is compared with the study.
"""

import json
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Claim",
    "adopt",
    "contradictions",
    "date_back",
    "date_back_if_other",
    "forget",
    "metadata_of",
    "remember",
    "remembered",
    "splits_of",
]

MEMORY = Path(".snakemake")
TOKEN = ".memory"  # in a folder of results; its copy is in Snakemake's memory
LONG_AGO = 1_000_000_000  # a time before any other: Snakemake makes anew what is older than what it follows from
# Made from features in minutes; they do not say how.
CHEAP = ("scores", "choices", "costs", "samples", "tables", "plots", "provenance.json")
HEAD = 1 << 18  # bytes of a safetensors file: its metadata come first, then the places of its arrays
FILE_NAME = 254  # of base64 in one name of Snakemake's metadata


@dataclass(frozen=True)
class Claim:
    """A file of results, what it says it was made from, and what the study says; both are asked if need be.

    again: what to delete to have it made anew.
    """

    file: str
    found: Callable[[], Any]
    expected: Callable[[], Mapping[str, Any]]
    again: str


def remembered(folder: str) -> bool:
    """Whether Snakemake's memory is that of this folder of results: both hold the same token, or it is new.

    Folders from before there were tokens are taken for remembered, if there is a memory at all.
    """
    here, there = _read(Path(folder, TOKEN)), _read(_copy(folder))
    return here == there and (here is not None or _has_records() or not Path(folder).exists())


def remember(folder: str, *, anew: bool = True) -> None:
    """Gives a folder and Snakemake's memory a common token: another one, or, if not anew, only where they have none."""
    if anew or _read(Path(folder, TOKEN)) is None:
        token = secrets.token_hex(8)
        for path in (Path(folder, TOKEN), _copy(folder)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(token, encoding="utf-8")


def contradictions(claims: Iterable[Claim], known: Callable[[str], bool]) -> list[str]:
    """A line for each key in which files differ from the study: the first of them, the key, both values, the mend.

    known: whether a file is in a folder that Snakemake remembers; of those only files without a record are asked.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        if not os.path.exists(claim.file) or (known(claim.file) and _record(claim.file).exists()):
            continue
        for key, found, expected in _differences(claim.found(), _plain(claim.expected())):
            line = (
                f"{claim.file}: {key} is {found}, but {expected} in this study, and Snakemake does not know the file; "
                f"set it back, give the study another name, or delete {claim.again}"
            )
            lines.setdefault((claim.again, key), []).append(line)
    return [first + (f" ({len(rest)} more files)" if rest else "") for first, *rest in lines.values()]


def adopt(folder: str) -> None:
    """Takes results over from elsewhere: records of other files are dropped, and what does not say how it was made is
    dated back, so that it is made anew; data, checkpoints and features stay, and are asked each time.
    """
    for path in (Path(root, name) for root, _, names in os.walk(folder) for name in names):
        forget(str(path))
        if path.relative_to(folder).parts[0] in CHEAP:
            date_back(path)
    remember(folder)


def forget(path: str) -> None:
    """Takes from Snakemake's memory what it knows of a file, which is then asked what it was made from."""
    _record(path).unlink(missing_ok=True)


def date_back(path: str | Path) -> None:
    """Makes a file older than all it can follow from."""
    if os.path.getmtime(path) != LONG_AGO:
        os.utime(path, (LONG_AGO, LONG_AGO))


def date_back_if_other(path: str, used: Mapping[str, str | None], there: Mapping[str, str]) -> None:
    """Dates a file back if, of the images it was made from, any has another hash than those that are there."""
    if any(name in there and there[name] != sha256 for name, sha256 in used.items()) and os.path.exists(path):
        date_back(path)


def splits_of(manifest: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(split, what is said of it) of a data set; none if it is not there."""
    return [*metadata_of(manifest).get("splits", {}).items()]


def metadata_of(path: str | Path) -> dict[str, Any]:
    """What a JSON file holds, or a safetensors file says of itself; {} if it cannot be read."""
    try:
        if Path(path).suffix == ".json":
            return dict(json.loads(Path(path).read_bytes()))
        with open(path, "rb") as file:
            text = file.read(HEAD)[8:].decode("utf-8", errors="replace")
        described, _ = json.JSONDecoder().raw_decode(text.removeprefix('{"__metadata__":'))
        return dict(json.loads(described["immature_ood"]))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _differences(found: Any, expected: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key path, found, expected) of the first leaf of each top-level key that differs."""
    if not isinstance(found, Mapping) or not found:
        yield "what it was made from", "not said", "known"
        return
    for key, value in expected.items():
        if found.get(key) != value:
            yield _leaf(key, found.get(key), value)


def _leaf(path: str, found: Any, expected: Any) -> tuple[str, str, str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in [*expected, *found]:
            if found.get(key) != expected.get(key):
                return _leaf(f"{path}.{key}", found.get(key), expected.get(key))
    return path, repr(found), repr(expected)


def _plain(value: Any) -> Any:
    """The value as it would come out of a file of JSON."""
    return json.loads(json.dumps(value))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _copy(folder: str) -> Path:
    return MEMORY / "immature_ood" / Path(folder).name


def _has_records() -> bool:
    with suppress(OSError):
        return any((MEMORY / "metadata").iterdir())
    return False


def _record(file: str) -> Path:
    """Where Snakemake keeps what it knows of a file: its name in base64, in parts of the length of a file name."""
    name = urlsafe_b64encode(file.encode("utf-8", errors="surrogateescape")).decode()
    *parts, last = [name[start : start + FILE_NAME] for start in range(0, len(name), FILE_NAME)]
    return MEMORY.joinpath("metadata", *(f"@{part}" for part in parts), last)
