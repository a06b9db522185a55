"""The paper's score: a Gaussian fitted to the log norm of each layer's gradient (arXiv 2502.00820, 2403.01485)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from immature_ood.config import DetectorConfig, Real
from immature_ood.detectors import check_layers, checked_log_norms
from immature_ood.features import Features
from immature_ood.layers import is_chosen, may_be_weights

__all__ = ["Config", "GradientNorms", "fit"]


class Config(DetectorConfig):
    """The options of gradient norms."""

    detector: str = "gradient_norms"
    layers: str = "all"
    """The sum is over these: all, weights, without_weights, or a pattern of names such as "blocks.0.*"."""
    epsilon: Annotated[Real, Field(ge=0)] = 0.0
    """This is added to squared norms and to variances, then unbiased; 1e-10 in the code released with the paper."""

    def reads_weights(self) -> bool:
        """See DetectorConfig.reads_weights."""
        return may_be_weights(self.layers)

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_norms",)


@dataclass(frozen=True)
class GradientNorms:
    """Negative log-likelihood of the log gradient norms f_k under one Gaussian a layer.

    S(x) = Σ_k ½ [ (f_k(x) − μ_k)² / σ_k² + log 2π σ_k² ], summed over the live layers.

    A layer is dead if on the fit set a log norm is not finite (a gradient of exactly zero gives −inf) or all are
    equal: its Gaussian has no density. Dead layers are left out and named. With ε > 0, f_k is the log of the squared
    norm + ε, and ε is in σ_k²: no layer is dead then, but one whose gradient is zero on the fit set has σ_k² = ε, so
    that any other gradient there gives a score of millions.

    layers:   K names, all of those that the features have.
    mean:     (K,) float64, μ_k; NaN for layers that are not summed.
    variance: (K,) float64, σ_k² by maximum likelihood (with ε unbiased, n − 1); NaN for layers that are not summed.
    chosen:   the names of the layers that may be summed, dead ones included.
    """

    layers: tuple[str, ...]
    mean: np.ndarray
    variance: np.ndarray
    chosen: tuple[str, ...]
    epsilon: float = 0.0

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Names of the layers left out of the sum since they have no density."""
        dead = {layer for layer, variance in zip(self.layers, self.variance, strict=True) if np.isnan(variance)}
        return tuple(layer for layer in self.chosen if layer in dead)

    def terms(self, features: Features) -> np.ndarray:
        """(G, K) float64, each layer's term of the score; NaN for layers that are not summed, +inf for a zero gradient.

        Raises ValueError if a log norm is NaN or the layers are not those of the fit.
        """
        check_layers(self.layers, features)
        deviation = _log_norms(features, self.epsilon) - self.mean
        return 0.5 * (deviation**2 / self.variance + np.log(2 * np.pi * self.variance))

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; see `terms` for the errors."""
        return self.terms(features)[:, ~np.isnan(self.variance)].sum(axis=1)


def fit(config: Config, features: Features) -> GradientNorms:
    """Raises ValueError if a log norm is NaN, or if no layer of those chosen is alive."""
    norms = _log_norms(features, config.epsilon)
    chosen = np.array([is_chosen(layer, config.layers) for layer in features.layers])
    # Equality is decided on the values themselves: the variance of equal float64 values need not round to 0.
    varies = np.isfinite(norms).all(axis=0) & (norms.max(axis=0) > norms.min(axis=0))
    summed = chosen if config.epsilon else chosen & varies
    if not summed.any():
        raise ValueError(
            f"{features.dataset}/{features.split}: none of the {chosen.sum()} layers has a finite, "
            f"varying gradient norm over {len(norms)} groups; fit on more images or a trained checkpoint"
        )
    mean, variance = np.full((2, len(summed)), np.nan)
    mean[summed] = norms[:, summed].mean(axis=0)
    variance[summed] = norms[:, summed].var(axis=0, ddof=1 if config.epsilon else 0) + config.epsilon
    names = tuple(layer for layer, is_chosen in zip(features.layers, chosen, strict=True) if is_chosen)
    return GradientNorms(features.layers, mean, variance, names, config.epsilon)


def _log_norms(features: Features, epsilon: float) -> np.ndarray:
    """log(f + ε) of the squared norms f, (G, K) float64."""
    norms = checked_log_norms(features)
    return np.logaddexp(norms, np.log(epsilon)) if epsilon else norms
