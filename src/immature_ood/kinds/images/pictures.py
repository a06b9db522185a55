"""Images of a study as pictures of Pillow."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["from_array", "through_jpeg"]


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
        with Image.open(file, formats=("JPEG",)) as picture:
            after[:] = np.asarray(picture).reshape(*before.shape[1:], -1).transpose(2, 0, 1)
    return stored
