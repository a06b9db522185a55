"""Log norms of layers with a one-class support vector machine (Schölkopf et al. 2001, doi 10.1162/089976601750264965).

S(x) = ρ − Σ_i α_i exp(−γ ‖f(x) − f(x_i)‖²), f the standardised log norms. Far from all support vectors the kernel is
0 and S is ρ: higher than any ID score, but the same for all that are so far out. For b > 1 the norms are those of the
group's gradient.
"""

from typing import Annotated

from pydantic import Field

from immature_ood.config import Real
from immature_ood.detectors._densities import fit_support_vectors
from immature_ood.detectors._norms import NormsConfig, OnVectors, fit_vectors
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(NormsConfig):
    """The options of the support vector machine on gradient norms."""

    detector: str = "gradient_norms_svm"
    nu: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """At most this share of the fit groups is outside, and at least this share are support vectors."""


def fit(config: Config, *features: Features) -> OnVectors:
    """Raises ValueError if a log norm is NaN, or if no layer of those chosen is alive."""
    vectors = fit_vectors(config, *features)
    return OnVectors(vectors, fit_support_vectors(vectors(*features), config.nu))
