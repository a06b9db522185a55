"""Where an output comes from: its checkpoint, the hash of the sources that make it, the commit, the versions."""

import ast
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from immature_ood.storage import StorageError, read_json

__all__ = ["CheckpointId", "describe", "read_checkpoint", "source_hashes", "train_seconds", "versions"]

PACKAGE = "immature_ood"
SOURCE = Path(__file__).resolve().parent  # also where the project is reached by links
# These modules decide how a result is stored or described, never what it is; a study acts through its values alone.
WITHOUT_INFLUENCE = {"job", "progress", "provenance", "registry", "storage", "study"}


@dataclass(frozen=True)
class CheckpointId:
    """Which checkpoint something was made from."""

    id_dataset: str
    model: str
    seed: int
    epoch: int
    images_seen: int
    run_key: str


def source_hashes(*paths: str | Path) -> dict[str, str]:
    """A short hash of each module of this package that the given Python files reach by imports, and of the files.

    Comments, docstrings and layout do not count. Modules found by name at run time (registry) must be given as paths.
    """
    found: dict[str, str] = {}
    waiting = [Path(path) for path in paths]
    while waiting:
        path = waiting.pop()
        name = _module_name(path)
        if name in found or name in WITHOUT_INFLUENCE:
            continue
        found[name] = _syntax_hash(path)
        waiting += _imported(path)
    return dict(sorted(found.items()))


def read_checkpoint(sidecar: str | Path) -> tuple[CheckpointId, float]:
    """Which checkpoint a checkpoint.json lies beside, and its training time in seconds."""
    described = read_json(sidecar)
    try:
        return CheckpointId(**described["checkpoint"]), float(described["train_seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{sidecar}: does not describe a checkpoint ({error}); delete it and rerun") from error


def train_seconds(sidecars: Iterable[str | Path]) -> dict[CheckpointId, float]:
    """Training time of each checkpoint, from the checkpoint.json beside its weights."""
    return dict(read_checkpoint(path) for path in sidecars)


def describe(
    study: Mapping[str, Any],
    sources: Mapping[str, str],
    manifests: Iterable[str | Path],
    sidecars: Iterable[str | Path],
) -> dict[str, Any]:
    """All that the results of a study follow from: its config, sources, images, and where each checkpoint was made.

    Files of features and scores name their checkpoint with its run key, and so lead here.
    """
    data = {}
    for path in manifests:
        manifest = read_json(path)
        hashes = {split: described["sha256"] for split, described in manifest.pop("splits").items()}
        data[manifest["name"]] = {**manifest, "sha256": hashes}
    return {
        "study": dict(study),
        "study_sha256": hashlib.sha256(json.dumps(study, sort_keys=True).encode()).hexdigest(),
        "sources": dict(sources),
        "data": data,
        "checkpoints": [read_json(path) for path in sidecars],
        **versions("numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "safetensors"),
    }


def versions(*packages: str) -> dict[str, str]:
    """The commit (with "+" where the tree was changed) and the versions of Python and the packages."""
    return {"commit": _commit(), "python": platform.python_version()} | {name: version(name) for name in packages}


def _module_name(path: Path) -> str:
    if SOURCE not in path.resolve().parents:
        return path.stem
    parts = path.resolve().relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def _syntax_hash(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_docstring(child)] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:12]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _imported(path: Path) -> list[Path]:
    """The files of this package that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        for module in _modules(node):
            found += _files(module)
    return found


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)  # perhaps a module, perhaps a name in one


def _files(module: str) -> list[Path]:
    head, *parts = module.split(".")
    if head != PACKAGE or not parts:
        return []
    path = SOURCE.joinpath(*parts)
    candidates = [path.with_suffix(".py"), path / "__init__.py", path.parent / "__init__.py"]
    return [file for file in candidates if file.is_file() and file != SOURCE / "__init__.py"]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(SOURCE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
