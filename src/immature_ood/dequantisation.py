"""Uniform dequantisation: 8-bit pixels and noise in [0, 1) become x in [−0.5, 0.5) (Theis et al. 2016).

Noise has 16 bits, so that pixel + noise is exact in float32 and never rounds up to the next pixel.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["dequantise", "derive_seed", "fixed_noise", "fresh_noise", "no_noise", "quantise", "training_noise"]

NOISE_LEVELS = 2**16


def dequantise(pixels: Tensor, noise: Tensor) -> Tensor:
    """x = (pixels + noise) / 256 − 0.5: uint8 and 16-bit noise as int32, both (N, C, H, W) → float32."""
    return (pixels.float() + noise.float() / NOISE_LEVELS) / 256 - 0.5


def quantise(x: Tensor) -> Tensor:
    """The inverse: x (N, C, H, W) → uint8; what is outside [−0.5, 0.5) becomes the nearer end, NaN grey."""
    return torch.floor((torch.nan_to_num(x) + 0.5) * 256).clamp(0, 255).to(torch.uint8)


def fixed_noise(pixels: np.ndarray, dataset: str) -> Tensor:
    """The noise of each image, which depends on its data set's name and its own pixels, not on its place.

    pixels: (N, C, H, W) uint8 → (N, C, H, W) int32 in [0, 65536).
    """
    prefix = dataset.encode() + b"\0"
    return _noise((prefix + image.tobytes() for image in pixels), pixels.shape)


def fresh_noise(shape: Sequence[int], *key: object, first: int = 0) -> Tensor:
    """Noise that depends on the key, such as (data set, split, epoch), and the place of each image, not on its pixels.

    shape: (N, C, H, W); first: the place of the first image, so that parts make the same noise as the whole.
    """
    return _noise((repr((*key, place)).encode() for place in range(first, first + shape[0])), shape)


def no_noise(shape: Sequence[int]) -> Tensor:
    """Zeros in the place of noise: x is pixels / 256 − 0.5, as in the grey model released with arXiv 2502.00820."""
    return torch.zeros(*shape, dtype=torch.int32)


def training_noise(shape: torch.Size, *key: object) -> Tensor:
    """Fresh noise for one training batch, from a generator seeded by the key, such as (seed, epoch, step)."""
    generator = torch.Generator().manual_seed(derive_seed("noise", *key))
    return torch.randint(0, NOISE_LEVELS, shape, generator=generator, dtype=torch.int32)


def _noise(keys: Iterable[bytes], shape: Sequence[int]) -> Tensor:
    """Noise of one image a key, from a generator of its own."""
    seeds = (int.from_bytes(hashlib.sha256(key).digest()[:16]) for key in keys)
    draws = [np.random.Generator(np.random.Philox(key=s)).integers(0, NOISE_LEVELS, shape[1:]) for s in seeds]
    return torch.from_numpy(np.asarray(draws, dtype=np.int32).reshape(shape))


def derive_seed(*key: object) -> int:
    """An independent 63-bit seed for each key.

    >>> derive_seed("noise", 0, 1) == derive_seed("noise", 0, 1) != derive_seed("noise", 1, 0)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8]) >> 1
