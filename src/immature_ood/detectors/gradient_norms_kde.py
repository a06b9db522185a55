"""Log norms of layers: a kernel density estimate on their principal components (Parzen 1962; bandwidth of Scott 1992).

S(x) = −log 1/N Σ_i N(c(x); c(x_i), h² I), c the first principal components of the standardised log norms, each of
variance 1 on the fit set, h = N^(−1 / (p + 4)) of p components. What differs from the fit set in the other components
alone is not seen. For b > 1 the norms are those of the group's gradient.
"""

from immature_ood.config import Positive
from immature_ood.detectors._densities import fit_kernels, fit_on_components
from immature_ood.detectors._norms import NormsConfig, OnVectors, fit_vectors
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(NormsConfig):
    """The options of the kernel density of gradient norms."""

    detector: str = "gradient_norms_kde"
    components: Positive = 10
    """The density is estimated of so many principal components, or as many as there are."""


def fit(config: Config, *features: Features) -> OnVectors:
    """Raises ValueError if a log norm is NaN, or if no layer of those chosen is alive."""
    vectors = fit_vectors(config, *features)
    return OnVectors(vectors, fit_on_components(vectors(*features), config.components, fit_kernels))
