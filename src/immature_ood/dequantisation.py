"""Random numbers that follow from a key: the noise of samples, such as that of dequantisation, and seeds.

Noise has 16 bits, so that a whole number below 256 and its noise are exact in float32 and never round up to the next.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["NOISE_LEVELS", "derive_seed", "fixed_noise", "fresh_noise", "mutated", "training_noise"]

NOISE_LEVELS = 2**16


def fixed_noise(stored: np.ndarray, dataset: str) -> Tensor:
    """The noise of each sample, which depends on its data set's name and its own values, not on its place.

    stored: (N, ...) as in the data set's files → (N, ...) int32 in [0, 65536).
    """
    prefix = dataset.encode() + b"\0"
    return _noise((prefix + sample.tobytes() for sample in stored), stored.shape)


def fresh_noise(shape: Sequence[int], *key: object, first: int = 0) -> Tensor:
    """Noise that depends on the key, such as (data set, split, epoch), and the place of each sample, not on its values.

    shape: (N, ...); first: the place of the first sample, so that parts make the same noise as the whole.
    """
    return _noise((repr((*key, place)).encode() for place in range(first, first + shape[0])), shape)


def training_noise(shape: torch.Size, *key: object) -> Tensor:
    """Fresh noise for one training batch, from a generator seeded by the key, such as (seed, epoch, step)."""
    generator = torch.Generator().manual_seed(derive_seed("noise", *key))
    return torch.randint(0, NOISE_LEVELS, shape, generator=generator, dtype=torch.int32)


def mutated(stored: Tensor, rate: float, levels: int, *key: object) -> Tensor:
    """A copy in which each number is, with probability `rate`, drawn anew from 0 … levels − 1 (Ren et al. 2019, §4).

    stored: (N, ...) whole numbers; key: what the draws follow from, such as (seed, epoch, step).
    """
    generator = torch.Generator().manual_seed(derive_seed("mutation", *key))
    chosen = torch.rand(stored.shape, generator=generator) < rate
    return torch.where(chosen, torch.randint(0, levels, stored.shape, generator=generator).to(stored.dtype), stored)


def _noise(keys: Iterable[bytes], shape: Sequence[int]) -> Tensor:
    """Noise of one sample a key, from a generator of its own."""
    seeds = (int.from_bytes(hashlib.sha256(key).digest()[:16]) for key in keys)
    draws = [np.random.Generator(np.random.Philox(key=s)).integers(0, NOISE_LEVELS, shape[1:]) for s in seeds]
    return torch.from_numpy(np.asarray(draws, dtype=np.int32).reshape(shape))


def derive_seed(*key: object) -> int:
    """An independent 63-bit seed for each key.

    >>> derive_seed("noise", 0, 1) == derive_seed("noise", 0, 1) != derive_seed("noise", 1, 0)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8]) >> 1
