"""How complex a sample is: the bits of the shortest of its lossless encodings (Serrà et al. 2020, arXiv 1909.11480).

Encoders of images are Pillow's, and imagecodecs's of JPEG XL, imported where they encode; of bytes of any kind Python's
own. Whole files are counted, headers too, which are nearly the same for all samples. Sizes may move by some bytes
between versions.
"""

import importlib.util
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from immature_ood.config import DetectorConfig
from immature_ood.features import Features

__all__ = ["ComplexityConfig", "bits", "samples_of"]

Codec = Literal["png", "webp", "jpeg2000", "jpeg_xl", "zlib", "xz"]
OF_BYTES = ("zlib", "xz")  # of samples of any kind, as the bytes that they are stored as
PACKAGES: Mapping[str, tuple[str, str]] = {  # module, distribution
    "png": ("PIL", "pillow"),
    "webp": ("PIL", "pillow"),
    "jpeg2000": ("PIL", "pillow"),
    "jpeg_xl": ("imagecodecs", "imagecodecs"),
    "zlib": ("zlib", "python"),
    "xz": ("lzma", "python"),
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 9},
    "webp": {"format": "WEBP", "lossless": True, "quality": 100, "method": 2},
    "jpeg2000": {"format": "JPEG2000", "irreversible": False},
}


class ComplexityConfig(DetectorConfig):
    """What detectors that measure the complexity of samples have in common."""

    codecs: Annotated[list[Codec], Field(min_length=1)] | None = None
    """The shortest of these encodings counts: png, webp, jpeg2000, jpeg_xl, zlib, xz; by default as suits the data."""

    def faults(self, kept: object) -> Iterator[str]:
        """A line for each package that is missing."""
        codecs = self.codecs or []
        for module, distribution in dict.fromkeys(PACKAGES[codec] for codec in codecs):
            if importlib.util.find_spec(module) is None:
                yield f"codecs: {', '.join(codecs)} need {distribution}, which is not here; install it"

    def codecs_for(self, features: Features) -> tuple[str, ...]:
        """Those of the section, or png and webp of images, zlib of other samples."""
        return tuple(self.codecs or (("png", "webp") if features.of("pixels").ndim == 5 else ("zlib",)))


def bits(features: Features, codecs: Sequence[str]) -> np.ndarray:
    """(G,) float64: the mean bits of the samples of each group; see samples_of for the errors."""
    pixels = samples_of(features, codecs)
    sizes = _sizes(pixels.tobytes(), pixels.shape[2:], tuple(codecs))
    mean: np.ndarray = 8.0 * np.reshape(sizes, pixels.shape[:2]).mean(axis=1)
    return mean


@lru_cache(maxsize=4)  # several detectors ask for the same images one after the other
def _sizes(pixels: bytes, shape: tuple[int, ...], codecs: tuple[str, ...]) -> list[int]:
    """Of each sample of a shape, the bytes of its shortest encoding."""
    samples = np.frombuffer(pixels, np.uint8).reshape(-1, *shape)
    return [min(len(ENCODERS[codec](sample)) for codec in codecs) for sample in samples]


def samples_of(features: Features, codecs: Sequence[str]) -> np.ndarray:
    """The samples as stored, (G, b, ...); raises ValueError if they are not what the codecs encode, such as images."""
    stored = features.of("pixels")
    if stored.dtype != np.uint8 or (stored.ndim != 5 and not {*codecs} <= {*OF_BYTES}):
        raise ValueError(
            f"{features.dataset}/{features.split}: codecs {', '.join(codecs)} are for 8-bit images (C, H, W), not for "
            f"{stored.dtype} {stored.shape[2:]}; take codecs: [{', '.join(OF_BYTES)}] for other bytes"
        )
    return stored


def _laid_out(image: np.ndarray) -> np.ndarray:
    """(C, H, W) → (H, W, 3) of colours, else (C·H, W), one channel below the other."""
    if len(image) == 3:
        return np.ascontiguousarray(image.transpose(1, 2, 0))
    return np.ascontiguousarray(image.reshape(-1, image.shape[2]))


def _by_pillow(codec: str) -> Callable[[np.ndarray], bytes]:
    def encode(image: np.ndarray) -> bytes:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(_laid_out(image)).save(file, **OPTIONS[codec])
        return file.getvalue()

    return encode


def _by_jpeg_xl(image: np.ndarray) -> bytes:
    from imagecodecs import jpegxl_encode

    encoded: bytes = jpegxl_encode(_laid_out(image), lossless=True)
    return encoded


ENCODERS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    **{codec: _by_pillow(codec) for codec in OPTIONS},
    "jpeg_xl": _by_jpeg_xl,
    "zlib": lambda sample: zlib.compress(sample.tobytes(), 9),
    "xz": lambda sample: lzma.compress(sample.tobytes()),
}
