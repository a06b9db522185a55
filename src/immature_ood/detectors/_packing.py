"""What fitted detectors know, as arrays and JSON values: frozen dataclasses, which may hold others."""

import importlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

import numpy as np

from immature_ood import registry

__all__ = ["packed", "unpacked"]

PACKAGE = "immature_ood.detectors."


def packed(thing: Any, prefix: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A dataclass → (arrays by prefix/field, an entry of JSON values that tells its class and all the rest)."""
    arrays: dict[str, np.ndarray] = {}
    entry: dict[str, Any] = {"file": _home(type(thing)), "class": type(thing).__name__}
    entry |= {"arrays": [], "parts": {}, "values": {}}
    for field, value in vars(thing).items():
        if isinstance(value, np.ndarray):
            arrays[f"{prefix}/{field}"] = value
            entry["arrays"].append(field)
        elif parts := _parts(value):
            several = [packed(part, f"{prefix}/{field}/{place}") for place, part in enumerate(parts)]
            arrays |= {name: array for own, _ in several for name, array in own.items()}
            entry["parts"][field] = [each for _, each in several] if isinstance(value, tuple) else several[0][1]
        else:
            entry["values"][field] = value
    return arrays, entry


def unpacked(arrays: Mapping[str, np.ndarray], entry: Mapping[str, Any], prefix: str) -> Any:
    """The dataclass that was packed; raises KeyError, TypeError or PluginError if there is no such."""
    kind = _class(entry["file"], entry["class"])
    values = {field: tuple(value) if isinstance(value, list) else value for field, value in entry["values"].items()}
    own = {field: arrays[f"{prefix}/{field}"] for field in entry["arrays"]}
    parts = {field: _unpacked_parts(arrays, part, f"{prefix}/{field}") for field, part in entry["parts"].items()}
    return kind(**values, **own, **parts)


def _parts(value: Any) -> tuple[Any, ...]:
    """The dataclasses that a field holds: itself, or a tuple of them."""
    several = value if isinstance(value, tuple) else (value,)
    return several if all(map(is_dataclass, several)) else ()


def _unpacked_parts(arrays: Mapping[str, np.ndarray], entry: Any, prefix: str) -> Any:
    if isinstance(entry, list):
        return tuple(unpacked(arrays, part, f"{prefix}/{place}") for place, part in enumerate(entry))
    return unpacked(arrays, entry, f"{prefix}/0")


def _home(kind: type) -> str:
    """Where a class is: the name of a module of this package, or the path of a file of one's own."""
    if kind.__module__.startswith(PACKAGE):
        return kind.__module__.removeprefix(PACKAGE)
    return os.path.relpath(str(sys.modules[kind.__module__].__file__))


def _class(file: str, name: str) -> type[Any]:
    """A dataclass of a module; a file of arrays can name nothing else to be called."""
    module = _module(file)
    kind = vars(module).get(name)
    if not (isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__):
        raise KeyError(f"{file} has no detector {name}")
    return kind


def _module(file: str) -> ModuleType:
    if not re.fullmatch(r"_[a-z_]+", file):
        return registry.load("detectors", file)
    try:
        return importlib.import_module(PACKAGE + file)
    except ModuleNotFoundError as error:
        raise KeyError(f"there is no {file}") from error
