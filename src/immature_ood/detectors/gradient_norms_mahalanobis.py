"""Log norms of layers with one Gaussian of full covariance: the Mahalanobis distance to the fit set's mean.

The paper's score (gradient_norms) takes the layers for independent; here their covariance is estimated, shrunk by
Ledoit & Wolf (2004, doi 10.1016/S0047-259X(03)00096-4) or by OAS (Chen et al. 2010, arXiv 0907.4698).
"""

from typing import Literal

from immature_ood.detectors._densities import fit_mahalanobis
from immature_ood.detectors._norms import NormsConfig, OnVectors, fit_vectors
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(NormsConfig):
    """The options of the Mahalanobis distance of gradient norms."""

    detector: str = "gradient_norms_mahalanobis"
    shrinkage: Literal["ledoit_wolf", "oas"] = "ledoit_wolf"
    """The covariance is shrunk towards a multiple of the identity by this rule."""


def fit(config: Config, *features: Features) -> OnVectors:
    """Raises ValueError if a log norm is NaN, or if no layer of those chosen is alive."""
    vectors = fit_vectors(config, *features)
    return OnVectors(vectors, fit_mahalanobis(vectors(*features), config.shrinkage))
