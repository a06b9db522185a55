"""Standard normal noise for models that need some, such as samples of a posterior: drawn here, given to the model.

In the shape of one sample's noise, float32. It is independent of the noise of dequantisation: "model noise" in its keys
is no name of a data set.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from immature_ood.dequantisation import derive_seed

__all__ = ["fixed_normal", "fresh_normal", "training_normal"]

OWN = "model noise"


def fixed_normal(samples: np.ndarray, dataset: str, shape: Sequence[int]) -> Tensor:
    """The noise of each sample, which depends on its data set's name and its own bytes: (N, ...) → (N, *shape)."""
    prefix = f"{OWN}\0{dataset}\0".encode()
    return _normal((prefix + sample.tobytes() for sample in samples), shape)


def fresh_normal(places: Sequence[int], shape: Sequence[int], *key: object) -> Tensor:
    """Noise that depends on a key, such as (data set, split, epoch), and on the place of each sample: (N, *shape)."""
    return _normal((repr((OWN, *key, place)).encode() for place in places), shape)


def training_normal(shape: Sequence[int], *key: object) -> Tensor:
    """Fresh noise for one training batch, (N, ...), from a generator seeded by the key, such as (seed, epoch, step)."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(derive_seed(OWN, *key)))


def _normal(keys: Iterable[bytes], shape: Sequence[int]) -> Tensor:
    """Noise of one sample a key, from a generator of its own."""
    seeds = (int.from_bytes(hashlib.sha256(key).digest()[:16]) for key in keys)
    draws = [np.random.Generator(np.random.Philox(key=s)).standard_normal(shape, dtype=np.float32) for s in seeds]
    return torch.from_numpy(np.asarray(draws, dtype=np.float32).reshape(-1, *shape))
