"""Which images make up a group of b, where images are not independent of one another: they belong to units.

A unit is what was taken together: the patches of one block, the frames of one track, the pictures in one folder. The
images of a group are of different units, as if they had been drawn apart, and no unit is in two cells of units, so that
groups of different cells are independent. Needs NumPy alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Grouping", "group"]


@dataclass(frozen=True)
class Grouping:
    """The N images of a split, in groups.

    units: (N,) int64, the unit of each image; those of most images have the lowest numbers, of equals the first comes
        first.
    order: (M,) int64, the places of the images that fill groups of every size b: group j is order[j·b : (j+1)·b].
    rest:  (N − M,) int64, the places of the others, which are used for b = 1 alone.
    """

    units: np.ndarray
    order: np.ndarray
    rest: np.ndarray

    def passes(self, batch_sizes: Sequence[int]) -> Iterator[tuple[np.ndarray, list[int]]]:
        """Places, and the sizes of the groups that they fill one after another."""
        yield self.order, [*batch_sizes]
        if 1 in batch_sizes and len(self.rest):
            yield self.rest, [1]

    def images(self, b: int) -> np.ndarray:
        """(G, b) int64, the places of the images of each group; for b = 1 all of them, first those of `order`."""
        return (np.concatenate([self.order, self.rest]) if b == 1 else self.order).reshape(-1, b)

    def cells(self, b: int) -> np.ndarray:
        """(G,) int64, the cell of each group: its b units, numbered; for b = 1 the unit of its image.

        Groups of different cells share no unit.
        """
        return self.units[self.images(b)[:, 0]] // b


def group(units: np.ndarray, batch_sizes: Sequence[int]) -> Grouping:
    """Groups the images of these units, (N,) integers, for all sizes at once.

    As many units as the least common multiple of the sizes, of about as many images each, take turns: each gives its
    first image, then each its second, until one of them has no more. What is left fills no group. Where every image is
    a unit of its own, group j is images j·b … j·b + b − 1.
    """
    ranks, counts = _by_size(units)
    together = math.lcm(*batch_sizes)
    whole = len(counts) // together
    rounds = np.append(counts[: whole * together].reshape(whole, together).min(axis=1), 0)  # none of the last, cut off
    turns, sets = _turns(ranks, counts), ranks // together
    fills = turns < rounds[sets]
    order = np.lexsort((ranks, turns, sets))
    return Grouping(ranks, order[fills[order]], np.flatnonzero(~fills))


def _by_size(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The units, numbered from 0 by how many images they have, the largest first, then as they come; and how many."""
    _, first, inverse, counts = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks[inverse], counts[order]


def _turns(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How many images of the same unit come before each."""
    turns = np.empty_like(ranks)
    turns[np.argsort(ranks, kind="stable")] = np.arange(len(ranks)) - np.repeat(np.cumsum(counts) - counts, counts)
    return turns
