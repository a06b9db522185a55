"""The modules of Python's standard library, as files."""

import ast
import platform
import sysconfig
from pathlib import Path

__all__ = ["Documented", "documented", "library", "modules", "on_python"]

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data", "__pycache__"}
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def on_python() -> str:
    """The version of Python, such as "Python 3.11.7"."""
    return f"Python {platform.python_version()}"


def library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def modules() -> dict[str, Path]:
    """The files of the library by their names below its folder, sorted, with / between; without tests and tables."""
    found = ((path.relative_to(library()), path) for path in library().rglob("*.py"))
    return {name.as_posix(): path for name, path in sorted(found) if LEFT_OUT.isdisjoint(name.parts)}


def documented(code: str) -> list[Documented]:
    """The module, classes and functions of some code that have a docstring, in the order of these."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, Documented)]
    return sorted((node for node in found if ast.get_docstring(node)), key=lambda node: node.body[0].lineno)
