"""Plug-ins: data sources, models, detectors, epoch rules and kinds of data, each a file (or folder) found by its name.

A plug-in is a file of the folder of its kind, or one of your own that a study names by its path. It owns its `Config`
(see config), which a study's section is read with, and what it makes: a data source `load`, a model `make`, a detector
`fit`, an epoch rule `choose` (see datasets, models, detectors and epoch_rules); a kind of data is its Config alone (see
kinds). It imports what is heavy, such as torch, inside these functions or in a file beside it whose name begins with _,
for a study is planned without.
"""

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from immature_ood.config import Config, DatasetConfig, DetectorConfig, ModelConfig, RuleConfig
from immature_ood.kinds import KindOfData

__all__ = [
    "KEYS",
    "SECTIONS",
    "Kind",
    "PluginError",
    "config_class",
    "did_you_mean",
    "file_of",
    "load",
    "names",
    "own_name",
    "parse",
]

Kind = Literal["datasets", "models", "detectors", "epoch_rules", "kinds"]
# By kind of plug-in: the key that names one, and what the section of one without options is read with.
KEYS: Mapping[Kind, str] = {
    "datasets": "source",
    "models": "architecture",
    "detectors": "detector",
    "epoch_rules": "rule",
    "kinds": "kind",
}
SECTIONS: Mapping[Kind, type[Config]] = {
    "datasets": DatasetConfig,
    "models": ModelConfig,
    "detectors": DetectorConfig,
    "epoch_rules": RuleConfig,
    "kinds": KindOfData,
}


class PluginError(ValueError):
    """There is no such plug-in, or its file cannot be run."""


def names(kind: Kind) -> list[str]:
    """All names of a kind that come with the package, sorted; nothing is imported.

    >>> names("kinds")
    ['images', 'tokens']
    """
    folder = Path(__file__).parent / kind
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def load(kind: Kind, name: str) -> ModuleType:
    """The module of a name, or of a path such as "mine.py" or "detectors/mine", relative to where the process runs.

    Raises PluginError, naming the nearest valid name.
    """
    if _is_path(name):
        return _load_file(Path(name))
    known = names(kind)
    if name not in known:
        raise PluginError(f"unknown name {name!r}{did_you_mean(name, known)}")
    return importlib.import_module(f"immature_ood.{kind}.{name}")


def config_class(kind: Kind, name: str, without_options: type[Config] | None = None) -> type[Config]:
    """What a plug-in's section is read with: its Config, or, where it has no options, that of its kind or another."""
    own: type[Config] = vars(load(kind, name)).get("Config", without_options or SECTIONS[kind])
    return own


def parse(kind: Kind, section: Mapping[str, Any], without_options: type[Config] | None = None) -> Any:
    """The config of a plug-in's section, such as {"architecture": "glow", "blocks": 2}; see config_class."""
    return config_class(kind, section[KEYS[kind]], without_options).model_validate(dict(section))


def file_of(kind: Kind, name: str) -> Path:
    """The file that a plug-in is read from, of a folder its __init__.py."""
    path = Path(name) if _is_path(name) else Path(__file__).parent / kind / name
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def own_name(name: str) -> str:
    """What a plug-in is called where a study gives it no name: of a path, the name of the file.

    >>> own_name("detectors/mine.py"), own_name("likelihood")
    ('mine', 'likelihood')
    """
    return Path(name).stem if _is_path(name) else name


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(".py")


def _load_file(path: Path) -> ModuleType:
    """Runs a file once a process, as part of a package of the files beside it, so that it can import these."""
    file = file_of("detectors", str(path))
    if not file.is_file():
        raise PluginError(f"there is no file {file}")
    folder = path.resolve().parent
    package = f"immature_ood_plugins_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(folder)]
    try:
        return importlib.import_module(f"{package}.{path.stem}")
    except Exception as error:  # whatever a file of somebody's own does
        raise PluginError(f"{file} cannot be imported ({type(error).__name__}: {error})") from error


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of an error message that names the nearest valid name, or all of them.

    >>> did_you_mean("glpyhs", ["digits", "glyphs", "photos"])
    "; did you mean 'glyphs'?"
    """
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid names: {', '.join(known)}"
