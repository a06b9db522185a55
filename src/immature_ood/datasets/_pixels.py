"""The one rule by which pictures of any size and mode become images of a study."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np

from immature_ood.kinds.images import Config as ImageConfig

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["FORMATS", "opened", "to_image"]

# Bitmaps that Pillow reads itself: others, such as PostScript, start another program. TGA, without a mark, is last.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000", "PCX", "QOI", "TGA")
ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 2 to 8 are how a viewer mirrors and turns the picture
FEW_BITS = 12  # of 16: such a picture is nearly black


@contextmanager
def opened(file: str | IO[bytes]) -> Iterator[tuple["Picture", str]]:
    """A picture as a viewer shows it, turned as its EXIF data say, and the name of its format.

    One of 16 bits a pixel that uses 12 at most is of the format "<format> (12 of 16 bits)". Of several pictures in
    a file it is the first. Whatever Pillow raises is raised; UnidentifiedImageError if it is none of FORMATS.
    """
    from PIL import Image

    with Image.open(file, formats=FORMATS) as picture:
        stored = str(picture.format)
        if picture.mode.startswith("I") and np.asarray(picture).max() < 2**FEW_BITS:
            stored += f" ({FEW_BITS} of 16 bits)"
        yield _upright(picture), stored


def _upright(picture: "Picture") -> "Picture":
    from PIL.Image import Transpose

    turns = (
        *(Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM),
        *(Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
    )
    picture.load()  # which turns a TIFF, and takes its tag away
    try:
        turn = dict(enumerate(turns, start=2)).get(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data, of which Pillow says many things: viewers show the picture as it lies
        return picture
    return picture if turn is None else picture.transpose(turn)


def to_image(picture: "Picture", image: ImageConfig) -> tuple[np.ndarray, bool]:
    """A picture as (C, side, side) uint8, and whether it was resampled.

    To the study's channels (grey is luma of ITU-R BT.601; alpha lies over black; 16 bits are scaled to 8), then the
    longer side is cropped at the centre, then Pillow resizes by `image.resize`, antialiased. A picture that already
    fits is not touched. Raises ValueError or OSError if Pillow cannot read or convert it.
    """
    from PIL import Image

    square = _square(_in_channels(picture, image.channels))
    resized = square.width != image.side
    if resized:
        square = square.resize((image.side, image.side), Image.Resampling[image.resize.upper()])
    return np.asarray(square).reshape(image.side, image.side, image.channels).transpose(2, 0, 1), resized


def _in_channels(picture: "Picture", channels: int) -> "Picture":
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("its pixels are no whole numbers; store it with 8 bits a channel")
    if picture.mode == "LAB":  # which Pillow makes RGB of, and nothing else
        picture = picture.convert("RGB")
    if picture.mode.startswith("I"):
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", opaque.size, "black"), opaque)
    return picture.convert("L" if channels == 1 else "RGB")


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """0…65535 to 0…255, to the nearest."""
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels have more than 16 bits; store it with 8 bits a channel")
    return ((pixels.astype(np.int64) + 128) // 257).astype(np.uint8)


def _square(picture: "Picture") -> "Picture":
    """The picture without what its longer side has over, half of it at each end."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))
