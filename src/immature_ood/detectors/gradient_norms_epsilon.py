"""The gradient-norm score with the small constants of the code released with arXiv 2502.00820, to see what they do."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from immature_ood.detectors.gradient_norms import check_layers, checked_log_norms
from immature_ood.features import Features

__all__ = ["GradientNormsEpsilon"]

EPSILON = 1e-10


@dataclass(frozen=True)
class GradientNormsEpsilon:
    """As GradientNorms, of log(‖∇_k‖² + ε) and with σ_k² + ε, ε = 1e-10; σ_k² unbiased (n − 1).

    No layer is dead: one whose gradient is always zero has σ_k² + ε = ε, so that any other gradient there gives a score
    of millions.

    layers:   K names.
    mean:     (K,) float64.
    variance: (K,) float64, with ε.
    """

    layers: tuple[str, ...]
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def fit(cls, features: Features) -> Self:
        """Raises ValueError if a log norm is NaN."""
        norms = _with_epsilon(features)
        return cls(features.layers, norms.mean(axis=0), norms.var(axis=0, ddof=1) + EPSILON)

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Empty: all layers are used."""
        return ()

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; raises ValueError if a log norm is NaN or the layers are not those of the fit."""
        check_layers(self.layers, features)
        deviation = _with_epsilon(features) - self.mean
        return 0.5 * (deviation**2 / self.variance + np.log(2 * np.pi * self.variance)).sum(axis=1)


def _with_epsilon(features: Features) -> np.ndarray:
    """log(f + ε) of the squared norms f, (G, K) float64."""
    return np.logaddexp(checked_log_norms(features), np.log(EPSILON))
