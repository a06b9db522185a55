"""Squared norms of per-image gradients and of their sums over groups of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from immature_ood.gradients.products import products

__all__ = ["Gradient", "Outer", "group_norms", "squared_norms"]

STRIPES = 2  # a symmetric Gram matrix is cut into
SMALLEST_STRIPE = 64  # positions; narrower products cost more than the symmetry saves


@dataclass(frozen=True)
class Outer:
    """The gradients Σ_p r_p c_pᵀ diag(scale) of N images, one matrix (n, m) each, not formed.

    rows r (N, P, n), columns c (N, P, m), scale (m,) or None for ones. P counts the positions of an image. Weights of
    convolutions have gradients of this form, made of the input and the output's gradient.
    """

    rows: Tensor
    columns: Tensor
    scale: Tensor | None = None


Gradient = Tensor | Outer  # of N images for one parameter: as it is (N, ...), or as factors


def squared_norms(gradient: Gradient, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """‖Σ_{i in group} gradient_i‖² for groups of b consecutive images, (N / b,) for each b."""
    if isinstance(gradient, Outer):
        return _outer_norms(gradient, batch_sizes)
    return group_norms(gradient.flatten(1), batch_sizes)


def group_norms(gradients: Tensor, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Gradients (N, K) as they are → squared norms (N / b,) of the sums over b consecutive images."""
    return {b: torch.linalg.vector_norm(_summed(gradients, b), dim=1).square() for b in batch_sizes}


def _summed(gradients: Tensor, b: int) -> Tensor:
    """(N, K) → the sums over b consecutive rows, (N / b, K)."""
    return gradients if b == 1 else gradients.reshape(len(gradients) // b, b, -1).sum(dim=1)


def _outer_norms(outer: Outer, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """By the cheaper of two exact ways, counted in multiplications an image."""
    _, positions, n = outer.rows.shape
    m = outer.columns.shape[2]
    share = (STRIPES + 1) / (2 * STRIPES)  # of the Gram matrices that is formed
    if share * positions * sum(batch_sizes) * (n + m) < n * m:
        return {b: _gram_norms(outer, b) for b in batch_sizes}
    return _formed_norms(outer, batch_sizes)


def _formed_norms(outer: Outer, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Forms the gradients of the largest groups that all batch sizes are made of: P·n·m multiplications an image."""
    together = gcd(*batch_sizes)
    formed = products(_grouped(outer.rows, together).mT, _grouped(outer.columns, together).mT)
    if outer.scale is not None:
        formed *= outer.scale
    by_size = group_norms(formed.flatten(1), [b // together for b in batch_sizes])
    return {b: by_size[b // together] for b in batch_sizes}


def _gram_norms(outer: Outer, b: int) -> Tensor:
    """‖Σ_p r_p c_pᵀ‖² = Σ_pq ⟨r_p, r_q⟩⟨c_p, c_q⟩ over the positions of all b images: b·P²·(n + m) / 2 and more.

    Both Gram matrices are symmetric, so only the stripes on and right of the diagonal are formed.
    """
    columns = outer.columns if outer.scale is None else outer.columns * outer.scale
    r, c = _grouped(outer.rows, b), _grouped(columns, b)
    size = max(-(-r.shape[1] // STRIPES), SMALLEST_STRIPE)
    stripes = [_stripe_norms(r[:, start:], c[:, start:], size) for start in range(0, r.shape[1], size)]
    return torch.stack(stripes).sum(dim=0).clamp_min(0)


def _stripe_norms(r: Tensor, c: Tensor, size: int) -> Tensor:
    """The sum over the first `size` rows of both Gram matrices, what is right of the diagonal block counted twice."""
    both = products(r[:, :size], r).mul_(products(c[:, :size], c))
    return 2 * both.sum(dim=(1, 2)) - both[:, :, :size].sum(dim=(1, 2))


def _grouped(factor: Tensor, b: int) -> Tensor:
    """(N, P, n) → (N / b, b·P, n): the positions of a group's images side by side."""
    images, positions, channels = factor.shape
    return factor.reshape(images // b, b * positions, channels)
