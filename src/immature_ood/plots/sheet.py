"""A contact sheet: the most and the least unusual of the images that were scored."""

import heapq
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from immature_ood.plots.saving import check_suffix, save
from immature_ood.plots.style import RC, style
from immature_ood.storage import check_writable

__all__ = ["Extremes", "Sheet", "Tile", "contact_sheet", "montage", "printable"]

COLUMNS = 8
TILE, GAP, TEXT, HEADING, MARGIN = 1.1, 0.12, 0.36, 0.34, 0.15  # inches
SHOWN = 18  # characters of a name that fit under a tile
ODD = "#B34700"
TITLE_SIZE, LABEL_SIZE = 11, 7.5  # points


@dataclass(frozen=True)
class Tile:
    """What is shown of one score: pixels (b, C, H, W) uint8, several of a group; p: None if there is no p-value."""

    pixels: np.ndarray
    name: str
    score: float
    p: float | None = None
    odd: bool = False


@dataclass
class Extremes:
    """The tiles with the highest and with the lowest scores of those that came by, at most `each` of both.

    No more are held, however many come. Of equal scores the first to come is preferred.
    """

    each: int
    count: int = 0
    highest: list[tuple[float, int, Tile]] = field(default_factory=list)
    lowest: list[tuple[float, int, Tile]] = field(default_factory=list)

    def add(self, tile: Tile) -> None:
        """Takes note of one more."""
        self.count += 1
        for heap, key in ((self.highest, tile.score), (self.lowest, -tile.score)):
            if len(heap) < self.each:
                heapq.heappush(heap, (key, -self.count, tile))
            elif key > heap[0][0]:
                heapq.heapreplace(heap, (key, -self.count, tile))

    def most(self) -> list[Tile]:
        """The highest, from the highest on."""
        return [tile for *_, tile in sorted(self.highest, reverse=True)]

    def least(self) -> list[Tile]:
        """The lowest that are not among the highest, from the lowest on."""
        shown = {order for _, order, _ in self.highest}
        return [tile for _, order, tile in sorted(self.lowest, reverse=True) if order not in shown]


class Sheet:
    """A contact sheet to be written to a file at the end; what it needs is checked at the beginning.

    Raises ValueError if no figure is saved by the suffix of the path, StorageError if its folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], each: int, level: float) -> None:
        check_suffix(path)
        check_writable(os.path.dirname(path) or ".")
        self.path, self.level, self.extremes = path, level, Extremes(each)

    def add(self, tile: Tile) -> None:
        """Takes note of one more."""
        self.extremes.add(tile)

    def save(self) -> None:
        """Draws and writes it; raises ValueError if nothing came."""
        found = self.extremes
        save(contact_sheet(found.most(), found.least(), found.count, self.level), self.path)


def contact_sheet(most: Sequence[Tile], least: Sequence[Tile], count: int, level: float) -> Figure:
    """Tiles of the highest scores above tiles of the lowest, each with its name, score and p-value.

    count: how many were scored. level: of false alarms, at which some are odd. Raises ValueError if there is no tile.
    """
    if not most:
        raise ValueError("nothing was scored: there is no contact sheet to draw")
    things = "groups" if len(most[0].pixels) > 1 else "images"
    odd = f"; {ODD_IS.format(level=level)}" if any(tile.odd for tile in (*most, *least)) else ""
    sections = [
        (f"The {len(most)} most unusual of {count:,} {things}{odd}", most),
        *([(f"The {len(least)} least unusual", least)] if least else []),
    ]
    return _drawn(sections)


ODD_IS = "orange: called odd at false alarms of {level:g}"


def _drawn(sections: Sequence[tuple[str, Sequence[Tile]]]) -> Figure:
    rows = [math.ceil(len(tiles) / COLUMNS) for _, tiles in sections]
    width = 2 * MARGIN + COLUMNS * (TILE + GAP) - GAP
    height = 2 * MARGIN + len(sections) * HEADING + sum(rows) * (TILE + TEXT + GAP)
    with style():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        top = MARGIN
        for (heading, tiles), number in zip(sections, rows, strict=True):
            axes.text(MARGIN, top, heading, fontsize=TITLE_SIZE, fontweight="bold", verticalalignment="top")
            _draw_tiles(axes, tiles, top + HEADING)
            top += HEADING + number * (TILE + TEXT + GAP)
        axes.set(xlim=(0, width), ylim=(height, 0))  # which every picture sets
        return figure


def _draw_tiles(axes: Axes, tiles: Sequence[Tile], top: float) -> None:
    for place, tile in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        x, y = MARGIN + column * (TILE + GAP), top + row * (TILE + TEXT + GAP)
        shown = montage(tile.pixels)
        tall, wide = (side / max(shown.shape[:2]) * TILE for side in shown.shape[:2])
        place_of = (x, x + wide, y + tall, y)
        axes.imshow(shown, "gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto", extent=place_of)
        said = f"{tile.score:.4g}" + ("" if tile.p is None else f"   p {tile.p:.2g}")
        _write(axes, x, y + tall + 0.04, printable(tile.name, SHOWN), "black")
        _write(axes, x, y + tall + 0.18, said, ODD if tile.odd else "black")


def _write(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.text(x, y, text, color=colour, fontsize=LABEL_SIZE, verticalalignment="top", parse_math=False)


def montage(pixels: np.ndarray) -> np.ndarray:
    """Images (b, C, H, W) uint8 side by side in a square, white between them: (H', W') or (H', W', 3) uint8."""
    b, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(b))
    whole = np.full((math.ceil(b / columns) * (height + 1) - 1, columns * (width + 1) - 1, channels), 255, np.uint8)
    for place, image in enumerate(pixels):
        y, x = (each * step for each, step in zip(divmod(place, columns), (height + 1, width + 1), strict=True))
        whole[y : y + height, x : x + width] = image.transpose(1, 2, 0)
    return whole[:, :, 0] if channels == 1 else whole


def printable(path: str, longest: int) -> str:
    """The end of a path, its folder and name, in characters that the figures' font has.

    >>> printable("pictures/of many kinds/animals/0001.png", 18)
    'animals/0001.png'
    >>> printable("pictures/of many kinds of things/0001.png", 18)
    '…f things/0001.png'
    """
    name = "/".join(PurePath(path).parts[-2:]).lstrip("/")
    shown = "".join(each if ord(each) in _characters() else "▯" for each in name)
    return shown if len(shown) <= longest else f"…{shown[1 - longest :]}"


@lru_cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(RC["font.family"])).get_charmap())
