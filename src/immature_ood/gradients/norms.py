"""Squared norms of per-image gradients and of their sums over groups of images.

Of gradients that are sums of outer products, by the cheaper of two ways: the products are formed, or the norm is had
from the factors' Gram matrices (the ghost norm of Li et al. 2021, arXiv 2110.05679; the choice, layer by layer, is that
of Bu et al. 2022, arXiv 2205.10683). Here both also serve sums over groups of images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from immature_ood.gradients.products import one_by_one, product, products

__all__ = ["Gradient", "Outer", "Rows", "added", "group_norms", "in_bfloat16", "squared_norms"]

STRIPES = 2  # a symmetric Gram matrix is cut into
GRAM_PENALTY = 1.2  # its products are smaller, and what is made of them is read more often
SMALLEST_STRIPE = 64  # positions; narrower products cost more than the symmetry saves


@dataclass(frozen=True)
class Outer:
    """The gradients Σ_p r_p c_pᵀ diag(scale) of N images, one matrix (n, m) each, not formed.

    rows r (N, P, n), columns c (N, P, m), scale (m,) or None for ones. P counts the positions of an image. Weights of
    convolutions have gradients of this form, made of the input and the output's gradient.
    blocks: of how many such matrices the gradient of an image consists, as where channels are in groups; the first N
    rows and columns are then of the first matrix, and so on: (blocks·N, P, n), (blocks·N, P, m).
    """

    rows: Tensor
    columns: Tensor
    scale: Tensor | None = None
    blocks: int = 1


@dataclass(frozen=True)
class Rows:
    """The gradients of N images, one matrix each, given as numbers to add to its rows, not formed.

    places (N, P) whole numbers from 0 on: to which row of the matrix each of values (N, P, n) is added.
    """

    places: Tensor
    values: Tensor


Gradient = Tensor | Outer | Rows  # of N images for one parameter: as it is (N, ...), or as factors


def added(gradients: Sequence[Gradient]) -> Gradient:
    """The gradient of a parameter that is used several times, from those of its uses, all of one kind.

    Σ_u Σ_p r_up c_upᵀ diag(scale) is one sum over the positions of all uses, side by side; so it is of rows.
    """
    first, *others = gradients
    if not others:
        return first
    if isinstance(first, Tensor):
        return torch.stack([use for use in gradients if isinstance(use, Tensor)]).sum(dim=0)
    if isinstance(first, Rows):
        return Rows(*_side_by_side(gradients, "places", "values"))
    rows, columns = _side_by_side(gradients, "rows", "columns")
    return Outer(rows, columns, first.scale, first.blocks)


def _side_by_side(uses: Sequence[Gradient], *fields: str) -> Iterator[Tensor]:
    """Each field (N, P, ...) of all uses, as one (N, uses·P, ...)."""
    return (torch.cat([getattr(use, field) for use in uses], dim=1) for field in fields)


def in_bfloat16(gradient: Gradient) -> Gradient:
    """A sum of outer products with its factors rounded to bfloat16, the scale taken in; anything else as it is.

    Its squared norms are then those of products in bfloat16 (see products); zeros stay zero.
    """
    if not isinstance(gradient, Outer):
        return gradient
    columns = gradient.columns if gradient.scale is None else gradient.columns * gradient.scale
    return Outer(gradient.rows.bfloat16(), columns.bfloat16(), None, gradient.blocks)


def squared_norms(gradient: Gradient, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """‖Σ_{i in group} gradient_i‖² for groups of b consecutive images, (N / b,) for each b."""
    if isinstance(gradient, Outer):
        norms = _outer_norms(gradient, batch_sizes)
        return norms if gradient.blocks == 1 else {b: _of_blocks(norms[b], gradient.blocks) for b in norms}
    if isinstance(gradient, Rows):
        return {b: _row_norms(gradient, b) for b in batch_sizes}
    return group_norms(gradient.flatten(1), batch_sizes)


def group_norms(gradients: Tensor, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Gradients (N, K) as they are → squared norms (N / b,) of the sums over b consecutive images."""
    return {b: torch.linalg.vector_norm(_summed(gradients, b), dim=1).square() for b in batch_sizes}


