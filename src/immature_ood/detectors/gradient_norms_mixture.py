"""Log norms of layers: a mixture of Gaussians on their principal components (McLachlan & Peel 2000).

S(x) = −log Σ_m w_m N(c(x); μ_m, Σ_m), c the first principal components of the standardised log norms, each of variance
1 on the fit set. What differs from the fit set in the other components alone is not seen. For b > 1 the norms are those
of the group's gradient.
"""

from immature_ood.config import Positive
from immature_ood.detectors._densities import fit_mixture, fit_on_components
from immature_ood.detectors._norms import NormsConfig, OnVectors, fit_vectors
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(NormsConfig):
    """The options of the mixture of Gaussians on gradient norms."""

    detector: str = "gradient_norms_mixture"
    components: Positive = 10
    """The mixture is fitted to so many principal components, or as many as there are."""
    gaussians: Positive = 3
    """The mixture is of so many Gaussians, each of full covariance."""


def fit(config: Config, *features: Features) -> OnVectors:
    """Raises ValueError if a log norm is NaN, or if no layer of those chosen is alive."""
    vectors = fit_vectors(config, *features)
    density = fit_on_components(
        vectors(*features), config.components, lambda chosen: fit_mixture(chosen, config.gaussians)
    )
    return OnVectors(vectors, density)
