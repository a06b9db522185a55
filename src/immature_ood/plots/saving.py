"""Figures as files whose bytes depend on nothing but what is drawn: a PNG for the screen, a PDF for a paper."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from immature_ood.plots.style import TITLE, style
from immature_ood.storage import write_bytes

__all__ = ["check_suffix", "save"]

METADATA = {  # matplotlib writes dates and its own version unless told not to
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raises ValueError if the suffix is none that figures are saved by."""
    if Path(path).suffix not in METADATA:
        raise ValueError(f"{path}: figures are saved as {', '.join(METADATA)}; choose one of these suffixes")


def save(figure: Figure, *paths: str | os.PathLike[str]) -> None:
    """Writes the figure to each path, whole or not at all, as the suffix says: .png (300 dpi), .pdf or .svg.

    A PDF is cut below the title, which a paper has in its caption; fonts are embedded as TrueType. Equal figures give
    equal bytes. Raises ValueError for another suffix, StorageError if a file cannot be written.
    """
    for path in map(Path, paths):
        check_suffix(path)
        drawn = io.BytesIO()  # in memory first: of a full disk matplotlib and Pillow say nothing that helps
        with style(), _for_paper(figure) if path.suffix == ".pdf" else _whole() as cut:
            figure.savefig(drawn, format=path.suffix[1:], metadata=METADATA[path.suffix], **cut)
        write_bytes(path, drawn.getvalue())


@contextmanager
def _whole() -> Iterator[dict[str, Any]]:
    yield {}


@contextmanager
def _for_paper(figure: Figure) -> Iterator[dict[str, Any]]:
    """The figure without its title, and the option of savefig that cuts off the title's place."""
    titles = [text for text in figure.texts if text.get_gid() == TITLE]
    width, height = figure.get_size_inches()
    top = min((text.get_window_extent().y0 / figure.dpi for text in titles), default=height)
    for text in titles:
        text.set_visible(False)
    try:
        yield {"bbox_inches": Bbox.from_extents(0, 0, width, top)}
    finally:
        for text in titles:
            text.set_visible(True)
