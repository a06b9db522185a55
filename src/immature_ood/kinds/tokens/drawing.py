"""Windows of text for figures: in a few lines of letters of one width."""

import math
from functools import cache
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

__all__ = ["draw", "readable"]

FONT = "DejaVu Sans Mono"  # comes with matplotlib
WIDE = 4  # a window takes the place of so many samples
LONGEST = 256  # letters: what is longer is cut
LETTER, LINE = 0.62, 1.25  # widths and heights, of the size of the font
POINTS = 72  # an inch
SHARE = 0.9  # of the figure's width, which the axes have


def draw(axes: Axes, windows: np.ndarray, columns: int) -> None:
    """The text of windows (n, T) uint8 side by side, of the first of them, where four samples' room shows one."""
    figure = cast(Figure, axes.get_figure(root=True))
    side = SHARE * figure.get_figwidth() * POINTS / columns
    places = max(columns // WIDE, 1)
    letters = math.ceil(math.sqrt(WIDE * min(windows.shape[1], LONGEST) * LINE / LETTER))  # a line
    size = SHARE * side * WIDE / (LETTER * letters)
    for place, window in enumerate(windows[:places]):
        shown = readable(window)[:LONGEST]
        lines = "\n".join(shown[start : start + letters] for start in range(0, len(shown), letters))
        text = axes.text(place / places, 0.5, lines, family=FONT, fontsize=size, va="center", parse_math=False)
        text.set_in_layout(False)  # rows keep their height


def readable(window: np.ndarray) -> str:
    """The text of bytes (T,), which are taken for UTF-8; a dot for what is none, or that the font cannot show.

    >>> readable(np.frombuffer("für\\n$x$".encode() + b"\\xff", np.uint8))
    'für·$x$·'
    """
    there = _glyphs()
    return "".join(letter if ord(letter) in there else "·" for letter in bytes(window).decode("utf-8", "replace"))


@cache
def _glyphs() -> frozenset[int]:
    """The code points of all printable letters of the font."""
    found = FT2Font(findfont(FONT)).get_charmap()
    return frozenset(code for code in found if chr(code).isprintable() and chr(code) != "\N{REPLACEMENT CHARACTER}")