def _summed(gradients: Tensor, b: int) -> Tensor:
    """(N, K) → the sums over b consecutive rows, (N / b, K)."""
    return gradients if b == 1 else gradients.reshape(len(gradients) // b, b, -1).sum(dim=1)


def _of_blocks(norms: Tensor, blocks: int) -> Tensor:
    """Squared norms of matrices (blocks·G,) → of what they make up together (G,)."""
    return norms.reshape(blocks, -1).sum(dim=0)


def _row_norms(gradient: Rows, b: int) -> Tensor:
    """Adds up what falls on the same row in the same group, and nothing else: N·P·n additions."""
    images, positions, n = gradient.values.shape
    group = torch.arange(images // b, device=gradient.places.device).repeat_interleave(b * positions)
    height = gradient.places.max() + 1
    cells, cell = torch.unique(group * height + gradient.places.flatten(), return_inverse=True)
    sums = gradient.values.new_zeros(len(cells), n).index_add_(0, cell, gradient.values.reshape(-1, n))
    return gradient.values.new_zeros(images // b).index_add_(0, cells // height, sums.square().sum(dim=1))


def _outer_norms(outer: Outer, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """The squared norms of sums of outer products, by the cheaper of two exact ways, in multiplications an image."""
    _, positions, n = outer.rows.shape
    m = outer.columns.shape[2]
    gram = sum(_gram_numbers(b * positions) / b for b in batch_sizes) * (n + m)
    if GRAM_PENALTY * gram < positions * n * m:
        return {b: _gram_norms(outer, b) for b in batch_sizes}
    return _formed_norms(outer, batch_sizes)


def _formed_norms(outer: Outer, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Forms the gradients of the largest groups that all batch sizes are made of: P·n·m multiplications an image."""
    together = gcd(*batch_sizes)
    rows, columns = (_grouped(factor, together).mT for factor in (outer.rows, outer.columns))
    norms = _streamed_norms if one_by_one(rows, columns) else _batched_norms
    by_size = norms(rows, columns, outer.scale, [b // together for b in batch_sizes])
    return {b: by_size[b // together] for b in batch_sizes}


def _batched_norms(
    rows: Tensor, columns: Tensor, scale: Tensor | None, batch_sizes: Sequence[int]
) -> dict[int, Tensor]:
    """The squared norms of groups, by forming all products of rows (N, n, P) and columns (N, m, P), which are small."""
    formed = products(rows, columns)
    return group_norms((formed if scale is None else formed.mul_(scale)).flatten(1), batch_sizes)


def _streamed_norms(
    rows: Tensor, columns: Tensor, scale: Tensor | None, batch_sizes: Sequence[int]
) -> dict[int, Tensor]:
    """The same for large ones: a sum over each group is kept, and nothing else."""
    columns = columns if scale is None else columns * scale[:, None]
    norms: dict[int, list[Tensor]] = {b: [] for b in batch_sizes}
    sums: dict[int, Tensor] = {}
    for image, factors in enumerate(zip(rows, columns, strict=True)):
        formed = product(*factors)
        for b in batch_sizes:
            sums[b] = sums[b] + formed if image % b else formed
            if image % b == b - 1:
                norms[b].append(torch.linalg.vector_norm(sums[b]))
    return {b: torch.stack(norms[b]).square() for b in batch_sizes}


def _gram_norms(outer: Outer, b: int) -> Tensor:
    """‖Σ_p r_p c_pᵀ‖² = Σ_pq ⟨r_p, r_q⟩⟨c_p, c_q⟩ over the b·P positions of a group.

    Both Gram matrices are symmetric, so only the stripes on and right of the diagonal are formed.
    """
    columns = outer.columns if outer.scale is None else outer.columns * outer.scale
    r, c = _grouped(outer.rows, b), _grouped(columns, b)
    size = _stripe(r.shape[1])
    stripes = [_stripe_norms(r[:, start:], c[:, start:], size) for start in range(0, r.shape[1], size)]
    return torch.stack(stripes).sum(dim=0).clamp_min(0)


def _stripe_norms(r: Tensor, c: Tensor, size: int) -> Tensor:
    """The sum over the first `size` rows of both Gram matrices, what is right of the diagonal block counted twice."""
    both = products(r[:, :size], r).mul_(products(c[:, :size], c))
    return 2 * both.sum(dim=(1, 2)) - both[:, :, :size].sum(dim=(1, 2))


def _gram_numbers(positions: int) -> int:
    """How many numbers of a symmetric matrix its stripes hold."""
    size = _stripe(positions)
    return sum(min(size, positions - start) * (positions - start) for start in range(0, positions, size))


def _stripe(positions: int) -> int:
    """Rows of a stripe."""
    return max(-(-positions // STRIPES), SMALLEST_STRIPE)


def _grouped(factor: Tensor, b: int) -> Tensor:
    """(N, P, n) → (N / b, b·P, n): the positions of a group's images side by side."""
    images, positions, channels = factor.shape
    return factor.reshape(images // b, b * positions, channels)
