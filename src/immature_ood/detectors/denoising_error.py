"""How badly a diffusion model removes noise from an image, at several strengths of noise.

After Graham et al. (2023, arXiv 2211.07740), who noise an image to several steps, reconstruct it from each and average
the z-scores of the errors. Here the noise is removed in one step, so that the error is that of the noise predicted,

    S(x) = mean over t of (e_t(x) − mean e_t) / deviation of e_t,    e_t(x) = ‖ε − ε_θ(z_t, t)‖² / D,

means and deviations those of the fit set in the same part of the way; for b > 1 averaged over the group. Written from
the abstract. The model gives the errors, of those here a `diffusion`, at as many steps as it has `bound_times`.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import mean_over_group
from immature_ood.detectors._densities import Standard, fit_standard, scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "DenoisingError", "fit"]


class Config(DetectorConfig):
    """The denoising error has no options; those of the model say at how many steps it is taken."""

    detector: str = "denoising_error"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("denoising_errors",)


@dataclass(frozen=True)
class DenoisingError(WithoutLayers):
    """The mean z-score of the errors; standard: of the S errors of an image."""

    standard: Standard

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where an error is infinite; raises ValueError if one is NaN."""
        return mean_over_group(checked(features, "denoising_errors"), self._score)

    def _score(self, errors: np.ndarray) -> np.ndarray:
        """(n, S) → (n,)."""
        return scored_where_finite(errors, lambda finite: self.standard(finite).mean(axis=1))


def fit(config: Config, features: Features) -> DenoisingError:
    """Raises ValueError if an error is NaN or infinite."""
    errors = checked_finite(features, "denoising_errors")
    return DenoisingError(fit_standard(errors.reshape(-1, errors.shape[-1])))
