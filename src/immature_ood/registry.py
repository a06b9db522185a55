"""Data sets, models and detectors are found by the name of their file: adding one is adding a file."""

import importlib
import pkgutil
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Literal

__all__ = ["Kind", "did_you_mean", "load", "names"]

Kind = Literal["datasets", "models", "detectors"]


def names(kind: Kind) -> list[str]:
    """All registered names of a kind, sorted; nothing is imported.

    >>> names("detectors")
    ['gradient_norms', 'gradient_norms_epsilon', 'likelihood', 'typicality']
    """
    folder = Path(__file__).parent / kind
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def load(kind: Kind, name: str) -> ModuleType:
    """The module of that name; raises KeyError naming the nearest valid name."""
    known = names(kind)
    if name not in known:
        raise KeyError(f"no {name!r} among the {kind}{did_you_mean(name, known)}")
    return importlib.import_module(f"immature_ood.{kind}.{name}")


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of an error message that names the nearest valid name, or all of them.

    >>> did_you_mean("glpyhs", ["digits", "glyphs", "photos"])
    "; did you mean 'glyphs'?"
    """
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid names: {', '.join(known)}"
