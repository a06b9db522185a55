"""How complex an image is: the bits of the shortest of its lossless encodings (Serrà et al. 2020, arXiv 1909.11480).

Encoders are Pillow's, and imagecodecs's of JPEG XL; they are imported where images are encoded. Whole files are
counted, headers too, which are nearly the same for all images. Sizes may move by some bytes between versions.
"""

import importlib.util
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from immature_ood.config import DetectorConfig
from immature_ood.features import Features

__all__ = ["ComplexityConfig", "bits", "images_of"]

Codec = Literal["png", "webp", "jpeg2000", "jpeg_xl"]
PACKAGES: Mapping[str, tuple[str, str]] = {  # module, distribution
    "png": ("PIL", "pillow"),
    "webp": ("PIL", "pillow"),
    "jpeg2000": ("PIL", "pillow"),
    "jpeg_xl": ("imagecodecs", "imagecodecs"),
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 9},
    "webp": {"format": "WEBP", "lossless": True, "quality": 100, "method": 2},
    "jpeg2000": {"format": "JPEG2000", "irreversible": False},
}


class ComplexityConfig(DetectorConfig):
    """What detectors that measure the complexity of images have in common."""

    codecs: Annotated[list[Codec], Field(min_length=1)] = Field(default=["png", "webp"])
    """The shortest of these lossless encodings counts: png, webp, jpeg2000, jpeg_xl (which needs imagecodecs)."""

    def faults(self, kept: object) -> Iterator[str]:
        """A line for each package that is missing."""
        needed = dict.fromkeys(PACKAGES[codec] for codec in self.codecs)
        for module, distribution in needed:
            if importlib.util.find_spec(module) is None:
                yield f"codecs: {', '.join(self.codecs)} need {distribution}, which is not here; install it"


def bits(features: Features, codecs: Sequence[str]) -> np.ndarray:
    """(G,) float64: the mean bits of the images of each group; see images_of for the errors."""
    pixels = images_of(features)
    sizes = _sizes(pixels.tobytes(), pixels.shape[2:], tuple(codecs))
    mean: np.ndarray = 8.0 * np.reshape(sizes, pixels.shape[:2]).mean(axis=1)
    return mean


@lru_cache(maxsize=4)  # several detectors ask for the same images one after the other
def _sizes(pixels: bytes, shape: tuple[int, ...], codecs: tuple[str, ...]) -> list[int]:
    """Of each image of a shape, the bytes of its shortest encoding."""
    images = map(_laid_out, np.frombuffer(pixels, np.uint8).reshape(-1, *shape))
    return [min(len(ENCODERS[codec](image)) for codec in codecs) for image in images]


def images_of(features: Features) -> np.ndarray:
    """The pixels, (G, b, C, H, W); raises ValueError if they are not 8-bit images."""
    pixels = features.of("pixels")
    if pixels.dtype != np.uint8 or pixels.ndim != 5:
        raise ValueError(
            f"{features.dataset}/{features.split}: complexity is of 8-bit images (C, H, W), not of {pixels.dtype} "
            f"{pixels.shape[2:]}"
        )
    return pixels


def _laid_out(image: np.ndarray) -> np.ndarray:
    """(C, H, W) → (H, W, 3) of colours, else (C·H, W), one channel below the other."""
    if len(image) == 3:
        return np.ascontiguousarray(image.transpose(1, 2, 0))
    return np.ascontiguousarray(image.reshape(-1, image.shape[2]))


def _by_pillow(codec: str) -> Callable[[np.ndarray], bytes]:
    def encode(image: np.ndarray) -> bytes:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(image).save(file, **OPTIONS[codec])
        return file.getvalue()

    return encode


def _by_jpeg_xl(image: np.ndarray) -> bytes:
    from imagecodecs import jpegxl_encode

    encoded: bytes = jpegxl_encode(image, lossless=True)
    return encoded


ENCODERS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    **{codec: _by_pillow(codec) for codec in OPTIONS},
    "jpeg_xl": _by_jpeg_xl,
}
