"""Squared norms of per-image gradients and of their sums over groups of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

__all__ = ["Gradient", "Outer", "group_norms", "squared_norms"]

BLOCKS = 4  # stripes a symmetric Gram matrix is cut into: (BLOCKS + 1) / (2 BLOCKS) of it is formed
SMALLEST_BLOCK = 32  # positions; narrower products cost more than the symmetry saves


@dataclass(frozen=True)
class Outer:
    """The gradients Σ_p g_p a_pᵀ of N images, a matrix (n, c) each, not formed: g (N, P, n), a (N, P, c).

    P counts the positions of an image. Convolutions have gradients of this form, a an input and g an output gradient.
    """

    g: Tensor
    a: Tensor


Gradient = Tensor | Outer  # of N images for one parameter: as it is (N, ...), or as factors


def squared_norms(gradient: Gradient, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """‖Σ_{i in group} gradient_i‖² for groups of b consecutive images, (N / b,) for each b."""
    if isinstance(gradient, Outer):
        return _outer_norms(gradient, batch_sizes)
    return group_norms(gradient.flatten(1), batch_sizes)


def group_norms(gradients: Tensor, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Gradients (N, K) as they are → squared norms (N / b,) of the sums over b consecutive images."""
    return {b: _summed(gradients, b).square().sum(dim=1) for b in batch_sizes}


def _summed(gradients: Tensor, b: int) -> Tensor:
    """(N, K) → the sums over b consecutive rows, (N / b, K)."""
    return gradients if b == 1 else gradients.reshape(len(gradients) // b, b, -1).sum(dim=1)


def _outer_norms(outer: Outer, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """By the cheaper of two exact ways, counted in multiplications an image."""
    _, positions, n = outer.g.shape
    c = outer.a.shape[2]
    share = (BLOCKS + 1) / (2 * BLOCKS)
    if share * positions * sum(batch_sizes) * (n + c) < n * c:
        return {b: _gram_norms(outer, b) for b in batch_sizes}
    return _formed_norms(outer, batch_sizes)


def _formed_norms(outer: Outer, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Forms the gradients of the largest groups that all batch sizes are made of: P·n·c multiplications an image."""
    together = gcd(*batch_sizes)
    formed = torch.bmm(_grouped(outer.g, together).transpose(1, 2), _grouped(outer.a, together))
    by_size = group_norms(formed.flatten(1), [b // together for b in batch_sizes])
    return {b: by_size[b // together] for b in batch_sizes}


def _gram_norms(outer: Outer, b: int) -> Tensor:
    """‖Σ_p g_p a_pᵀ‖² = Σ_pq ⟨g_p, g_q⟩⟨a_p, a_q⟩ over the positions of all b images: b·P²·(n + c) / 2 and more.

    Both Gram matrices are symmetric, so only the stripes on and right of the diagonal are formed.
    """
    g, a = _grouped(outer.g, b), _grouped(outer.a, b)
    size = max(-(-g.shape[1] // BLOCKS), SMALLEST_BLOCK)
    stripes = [_stripe_norms(g[:, start:], a[:, start:], size) for start in range(0, g.shape[1], size)]
    return torch.stack(stripes).sum(dim=0).clamp_min(0)


def _stripe_norms(g: Tensor, a: Tensor, size: int) -> Tensor:
    """The sum over the first `size` rows of both Gram matrices, what is right of the diagonal block counted twice."""
    products = torch.bmm(g[:, :size], g.transpose(1, 2)) * torch.bmm(a[:, :size], a.transpose(1, 2))
    return 2 * products.sum(dim=(1, 2)) - products[:, :, :size].sum(dim=(1, 2))


def _grouped(factor: Tensor, b: int) -> Tensor:
    """(N, P, c) → (N / b, b·P, c): the positions of a group's images side by side."""
    images, positions, channels = factor.shape
    return factor.reshape(images // b, b * positions, channels)
