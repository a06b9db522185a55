"""Densities of vectors (G, K): what detectors put on features, whatever these are.

Each is a frozen dataclass of arrays and numbers, made by a function `fit_…` of its ID vectors (N, K), and scores
vectors by `score`: the higher, the further out. Vectors are standardised first (Standard); those that are not finite
are outside the support. A vector is scored on its own: in the same numbers, whatever others are scored with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "Components",
    "Kernels",
    "Mahalanobis",
    "Mixture",
    "Neighbours",
    "OnComponents",
    "Standard",
    "SupportVectors",
    "fit_components",
    "fit_kernels",
    "fit_mahalanobis",
    "fit_mixture",
    "fit_neighbours",
    "fit_on_components",
    "fit_standard",
    "fit_support_vectors",
    "scored_where_finite",
    "varying",
]


def scored_where_finite(vectors: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(G,) float64: the scores of vectors (G, K), +inf for one that is not finite."""
    finite = np.isfinite(vectors).all(axis=1)
    scores = np.full(len(vectors), np.inf)
    if finite.any():
        scores[finite] = score(vectors[finite])
    return scores


def varying(vectors: np.ndarray, what: str) -> np.ndarray:
    """(K,) bool: which numbers of vectors (N, K) are not all the same; raises ValueError, naming `what`, if none."""
    chosen: np.ndarray = vectors.max(axis=0) > vectors.min(axis=0)
    if not chosen.any():
        raise ValueError(f"{what} varies over {len(vectors)} groups; fit on more images")
    return chosen


@dataclass(frozen=True)
class Standard:
    """Each number minus its mean, by its standard deviation: (G, K) → (G, K).

    mean, deviation: (K,) float64, of the ID vectors; a number that does not vary there has the deviation 1.
    """

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G, K) float64."""
        standardised: np.ndarray = (vectors - self.mean) / self.deviation
        return standardised


def fit_standard(vectors: np.ndarray) -> Standard:
    """Of vectors (N, K)."""
    vectors = vectors.astype(np.float64)
    deviation = np.where(vectors.max(axis=0) > vectors.min(axis=0), vectors.std(axis=0), 1.0)
    return Standard(vectors.mean(axis=0), deviation)


@dataclass(frozen=True)
class Mahalanobis:
    """d(x) = √((x − μ)ᵀ Σ⁻¹ (x − μ)), Σ the covariance, shrunk (Ledoit & Wolf 2004; Chen et al. 2010).

    mean: (K,); whitening: (K, K), L of Σ⁻¹ = L Lᵀ.
    """

    mean: np.ndarray
    whitening: np.ndarray

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64."""
        # Not a matrix product, which rounds by how many vectors there are.
        whitened = np.einsum("gk,kj->gj", vectors - self.mean, self.whitening)
        distance: np.ndarray = np.sqrt(np.einsum("gj,gj->g", whitened, whitened))
        return distance


def fit_mahalanobis(vectors: np.ndarray, shrinkage: str = "ledoit_wolf") -> Mahalanobis:
    """Of vectors (N, K); shrinkage: "ledoit_wolf" or "oas"."""
    from sklearn.covariance import OAS, LedoitWolf

    estimate = {"ledoit_wolf": LedoitWolf, "oas": OAS}[shrinkage]().fit(vectors)
    return Mahalanobis(estimate.location_, np.linalg.cholesky(estimate.precision_))


@dataclass(frozen=True)
class Neighbours:
    """The distance to the k-th nearest of the ID vectors (Ramaswamy et al. 2000; Sun et al. 2022, arXiv 2204.06507).

    points: (N, K); neighbours: k.
    """

    points: np.ndarray
    neighbours: int

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64."""
        from scipy.spatial.distance import cdist

        distances = cdist(vectors, self.points)
        nearest: np.ndarray = np.partition(distances, self.neighbours - 1, axis=1)[:, self.neighbours - 1]
        return nearest


def fit_neighbours(vectors: np.ndarray, neighbours: int) -> Neighbours:
    """Of vectors (N, K), of which k = neighbours or more; raises ValueError if there are fewer."""
    if len(vectors) < neighbours:
        raise ValueError(f"{len(vectors)} fit groups have no {neighbours}th neighbour; lower neighbours")
    return Neighbours(vectors, neighbours)


@dataclass(frozen=True)
class SupportVectors:
    """A one-class support vector machine (Schölkopf et al. 2001): S(x) = ρ − Σ_i α_i exp(−γ ‖x − x_i‖²).

    vectors: (M, K) x_i; weights: (M,) α_i; offset: ρ; gamma: γ.
    """

    vectors: np.ndarray
    weights: np.ndarray
    offset: float
    gamma: float

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64."""
        from scipy.spatial.distance import cdist

        kernel = np.exp(-self.gamma * cdist(vectors, self.vectors, "sqeuclidean"))
        score: np.ndarray = self.offset - np.einsum("gm,m->g", kernel, self.weights)
        return score


