"""Code: the modules of Python's standard library, with their comments, without their docstrings.

Each module is a document. Left out are tests, the tables of `encodings` and `pydoc_data`, and what is installed beside
the library; docstrings, since they are the text of python_docs. Nothing is downloaded; another Python has other code.
It is under the PSF licence agreement.
"""

from collections.abc import Iterator
from pathlib import Path

from immature_ood.datasets import Images
from immature_ood.datasets._python import documented, modules, on_python
from immature_ood.datasets._text import KINDS, UNITS, Documents, TextConfig, deal_documents
from immature_ood.kinds.tokens import Config as TokenConfig

__all__ = ["KINDS", "PACKAGES", "UNITS", "Config", "load"]

PACKAGES = ()


class Config(TextConfig):
    """The code of Python's standard library."""

    source: str = "python_source"

    def contents(self) -> str:
        """The version of Python."""
        return on_python()

    def remarks(self, data_dir: Path) -> Iterator[str]:
        """Of what Python, and the licence."""
        yield f"from the standard library of {on_python()}, under the PSF licence agreement"


def load(config: Config, data: TokenConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file of the library>#<window>"."""
    files = modules()

    def read(name: str) -> bytes:
        return without_docstrings(files[name].read_text(encoding="utf-8")).encode()

    documents = Documents([*files], "Python", read)
    return deal_documents(documents, config, data)


def without_docstrings(code: str) -> str:
    """The code without the lines of its docstrings.

    >>> without_docstrings('def f():\\n    "Says two."\\n    return 2\\n')
    'def f():\\n    return 2\\n'
    """
    lines = code.splitlines(keepends=True)
    for node in documented(code):
        first, last = node.body[0].lineno - 1, node.body[0].end_lineno
        lines[first:last] = [""] * len(lines[first:last])
    return "".join(lines)
