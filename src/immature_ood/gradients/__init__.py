"""Layer-wise gradient norms: f_k(x) = log ‖∇_{θ_k} Σ_{i in group} log p(x_i)‖² (arXiv 2502.00820, arXiv 2403.01485)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from immature_ood.dequantisation import dequantise, fixed_noise
from immature_ood.features import Features
from immature_ood.gradients.generic import per_image_norms
from immature_ood.models import DensityModel

__all__ = ["LayerNorms", "extract", "layer_norms"]


@dataclass(frozen=True)
class LayerNorms:
    """Of G groups of b images and K layers.

    squared: (G, K), ‖∇_{θ_k} Σ log p‖² of each group; exactly zero where the gradient is.
    log_prob: (G,), the mean log-likelihood of the group's images, nats.
    """

    squared: Tensor
    log_prob: Tensor


def layer_norms(model: DensityModel, x: Tensor, batch_sizes: Sequence[int]) -> dict[int, LayerNorms]:
    """Squared gradient norms of every layer for groups of b consecutive images, for all b in one pass.

    x: (N, C, H, W), dequantised, all in memory at once; N a multiple of every b. Layers in the order of
    `model.layers()`. Raises ValueError if some b does not divide N.
    """
    for b in batch_sizes:
        if len(x) % b:
            raise ValueError(f"{len(x)} images do not make groups of {b}")
    squared, log_prob = per_image_norms(model, x, batch_sizes)
    return {b: LayerNorms(squared[b], log_prob.reshape(-1, b).mean(dim=1)) for b in batch_sizes}


def extract(
    model: DensityModel,
    pixels: np.ndarray,
    dataset: str,
    split: str,
    batch_sizes: Sequence[int],
    chunk: int,
    on_chunk: Callable[[int], None] = lambda images: None,
) -> list[Features]:
    """The features of pixels (N, C, H, W) uint8, one entry a batch size.

    A remainder that does not fill a group of every size is left out: `Features.images` tells which were used.
    chunk: images worked on at once, a multiple of every batch size; it changes memory, and results only by rounding.
    `on_chunk` is told the number of images done.
    """
    parts: dict[int, list[LayerNorms]] = {b: [] for b in batch_sizes}
    used = len(pixels) // math.lcm(*batch_sizes) * math.lcm(*batch_sizes)
    for start in range(0, used, chunk):
        images = np.array(pixels[start : min(start + chunk, used)])
        x = dequantise(torch.from_numpy(images), fixed_noise(images, dataset))
        for b, norms in layer_norms(model, x, batch_sizes).items():
            parts[b].append(norms)
        on_chunk(len(x))
    layers = tuple(name for name, _ in model.layers())
    return [_features(parts[b], b, dataset, split, layers, model.dimensions) for b in batch_sizes]


def _features(
    parts: list[LayerNorms], b: int, dataset: str, split: str, layers: tuple[str, ...], dimensions: int
) -> Features:
    squared = torch.cat([part.squared for part in parts]).double().cpu().numpy()
    log_prob = torch.cat([part.log_prob for part in parts]).double().cpu().numpy()
    with np.errstate(divide="ignore"):  # log 0 = −inf is how a zero gradient is told
        log_norms = np.log(squared).astype(np.float32)
    images = np.arange(len(log_prob) * b).reshape(-1, b)
    return Features(dataset, split, log_norms, log_prob, images, layers, dimensions)
