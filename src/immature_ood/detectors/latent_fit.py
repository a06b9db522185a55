"""Goodness of fit of a flow's latents: do the D numbers of an image look drawn from the prior?

After "The Signal in the Noise" (Bomatter et al. 2026, arXiv 2605.22496), which tests the latents of single samples
against a factorised prior, and Jiang et al. (2022, "Revisiting flow generative models for out-of-distribution
detection"), whose two-sample tests allow for flows that do not reach their prior. All latents of a group, n = b·D
numbers z, are one sample, tested for a distribution F:

    Anderson–Darling     S = −n − 1/n Σ_i (2i − 1) [log F(z_(i)) + log(1 − F(z_(n+1−i)))],
    Kolmogorov–Smirnov   S = √n · max_i max(i/n − F(z_(i)), F(z_(i)) − (i − 1)/n).

F is that of all latents of the fit set (by default; they are standardised by the flow), in which the prior is met as
far as the flow meets it, or the prior itself: normal for a Glow, logistic for a tied flow. Written from abstracts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors._densities import scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "LatentFit", "fit"]

QUANTILES = 4096  # of the fit set's latents: their distribution is linear between


class Config(DetectorConfig):
    """The options of the goodness of fit of latents."""

    detector: str = "latent_fit"
    statistic: Literal["anderson_darling", "kolmogorov_smirnov"] = "anderson_darling"
    """The test is this: the first looks at the tails, the second at the bulk."""
    against: Literal["fit", "normal", "logistic"] = "fit"
    """The latents are tested for the distribution of those of the fit set, or for a prior."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("latents",)


@dataclass(frozen=True)
class LatentFit(WithoutLayers):
    """A test of the distribution of numbers; quantiles: (Q,) of the fit set's, evenly spaced in probability."""

    statistic: str
    against: str
    quantiles: np.ndarray

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where a latent is infinite; raises ValueError if one is NaN."""
        return scored_where_finite(checked(features, "latents").reshape(len(features.images), -1), self._score)

    def _score(self, latents: np.ndarray) -> np.ndarray:
        """(G, n) → (G,)."""
        ordered = np.sort(latents, axis=1)
        return STATISTICS[self.statistic](*self._log_probabilities(ordered))

    def _log_probabilities(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log F and log(1 − F), each of the shape of the latents."""
        from scipy.special import log_expit, log_ndtr

        if self.against != "fit":
            log_cdf = {"normal": log_ndtr, "logistic": log_expit}[self.against]
            return log_cdf(latents), log_cdf(-latents)
        least = 0.5 / len(self.quantiles)
        probability = np.interp(latents, self.quantiles, np.linspace(least, 1 - least, len(self.quantiles)))
        return np.log(probability), np.log1p(-probability)


def fit(config: Config, features: Features) -> LatentFit:
    """Raises ValueError if a latent is NaN or infinite."""
    latents = checked_finite(features, "latents")
    return LatentFit(config.statistic, config.against, np.quantile(latents, np.linspace(0, 1, QUANTILES)))


def _anderson_darling(log_cdf: np.ndarray, log_survival: np.ndarray) -> np.ndarray:
    number = log_cdf.shape[1]
    odd = 2 * np.arange(number) + 1
    statistic: np.ndarray = -number - (odd * (log_cdf + log_survival[:, ::-1])).sum(axis=1) / number
    return statistic


def _kolmogorov_smirnov(log_cdf: np.ndarray, log_survival: np.ndarray) -> np.ndarray:
    number = log_cdf.shape[1]
    probability, steps = np.exp(log_cdf), np.arange(number + 1) / number
    statistic: np.ndarray = np.maximum(steps[1:] - probability, probability - steps[:-1]).max(axis=1) * np.sqrt(number)
    return statistic


STATISTICS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "anderson_darling": _anderson_darling,
    "kolmogorov_smirnov": _kolmogorov_smirnov,
}
