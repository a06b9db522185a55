"""Pictures as text of the page: figures made small, and the test samples of a set as one sprite or as excerpts."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from immature_ood.kinds import KindOfData

__all__ = ["Gallery", "data_uri", "figure_uri", "gallery"]

IMAGES, TOKENS = "images", "tokens"  # the kinds that can be shown; by name, as the kinds themselves lead to torch
WIDEST = 1200  # pixels of a figure
QUALITY = 85  # of a figure, as WebP counts it
SHADES = 128  # of a sprite in colour
LARGEST_SIDE = 32  # pixels of a thumbnail
COLUMNS = 25  # thumbnails in a row of a sprite
LONGEST = 128  # letters of an excerpt


@dataclass(frozen=True)
class Gallery:
    """The samples of one set that the page can show.

    places: the cell of each sample that is shown, by its place in the test set. sprite: the pictures in rows of COLUMNS
    as a data URI, or "". texts: in their place, by cell, of samples that are text.
    """

    places: Mapping[int, int]
    sprite: str = ""
    texts: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Of the sprite."""
        return -(-len(self.places) // COLUMNS)


def gallery(data: KindOfData, stored: np.ndarray, chosen: Sequence[int]) -> Gallery:
    """Of the chosen samples of (N, *shape) as stored; empty of a kind that cannot be shown, and of none."""
    shown = [*dict.fromkeys(chosen)]
    places = {sample: cell for cell, sample in enumerate(shown)}
    if data.kind == IMAGES and shown:
        return Gallery(places, sprite=data_uri(_sprite(stored[shown])))
    if data.kind == TOKENS and shown:
        return Gallery(places, texts=tuple(map(_excerpt, stored[shown])))
    return Gallery({})


def _sprite(images: np.ndarray) -> Image.Image:
    """(n, C, H, W) uint8 side by side in rows of COLUMNS, each at most LARGEST_SIDE high."""
    n, channels, height, width = images.shape
    rows = -(-n // COLUMNS)
    cells = np.zeros((rows * COLUMNS, channels, height, width), np.uint8)
    cells[:n] = images
    pixels = cells.reshape(rows, COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = Image.fromarray(pixels.reshape(rows * height, COLUMNS * width, channels).squeeze())
    if height > LARGEST_SIDE:
        side = LARGEST_SIDE, max(1, round(LARGEST_SIDE * width / height))
        picture = picture.resize((COLUMNS * side[1], rows * side[0]), Image.Resampling.BOX)
    return picture.quantize(SHADES, dither=Image.Dither.NONE) if channels == 3 else picture


def _excerpt(window: np.ndarray) -> str:
    """The first bytes (T,) as text, a dot for what cannot be printed."""
    text = bytes(window.astype(np.uint8)).decode("utf-8", "replace")[:LONGEST]
    return "".join(letter if letter.isprintable() and letter != "\N{REPLACEMENT CHARACTER}" else "·" for letter in text)


def figure_uri(path: Path) -> str:
    """A figure in few bytes, as WebP: at most WIDEST wide."""
    with Image.open(path, formats=("PNG",)) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDEST:
        size = WIDEST, round(picture.height * WIDEST / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return data_uri(picture, "webp", quality=QUALITY, method=6)


def data_uri(picture: Image.Image, form: str = "png", **options: Any) -> str:
    """A picture inside a URI: the same pixels give the same letters. options: of Pillow, for the form."""
    written = io.BytesIO()
    picture.save(written, form, **(options or {"optimize": True}))
    return f"data:image/{form};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
