"""English: what Python's standard library says of itself, its docstrings and the topics of `help()`.

The docstrings of a module, one after another, are a document, and so is each topic, of the language reference. Modules
are those of python_source. Much of it is examples and signatures; it is the English of programmers. Nothing is
downloaded; another Python has other text. It is under the PSF licence agreement.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from immature_ood.datasets import Images
from immature_ood.datasets._python import documented, modules, on_python
from immature_ood.datasets._text import KINDS, UNITS, Documents, TextConfig, deal_documents
from immature_ood.kinds.tokens import Config as TokenConfig

__all__ = ["KINDS", "PACKAGES", "UNITS", "Config", "load"]

PACKAGES = ()


class Config(TextConfig):
    """The English of Python's standard library."""

    source: str = "python_docs"

    def contents(self) -> str:
        """The version of Python."""
        return on_python()

    def remarks(self, data_dir: Path) -> Iterator[str]:
        """Of what Python, and the licence."""
        yield f"from the standard library of {on_python()}, under the PSF licence agreement"


def load(config: Config, data: TokenConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file of the library>#<window>" and "help(<topic>)#<window>"."""
    from pydoc_data.topics import topics

    files = modules()
    helped = {f"help({name})": text.encode() for name, text in sorted(topics.items())}

    def read(name: str) -> bytes:
        return helped[name] if name in helped else docstrings(files[name].read_text(encoding="utf-8")).encode()

    return deal_documents(Documents([*files, *helped], "Python", read), config, data)


def docstrings(code: str) -> str:
    """The docstrings of a module, its classes and functions, in the order of the file, without their indentation.

    >>> docstrings('"Two."\\ndef f():\\n    "Says two."\\n    return 2\\n')
    'Two.\\n\\nSays two.'
    """
    return "\n\n".join(ast.get_docstring(node) or "" for node in documented(code))
