"""Documents, cut into disjoint windows of bytes: what the sources of text share.

A document is what was written together: a module, a manual page, a file. All its windows are in one split and are one
unit. Documents are dealt by one seeded permutation, test before fit before train, each split until it has the windows
that are asked for: asking for more training windows changes no others. Of a long document a few windows are taken,
evenly spread, and what is left at its end is unused.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from immature_ood.config import Positive
from immature_ood.datasets import SPLITS, Images
from immature_ood.kinds.tokens import Config as TokenConfig
from immature_ood.kinds.tokens import TokenDatasetConfig

__all__ = ["KINDS", "UNITS", "Documents", "TextConfig", "deal_documents"]

KINDS = ("tokens",)


class TextConfig(TokenDatasetConfig):
    """What sources of text have in common."""

    windows: Positive = 8
    """Of each document at most so many windows are taken, evenly spread."""


@dataclass(frozen=True)
class Documents:
    """Texts that are not read yet.

    names: in an order that is always the same. stored: the format of their files. read: a document's bytes by its name,
    or why it is left out, such as "not UTF-8".
    """

    names: Sequence[str]
    stored: str
    read: Callable[[str], bytes | str]


def _document_of(origin: str) -> str:
    """The name of the document in which a window lies.

    >>> _document_of("json/decoder.py#3")
    'json/decoder.py'
    """
    return origin.rpartition("#")[0]


UNITS = {"document": _document_of, "window": str}


def deal_documents(documents: Documents, config: TextConfig, data: TokenConfig) -> dict[str, Images]:
    """The splits; origins are "<name of the document>#<number of the window in it, from 0>"."""
    order = iter(np.random.default_rng(config.seed).permutation(len(documents.names)).tolist())
    left_out: Counter[str] = Counter()
    splits = {}
    for split in reversed(SPLITS):
        found: list[tuple[str, np.ndarray]] = []
        size = getattr(config, split)
        while len(found) < size and (place := next(order, None)) is not None:
            windows = _read(documents, documents.names[place], config.windows, data.length)
            left_out.update([windows] if isinstance(windows, str) else [])
            found += [] if isinstance(windows, str) else windows
        splits[split] = _images(found[:size], documents.stored, data)
    return splits | {"test": replace(splits["test"], left_out=left_out)}


def _read(documents: Documents, name: str, most: int, length: int) -> list[tuple[str, np.ndarray]] | str:
    """At most so many windows of a document with their origins, or why it is left out."""
    text = documents.read(name)
    if isinstance(text, str):
        return text
    number = len(text) // length
    windows = np.frombuffer(text[: number * length], np.uint8).reshape(number, length)
    chosen = np.arange(min(number, most)) * number // max(min(number, most), 1)
    return [(f"{name}#{place}", windows[place]) for place in chosen] if number else "shorter than a window"


def _images(found: Sequence[tuple[str, np.ndarray]], stored: str, data: TokenConfig) -> Images:
    windows = np.array([window for _, window in found], np.uint8).reshape(-1, *data.shape)
    return Images(windows, [origin for origin, _ in found], [stored] * len(found))
