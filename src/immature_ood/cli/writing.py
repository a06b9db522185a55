"""Rows of scores as CSV, JSON lines or Parquet, written as they come."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

__all__ = ["Format", "format_of", "writer"]

Write = Callable[[Sequence[Mapping[str, Any]]], None]
TEXT = 4096  # rows of a group of Parquet


class Format(StrEnum):
    """How scores are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def format_of(out: Path | None, asked: Format | None) -> Format:
    """The format that is asked for, or that of the suffix, or CSV; raises ValueError for Parquet without a file."""
    suffixes = {f".{each}": each for each in Format} | {".pq": Format.PARQUET, ".json": Format.JSONL}
    chosen = asked or (suffixes.get(out.suffix.lower()) if out else Format.CSV)
    if chosen is None:
        raise ValueError(f"{out}: {out and out.suffix} is none of {', '.join(suffixes)}; say --format")
    if chosen is Format.PARQUET and out is None:
        raise ValueError("Parquet is no text: say where it goes by --out scores.parquet")
    return chosen


@contextmanager
def writer(out: Path | None, chosen: Format, columns: Mapping[str, type]) -> Iterator[Write]:
    """Yields what writes rows, to a file that appears whole or not at all, or to stdout.

    columns: names, and float or str; a row may lack some.
    """
    if out is None:
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of any bytes
        with _open_text(sys.stdout, chosen, columns) as write:
            yield write
            sys.stdout.flush()
        return
    from immature_ood.storage import write_whole

    with write_whole(out) as temporary:
        if chosen is Format.PARQUET:
            with _parquet(temporary, columns) as write:
                yield write
        else:
            file = temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            with file, _open_text(file, chosen, columns) as write:
                yield write


@contextmanager
def _open_text(file: IO[str], chosen: Format, columns: Mapping[str, type]) -> Iterator[Write]:
    if chosen is Format.JSONL:
        yield lambda rows: file.writelines(json.dumps(_finite(row)) + "\n" for row in rows)
        return
    table = csv.DictWriter(file, [*columns], restval="", lineterminator="\n")
    table.writeheader()
    yield table.writerows


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON, which has no infinity: such a score is null."""
    return {key: None if isinstance(each, float) and not math.isfinite(each) else each for key, each in row.items()}


@contextmanager
def _parquet(path: Path, columns: Mapping[str, type]) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet

    kinds = {float: pyarrow.float64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema) as file:
        waiting: list[Mapping[str, Any]] = []

        def write(rows: Sequence[Mapping[str, Any]]) -> None:
            waiting.extend({key: _utf8(row.get(key)) for key in columns} for row in rows)
            if len(waiting) >= TEXT:
                flush()

        def flush() -> None:
            file.write_table(pyarrow.Table.from_pylist([*waiting], schema))
            waiting.clear()

        yield write
        flush()


def _utf8(value: Any) -> Any:
    """Names of any bytes as text that a table can hold."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
