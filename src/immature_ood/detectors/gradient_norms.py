"""The paper's score: a Gaussian fitted to the log norm of each layer's gradient (arXiv 2502.00820, 2403.01485)."""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import numpy as np

from immature_ood.features import Features

__all__ = ["GradientNorms", "check_layers", "checked_log_norms"]


@dataclass(frozen=True)
class GradientNorms:
    """Negative log-likelihood of the log gradient norms f_k under one Gaussian a layer.

    S(x) = Σ_k ½ [ (f_k(x) − μ_k)² / σ_k² + log 2π σ_k² ], summed over the live layers.

    A layer is dead if on the fit set a log norm is not finite (a gradient of exactly zero gives −inf) or all are
    equal: its Gaussian has no density. Dead layers are left out and named; no small constant is added anywhere.

    layers:   K names, dead ones included.
    mean:     (K,) float64, μ_k; NaN for dead layers.
    variance: (K,) float64, σ_k² by maximum likelihood; NaN for dead layers.
    """

    layers: tuple[str, ...]
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def fit(cls, features: Features) -> Self:
        """Raises ValueError if a log norm is NaN or if no layer is alive."""
        norms = checked_log_norms(features)
        # Equality is decided on the values themselves: the variance of equal float64 values need not round to 0.
        alive = np.isfinite(norms).all(axis=0) & (norms.max(axis=0) > norms.min(axis=0))
        if not alive.any():
            raise ValueError(
                f"{features.dataset}/{features.split}: none of the {len(features.layers)} layers has a finite, "
                f"varying gradient norm over {len(norms)} groups; fit on more images or a trained checkpoint"
            )
        mean, variance = np.full((2, len(alive)), np.nan)
        mean[alive] = norms[:, alive].mean(axis=0)
        variance[alive] = norms[:, alive].var(axis=0)
        return cls(features.layers, mean, variance)

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Names of the layers left out of the sum."""
        return tuple(layer for layer, variance in zip(self.layers, self.variance, strict=True) if np.isnan(variance))

    def terms(self, features: Features) -> np.ndarray:
        """(G, K) float64, each layer's term of the score; NaN for dead layers, +inf for a zero gradient in a live one.

        Raises ValueError if a log norm is NaN or the layers are not those of the fit.
        """
        check_layers(self.layers, features)
        deviation = checked_log_norms(features) - self.mean
        return 0.5 * (deviation**2 / self.variance + np.log(2 * np.pi * self.variance))

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; see `terms` for the errors."""
        return self.terms(features)[:, ~np.isnan(self.variance)].sum(axis=1)


def check_layers(layers: tuple[str, ...], features: Features) -> None:
    """Raises ValueError naming the first layer of the features that is not that of the fit."""
    for place, (fitted, found) in enumerate(zip_longest(layers, features.layers)):
        if fitted != found:
            raise ValueError(
                f"{features.dataset}/{features.split}: layer {place} is {found!r}, but the detector was fitted "
                f"with {fitted!r}; use features of the same model"
            )


def checked_log_norms(features: Features) -> np.ndarray:
    """(G, K) float64; raises ValueError naming the first layer with a NaN."""
    broken = np.isnan(features.log_norms).any(axis=0)
    if broken.any():
        raise ValueError(
            f"the gradient norm of layer {features.layers[broken.argmax()]!r} is NaN on "
            f"{features.dataset}/{features.split}: did training diverge? lower its learning rate"
        )
    return features.log_norms.astype(np.float64)
