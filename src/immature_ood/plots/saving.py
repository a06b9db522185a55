"""Figures as files whose bytes depend on nothing but what is drawn."""

import io
import os
from pathlib import Path

from matplotlib.figure import Figure

from immature_ood.plots.style import style
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


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes the figure whole or not at all, as the suffix says: .png (200 dpi), .pdf or .svg.

    Equal figures give equal bytes. Raises ValueError for another suffix, StorageError if the file cannot be written.
    """
    check_suffix(path)
    path = Path(path)
    drawn = io.BytesIO()  # in memory first: of a full disk matplotlib and Pillow say nothing that helps
    with style():
        figure.savefig(drawn, format=path.suffix[1:], metadata=METADATA[path.suffix])
    write_bytes(path, drawn.getvalue())
