"""Where an output comes from: its checkpoint, the hash of the sources that make it, the commit, the versions."""

import ast
import hashlib
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from immature_ood.storage import read_json

__all__ = ["describe", "source_hashes", "versions"]

PACKAGE = "immature_ood"
SOURCE = Path(__file__).resolve().parent  # also where the project is reached by links
# These modules decide how a result is stored or described, never what it is; a study acts through its values alone.
WITHOUT_INFLUENCE = {
    "checkpoint_id",
    "config",
    "config_file",
    "faults",
    "job",
    "progress",
    "provenance",
    "registry",
    "sections",
    "spelling",
    "storage",
    "study",
    "validity",
}


def source_hashes(*paths: str | Path) -> dict[str, str]:
    """A short hash of each module of this package that the given Python files reach by imports, and of the files.

    Modules are named as in imports, without the package; files outside it, such as scripts, by their file name, where
    two have the same with that of their folder. Comments, docstrings and layout do not count. Modules found by name at
    run time (registry) must be given as paths.
    """
    found: dict[Path, str] = {}
    waiting = [Path(path).resolve() for path in paths]
    while waiting:
        path = waiting.pop()
        found[path] = _name(path)
        waiting += [file for file in _imported(path) if file not in found and _name(file) not in WITHOUT_INFLUENCE]
    taken = Counter(found.values())
    names = {path: name if taken[name] == 1 else f"{path.parent.name}/{name}" for path, name in found.items()}
    return dict(sorted((names[path], _syntax_hash(path)) for path in found))


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
    """The commit ("+": the tree was changed, or has sources of its own) and the versions of Python and the packages."""
    return {"commit": _commit(), "python": platform.python_version()} | {name: version(name) for name in packages}


def _name(path: Path) -> str:
    if SOURCE not in path.resolve().parents:
        return path.name  # with its suffix, which no module has: overlap.py is a script, overlap a module
    parts = path.resolve().relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def _syntax_hash(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_docstring(child)] or [ast.Pass()]
    return hashlib.sha256(_written(tree).encode()).hexdigest()[:12]


def _written(node: object) -> str:
    """A syntax tree as text, the same from every Python: ast.unparse and ast.dump write some of it otherwise in 3.12.

    A field that is empty is left out, since later versions have more of them, and in a formatted string constants that
    stand side by side are one.
    """
    if isinstance(node, list):
        return f"[{' '.join(map(_written, node))}]"
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.JoinedStr):
        fields["values"] = _with_joined_constants(node.values)
    written = (f"{name}={_written(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({' '.join(written)})"


def _with_joined_constants(parts: Iterable[ast.expr]) -> list[ast.expr]:
    joined: list[ast.expr] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(part.value))
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            joined.append(part)
    return joined


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _imported(path: Path) -> list[Path]:
    """The files of this package that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        for module in _modules(node, path):
            found += _files(module)
    return found


def _modules(node: ast.AST, path: Path) -> Iterator[list[str]]:
    """The modules that a statement in a file imports, and the names it takes from them, which may be modules too.

    Each is a list of its parts; the first is a package or, of the files beside a plug-in of one's own, their folder.
    """
    if isinstance(node, ast.Import):
        yield from (alias.name.split(".") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = [*_package(path, node.level), *(node.module.split(".") if node.module else [])]
        yield module
        yield from ([*module, alias.name] for alias in node.names)


def _package(path: Path, level: int) -> list[str]:
    """What the dots of a relative import in a file stand for: none, the package the file is in, the one above, ..."""
    if not level:
        return []
    folder = path.resolve().parents[level - 1]
    inside = folder == SOURCE or SOURCE in folder.parents
    return [PACKAGE, *folder.relative_to(SOURCE).parts] if inside else [str(folder)]


def _files(module: list[str]) -> list[Path]:
    head, *parts = module
    if not parts or not (head == PACKAGE or Path(head).is_absolute()):
        return []
    path = (SOURCE if head == PACKAGE else Path(head)).joinpath(*parts)
    candidates = [path.with_suffix(".py"), path / "__init__.py", path.parent / "__init__.py"]
    return [file.resolve() for file in candidates if file.is_file() and file != SOURCE / "__init__.py"]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(SOURCE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        added = git("status", "--porcelain", "--", ":/src", ":/workflow")  # a detector of one's own, not yet committed
        return git("rev-parse", "HEAD") + ("+" if changed or added else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
