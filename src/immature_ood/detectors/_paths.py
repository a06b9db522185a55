"""What detectors on the path from an image to noise share; models/_diffusion.py gives it.

Features hold, of each image, path_eps and path_rate, Σ_i |ε_i|^p and Σ_i |dε_i / dt|^p at each step, p = 1, 2, 3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from immature_ood.detectors import mean_over_group
from immature_ood.detectors._densities import Standard, fit_standard, scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["NEEDS", "OnPaths", "fit_on_paths", "path_vectors"]

NEEDS = ("path_eps", "path_rate")
LEAST = 1e-300  # of a norm whose logarithm is taken: a network that gives zeros has a path, too


class Density(Protocol):
    """Of _densities."""

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64."""
        ...


@dataclass(frozen=True)
class OnPaths(WithoutLayers):
    """The mean over a group of its images' scores under a density of their standardised vectors.

    chosen: (6,) bool, the numbers of path_vectors that are read.
    """

    chosen: np.ndarray
    standard: Standard
    density: Density

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where a number is infinite; raises ValueError if one is NaN."""
        return mean_over_group(path_vectors(features, checked), self._score)

    def _score(self, vectors: np.ndarray) -> np.ndarray:
        """(n, 6) → (n,)."""
        return scored_where_finite(vectors[:, self.chosen], lambda finite: self.density.score(self.standard(finite)))


def fit_on_paths(chosen: np.ndarray, density: Callable[[np.ndarray], Density], features: Features) -> OnPaths:
    """density: of vectors (n, K) of single images; raises ValueError if a number is NaN or infinite."""
    vectors = path_vectors(features, checked_finite).reshape(-1, chosen.size)[:, chosen]
    standard = fit_standard(vectors)
    return OnPaths(chosen, standard, density(standard(vectors)))


def path_vectors(features: Features, read: Callable[[Features, str], np.ndarray]) -> np.ndarray:
    """(G, b, 6) float64: log (Σ_t Σ_i |·|^p)^(1/p) of ε, p = 1, 2, 3, then of dε / dt; read: checked or such."""
    sums = np.concatenate([read(features, name).sum(axis=2) for name in NEEDS], axis=2)
    logs: np.ndarray = np.log(np.maximum(sums, LEAST)) / np.array([1, 2, 3, 1, 2, 3])
    return logs
