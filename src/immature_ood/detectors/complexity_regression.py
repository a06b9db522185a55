"""Is the likelihood usual for an image as complex as this? After Osada et al. (2024, arXiv 2402.10477).

They take the complexity of the image for a variable of its own beside the likelihood of the latents, with a mixture of
Gaussians on both (`density: mixture`, `likelihood: log_prior`): S(x) = −log Σ_m w_m N((ℓ(x), L(x)); μ_m, Σ_m). The
default is simpler, and ours: the residual of a line, S(x) = |ℓ(x) − α − β L(x)| / σ, fitted by least squares. ℓ is
log p(x), or the log-density of the latents; L the bits of the shortest lossless encoding (see _complexity). Both are
standardised on the fit set; for b > 1 they are averaged over the group. Written from the paper's abstract.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from immature_ood.config import Positive
from immature_ood.detectors._complexity import ComplexityConfig, bits
from immature_ood.detectors._densities import Mixture, Standard, fit_mixture, fit_standard, scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "Line", "WithComplexity", "fit"]


class Config(ComplexityConfig):
    """The options of the likelihood given the complexity."""

    detector: str = "complexity_regression"
    density: Literal["line", "mixture"] = "line"
    """The distance to a line, or a mixture of Gaussians of both numbers."""
    likelihood: Literal["log_prob", "log_prior"] = "log_prob"
    """This is given the complexity: log_prob, or log_prior, that of a flow's latents."""
    parts: Positive = 3
    """The mixture is of so many Gaussians."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return (self.likelihood, "pixels")


@dataclass(frozen=True)
class Line:
    """|y − β x| / σ of standardised pairs (G, 2) of y and x."""

    slope: float
    deviation: float

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """(G, 2) → (G,) float64."""
        score: np.ndarray = np.abs(vectors[:, 0] - self.slope * vectors[:, 1]) / self.deviation
        return score


@dataclass(frozen=True)
class WithComplexity(WithoutLayers):
    """A density of the likelihood and the complexity, standardised."""

    likelihood: str
    codecs: tuple[str, ...]
    standard: Standard
    density: Line | Mixture

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where the likelihood is infinite; raises ValueError if it is NaN."""
        both = np.stack([checked(features, self.likelihood), bits(features, self.codecs)], axis=1)
        return scored_where_finite(self.standard(both), self.density.score)


def fit(config: Config, features: Features) -> WithComplexity:
    """Raises ValueError if a likelihood is NaN or infinite, or the codecs are not for the data."""
    codecs = config.codecs_for(features)
    both = np.stack([checked_finite(features, config.likelihood), bits(features, codecs)], axis=1)
    standard = fit_standard(both)
    vectors = standard(both)
    density = fit_mixture(vectors, config.parts) if config.density == "mixture" else _fit_line(vectors)
    return WithComplexity(config.likelihood, codecs, standard, density)


def _fit_line(vectors: np.ndarray) -> Line:
    """By least squares, of pairs of mean 0; through them all if they are on a line."""
    y, x = vectors.T
    slope = float((x * y).sum() / max((x * x).sum(), 1e-300))
    return Line(slope, float((y - slope * x).std()) or 1.0)
