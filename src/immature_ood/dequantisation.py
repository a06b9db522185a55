"""Uniform dequantisation: 8-bit pixels and noise in [0, 1) become x in [−0.5, 0.5) (Theis et al. 2016).

Noise has 16 bits, so that pixel + noise is exact in float32 and never rounds up to the next pixel.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

__all__ = ["dequantise", "derive_seed", "fixed_noise", "training_noise"]

NOISE_LEVELS = 2**16


def dequantise(pixels: Tensor, noise: Tensor) -> Tensor:
    """x = (pixels + noise) / 256 − 0.5: uint8 and 16-bit noise as int32, both (N, C, H, W) → float32."""
    return (pixels.float() + noise.float() / NOISE_LEVELS) / 256 - 0.5


def fixed_noise(pixels: np.ndarray, dataset: str) -> Tensor:
    """The noise of each image, which depends on its data set's name and its own pixels, not on its place.

    pixels: (N, C, H, W) uint8 → (N, C, H, W) int32 in [0, 65536).
    """
    prefix = dataset.encode() + b"\0"
    seeds = (int.from_bytes(hashlib.sha256(prefix + image.tobytes()).digest()[:16]) for image in pixels)
    draws = [np.random.Generator(np.random.Philox(key=s)).integers(0, NOISE_LEVELS, pixels.shape[1:]) for s in seeds]
    return torch.from_numpy(np.asarray(draws, dtype=np.int32).reshape(pixels.shape))


def training_noise(shape: torch.Size, *key: object) -> Tensor:
    """Fresh noise for one training batch, from a generator seeded by the key, such as (seed, epoch, step)."""
    generator = torch.Generator().manual_seed(derive_seed("noise", *key))
    return torch.randint(0, NOISE_LEVELS, shape, generator=generator, dtype=torch.int32)


def derive_seed(*key: object) -> int:
    """An independent 63-bit seed for each key.

    >>> derive_seed("noise", 0, 1) == derive_seed("noise", 0, 1) != derive_seed("noise", 1, 0)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8]) >> 1
