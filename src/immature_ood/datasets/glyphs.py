"""Letters of seven scripts, drawn from the font files that come inside matplotlib; bright on dark, as MNIST is.

In a colour study each letter has a colour of its own on a ground of another, at random, one clearly brighter.

Sixteen faces (DejaVu Sans, Sans Mono and Serif, and STIX; regular, bold and slanted) at one size. Left out: accented
letters (they repeat the letter below the accent), letters a font lacks, letters too wide for the image or tiny in it,
and all but one of the letters with the same pixels (A of Latin, Greek and Cyrillic), also where these are the pixels of
a digit (DejaVu Sans Mono draws Cyrillic Ze as a 3). At 28×28 that leaves 6,188 letters.

The same letter in another face, and letters that differ in a stroke, may be in different splits, as the same digit
by another hand may in MNIST: all three splits follow one distribution. A letter in all its faces is one unit. Classes
are scripts, faces, such as DejaVuSans-Bold, and families of faces, such as DejaVuSerif.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from immature_ood.config import DatasetConfig, Label
from immature_ood.datasets import Images, deal
from immature_ood.datasets._pools import of_images
from immature_ood.kinds.images import Config as ImageConfig

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

__all__ = ["CLASSES", "FONTS", "PACKAGES", "SCRIPTS", "UNITS", "draw", "load", "open_font"]

PACKAGES = ("matplotlib",)  # brings the fonts and its own FreeType, so its version fixes the pixels
FONTS = (
    *(f"DejaVuSans{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}.ttf" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta")),
)
SCRIPTS = {
    "Latin": range(0x0041, 0x0180),
    "Greek": range(0x0370, 0x0400),
    "Cyrillic": range(0x0400, 0x0530),
    "Armenian": range(0x0530, 0x0590),
    "Hebrew": range(0x05D0, 0x05EB),
    "Arabic": range(0x0620, 0x0700),
    "Georgian": range(0x10A0, 0x1100),
}
FAMILIES = ("DejaVuSansMono", "DejaVuSans", "DejaVuSerif", "STIXGeneral")  # the longer name first
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601
CONTRAST = 80  # of 255: the least distance in luma between a letter and its ground


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<font file> U+<code point> size=<pixels an em>", and in colour " #<letter> on #<ground>"."""
    size = 11 * image.side // 14  # 22 at 28×28: capitals are then about 16 pixels high
    letters: dict[bytes, str] = {}
    left_out: Counter[str] = Counter()
    for font in FONTS:
        face = open_font(font, size)
        digits = {draw(face, digit, image.side) for digit in "0123456789"}
        for letter in _letters(face):
            drawn = draw(face, letter, image.side)
            if drawn is None:
                left_out["too wide or tiny"] += 1
            elif drawn in digits or drawn in letters:
                left_out["pixels of another letter or a digit"] += 1
            else:
                letters[drawn] = f"{font} U+{ord(letter):04X} size={size}"
    ink = np.frombuffer(b"".join(letters), np.uint8).reshape(-1, 1, image.side, image.side)
    origins = [*letters.values()]
    grey = Images(ink, origins, ["TrueType"] * len(letters), labels=[_label_of(origin) for origin in origins])
    splits = deal(of_images(grey if image.channels == 1 else _coloured(grey, config.seed)), config)
    return splits | {"test": replace(splits["test"], left_out={**left_out, **splits["test"].left_out})}


def _label_of(origin: str) -> Label:
    """The script, the face and the family of a letter.

    >>> _label_of("STIXGeneralBol.ttf U+0391 size=22")
    ('Greek', 'STIXGeneralBol', 'STIXGeneral')
    """
    font, code = origin.split()[:2]
    script = next(name for name, codes in SCRIPTS.items() if int(code[2:], 16) in codes)
    return _label(script, font)


def _label(script: str, font: str) -> Label:
    face = Path(font).stem
    return script, face, next(family for family in FAMILIES if face.startswith(family))


CLASSES = tuple(_label(script, font) for script in SCRIPTS for font in FONTS)


def _letter_of(origin: str) -> str:
    """The code point of a letter.

    >>> _letter_of("DejaVuSans.ttf U+0041 size=22")
    'U+0041'
    """
    return origin.split()[1]


UNITS = {"letter": _letter_of, "image": str}


def open_font(font: str, size: int) -> "FT2Font":
    """A font file of matplotlib, at `size` pixels an em."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    face = FT2Font(Path(get_data_path(), "fonts", "ttf", font))
    face.set_size(size, 72)  # points at 72 dots an inch are pixels
    return face


def _letters(face: "FT2Font") -> Iterator[str]:
    """The unaccented letters of SCRIPTS that the font has."""
    has = face.get_charmap()
    for block in SCRIPTS.values():
        for code in block:
            letter = chr(code)
            is_letter = unicodedata.category(letter) in ("Lu", "Ll", "Lo")
            if has.get(code) and is_letter and not unicodedata.decomposition(letter):
                yield letter


def draw(face: "FT2Font", letter: str, side: int) -> bytes | None:
    """The side·side bytes of a letter, its ink centred; None if its longer side is not in [side / 4, side − 2]."""
    from matplotlib.ft2font import LoadFlags

    face.set_text(letter, flags=LoadFlags.NO_HINTING)
    face.draw_glyphs_to_bitmap(antialiased=True)
    ink = _cropped(np.asarray(face.get_image()))
    height, width = ink.shape
    if not side / 4 <= max(height, width) <= side - 2:
        return None
    image = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    image[top : top + height, left : left + width] = ink
    return image.tobytes()


def _coloured(grey: Images, seed: int) -> Images:
    """Each letter in two random colours, between which its ink is mixed."""
    generator = np.random.default_rng(seed)
    pixels = np.empty((len(grey.pixels), 3, *grey.pixels.shape[2:]), np.uint8)
    origins = []
    for letter, origin, ink in zip(pixels, grey.origins, grey.pixels.astype(np.int32), strict=True):
        front, ground = _two_colours(generator)
        letter[:] = (ink * front[:, None, None] + (255 - ink) * ground[:, None, None] + 127) // 255
        origins.append(f"{origin} #{bytes(front.tolist()).hex()} on #{bytes(ground.tolist()).hex()}")
    return Images(pixels, origins, grey.formats, labels=grey.labels)


def _two_colours(generator: np.random.Generator) -> np.ndarray:
    """(2, 3) whole numbers 0…255, uniform but for the distance in luma."""
    while True:
        colours = generator.integers(0, 256, (2, 3))
        luma = colours @ LUMA
        if abs(luma[0] - luma[1]) >= CONTRAST:
            return colours


def _cropped(ink: np.ndarray) -> np.ndarray:
    """The image without the blank rows and columns around it."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return ink[:0, :0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
