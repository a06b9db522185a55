"""Log norms of layers by Fisher's method: a two-sided p-value for each layer, combined (Fisher 1932, section 21.1).

S(x) = −log of the p-value of X = −2 Σ_k log p_k, p_k that of the log norm f_k under one half of the fit set. As layers
are not independent, X is not of a χ² distribution: its p-value is that against the other half (see _calibration). For
b > 1 the norms are those of the group's gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from immature_ood.detectors._calibration import Calibration, calibrate, halves
from immature_ood.detectors._densities import scored_where_finite
from immature_ood.detectors._norms import NormsConfig, Vectors, fit_vectors
from immature_ood.features import Features

__all__ = ["Config", "GradientNormsFisher", "fit"]


class Config(NormsConfig):
    """The options of Fisher's method on gradient norms."""

    detector: str = "gradient_norms_fisher"
    p_values: Literal["gaussian", "empirical"] = "gaussian"
    """A layer's p-value is that of a Gaussian, or of the fit set's empirical distribution with exponential tails."""


@dataclass(frozen=True)
class Gaussian:
    """−log p of standardised numbers, two-sided, under N(0, 1)."""

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G, K) float64."""
        from scipy.stats import norm

        two_sided: np.ndarray = -(norm.logsf(np.abs(vectors)) + np.log(2))
        return two_sided


@dataclass(frozen=True)
class Empirical:
    """−log p of numbers, two-sided: p is twice the smaller of the p-values of both sides.

    sides: of the numbers and their negatives, (n, 2K).
    """

    sides: Calibration

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(G, K) → (G, K) float64, 0 or more."""
        high, low = np.split(self.sides(np.hstack([vectors, -vectors])), 2, axis=1)
        return np.maximum(np.maximum(high, low) - np.log(2), 0)


@dataclass(frozen=True)
class GradientNormsFisher:
    """Fisher's statistic, calibrated."""

    vectors: Vectors
    p_values: Gaussian | Empirical
    calibration: Calibration

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """The layers left out since their norms do not vary on the half of the fit set."""
        return self.vectors.dead_layers

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64, +inf where a gradient is exactly zero; raises ValueError if a number is NaN."""
        return self.calibration(_statistic(self.vectors, self.p_values, features)[:, None])[:, 0]


def fit(config: Config, *features: Features) -> GradientNormsFisher:
    """Raises ValueError if a log norm is NaN, no layer of those chosen is alive, or all groups are of one unit."""
    first, second = ([one.taken(half) for one in features] for half in halves(features[0]))
    vectors = fit_vectors(config, *first)
    known = vectors(*first)
    p_values = Gaussian() if config.p_values == "gaussian" else Empirical(calibrate(np.hstack([known, -known])))
    return GradientNormsFisher(vectors, p_values, calibrate(_statistic(vectors, p_values, second)[:, None]))


def _statistic(vectors: Vectors, p_values: Gaussian | Empirical, features: Sequence[Features]) -> np.ndarray:
    """(G,) float64, −2 Σ_k log p_k; +inf for a norm that is not finite."""
    return scored_where_finite(vectors(*features), lambda finite: 2 * p_values(finite).sum(axis=1))