def fit_support_vectors(vectors: np.ndarray, nu: float) -> SupportVectors:
    """Of vectors (N, K), of which a share nu at most is outside; γ = 1 / (K · variance), scikit-learn's "scale"."""
    from sklearn.svm import OneClassSVM

    machine = OneClassSVM(nu=nu, gamma="scale").fit(vectors)
    gamma = 1 / (vectors.shape[1] * vectors.var())
    return SupportVectors(machine.support_vectors_, machine.dual_coef_[0], float(machine.offset_[0]), float(gamma))


@dataclass(frozen=True)
class Components:
    """The first p principal components of vectors, each of variance 1: (G, K) → (G, p).

    mean: (K,); axes: (K, p), the components' directions by their standard deviations.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G, p) float64."""
        components: np.ndarray = np.einsum("gk,kp->gp", vectors - self.mean, self.axes)
        return components


def fit_components(vectors: np.ndarray, components: int) -> Components:
    """Of vectors (N, K); as many of the components asked for as have a variance."""
    mean = vectors.mean(axis=0)
    _, singular, directions = np.linalg.svd(vectors - mean, full_matrices=False)
    kept = min(components, int(np.count_nonzero(singular > 1e-10 * singular[0])))
    deviations = singular[:kept] / np.sqrt(len(vectors))
    # In the order of memory that a file gives back, by which sums round.
    return Components(mean, np.ascontiguousarray(directions[:kept].T / deviations))


@dataclass(frozen=True)
class Mixture:
    """−log Σ_m w_m N(x; μ_m, Σ_m), a mixture of M Gaussians.

    weights: (M,); means: (M, K); whitenings: (M, K, K), L of Σ⁻¹ = L Lᵀ.
    """

    weights: np.ndarray
    means: np.ndarray
    whitenings: np.ndarray

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64, nats."""
        from scipy.special import logsumexp

        whitened = np.einsum("gmk,mkj->gmj", vectors[:, None] - self.means, self.whitenings)
        log_det = np.log(np.diagonal(self.whitenings, axis1=1, axis2=2)).sum(axis=1)
        squared = np.einsum("gmj,gmj->gm", whitened, whitened)
        log_densities = log_det - 0.5 * (squared + self.means.shape[1] * np.log(2 * np.pi))
        score: np.ndarray = -logsumexp(log_densities + np.log(self.weights), axis=1)
        return score


def fit_mixture(vectors: np.ndarray, parts: int, seed: int = 0) -> Mixture:
    """Of vectors (N, K), by expectation maximisation from k-means of that seed; at most as many parts as vectors."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(min(parts, len(vectors)), reg_covar=1e-3, random_state=seed).fit(vectors)
    return Mixture(mixture.weights_, mixture.means_, mixture.precisions_cholesky_)


@dataclass(frozen=True)
class Kernels:
    """−log of a kernel density estimate with Gaussian kernels of one width: −log 1/N Σ_i N(x; x_i, h² I).

    points: (N, K) x_i; bandwidth: h.
    """

    points: np.ndarray
    bandwidth: float

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64, nats."""
        from scipy.spatial.distance import cdist
        from scipy.special import logsumexp

        number, k = self.points.shape
        exponents = -0.5 * cdist(vectors, self.points, "sqeuclidean") / self.bandwidth**2
        normaliser = np.log(number) + k * np.log(self.bandwidth * np.sqrt(2 * np.pi))
        score: np.ndarray = normaliser - logsumexp(exponents, axis=1)
        return score


def fit_kernels(vectors: np.ndarray) -> Kernels:
    """Of vectors (N, K) of variance 1; the bandwidth is Scott's, N^(−1 / (K + 4))."""
    number, k = vectors.shape
    return Kernels(vectors, float(number ** (-1 / (k + 4))))


@dataclass(frozen=True)
class OnComponents:
    """A density of vectors' first principal components."""

    components: Components
    density: Any

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G,) float64."""
        score: np.ndarray = self.density.score(self.components(vectors))
        return score


def fit_on_components(vectors: np.ndarray, components: int, fit: Callable[[np.ndarray], Any]) -> OnComponents:
    """Of vectors (N, K); fit: makes the density of their components (N, p)."""
    chosen = fit_components(vectors, components)
    return OnComponents(chosen, fit(chosen(vectors)))
