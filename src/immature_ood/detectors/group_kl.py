"""The Kullback–Leibler divergence of a group's latents from those of the fit set, after KLODS (Zhang et al. 2020,
arXiv 2002.03328, "Kullback-Leibler Divergence-Based Out-of-Distribution Detection with Flow-Based Generative Models").

A group of b images has too few latents to fit a Gaussian of D numbers to; but latents of neighbouring places depend on
one another in about the same way everywhere. So the latents of each image, in the flow's order, are cut into windows of
w numbers, and all n = b·⌊D/w⌋ windows of the group are taken for samples of one w-variate Gaussian N(m, C):

    S = KL(N(m, C) ‖ N(μ, Σ)) = ½ [ tr Σ⁻¹C + (m − μ)ᵀ Σ⁻¹ (m − μ) − w + log det Σ − log det C ],

μ and Σ likewise of the fit set, where KLODS has the prior, N(0, I). That is the method of b > 1, and the same holds for
b = 1. Written from the paper's abstract: divergence and local dependence are its, the windows are ours.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig, Positive
from immature_ood.detectors._densities import scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "GroupKL", "fit"]

LEAST = 1e-6  # added to variances of standardised numbers, so that windows of equal numbers have a density


class Config(DetectorConfig):
    """The options of the divergence of a group's latents."""

    detector: str = "group_kl"
    window: Positive = 4
    """So many neighbouring latents are one sample of the Gaussian."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("latents",)


@dataclass(frozen=True)
class GroupKL(WithoutLayers):
    """KL(N(m, C) ‖ N(μ, Σ)) of windows that are whitened, so that μ = 0 and Σ = I.

    mean: (w,) μ. whitening: (w, w), L of Σ⁻¹ = L Lᵀ.
    """

    mean: np.ndarray
    whitening: np.ndarray

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, nats, +inf where a latent is infinite; raises ValueError if one is NaN."""
        return scored_where_finite(_cut(checked(features, "latents"), len(self.mean)), self._score)

    def _score(self, latents: np.ndarray) -> np.ndarray:
        windows = latents.reshape(len(latents), -1, len(self.mean)) - self.mean
        whitened = np.einsum("gnw,wv->gnv", windows, self.whitening)
        means = whitened.mean(axis=1)
        rest = whitened - means[:, None]
        covariance = np.einsum("gnv,gnw->gvw", rest, rest) / rest.shape[1] + LEAST * np.eye(len(self.mean))
        return 0.5 * (
            np.trace(covariance, axis1=1, axis2=2)
            + np.einsum("gv,gv->g", means, means)
            - len(self.mean)
            - np.linalg.slogdet(covariance).logabsdet
        )


def fit(config: Config, features: Features) -> GroupKL:
    """Raises ValueError if a latent is NaN or infinite, or if a group has no more windows than a window has numbers."""
    latents = checked_finite(features, "latents")
    _, b, dimensions = latents.shape
    if b * (dimensions // config.window) <= config.window:
        raise ValueError(
            f"{features.dataset}/{features.split}: {b} × {dimensions} latents have too few windows of {config.window}; "
            "lower window"
        )
    windows = _cut(latents, config.window).reshape(-1, config.window)
    covariance = np.cov(windows.T, bias=True).reshape(config.window, config.window)
    precision = np.linalg.inv(covariance + LEAST * np.eye(config.window))
    return GroupKL(windows.mean(axis=0), np.linalg.cholesky(precision))


def _cut(latents: np.ndarray, window: int) -> np.ndarray:
    """(G, b, D) → (G, n·w), what fills windows of each image."""
    used = latents.shape[2] // window * window
    return latents[:, :, :used].reshape(len(latents), -1)
