"""The one rule by which pictures of any size and mode become images of a study."""

import io
from typing import TYPE_CHECKING

import numpy as np

from immature_ood.study import ImageConfig

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["fit", "from_array", "through_jpeg"]


def fit(picture: "Picture", image: ImageConfig) -> tuple[np.ndarray, bool]:
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


def from_array(pixels: np.ndarray) -> "Picture":
    """(C, H, W) uint8, C 1 or 3, as a picture."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Each image as it is after Pillow has stored it as JPEG of that quality; (N, C, H, W) uint8, before and after."""
    from PIL import Image

    stored = np.empty_like(pixels)
    for before, after in zip(pixels, stored, strict=True):
        file = io.BytesIO()
        from_array(before).save(file, "JPEG", quality=quality)
        after[:] = np.asarray(Image.open(file)).reshape(*before.shape[1:], -1).transpose(2, 0, 1)
    return stored


def _in_channels(picture: "Picture", channels: int) -> "Picture":
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("its pixels are no whole numbers; store it with 8 bits a channel")
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
    """Without what the longer side has over, half of it at each end."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))
