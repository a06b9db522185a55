"""Path energy and dynamics energy of a diffusion path (Li et al. 2026, arXiv 2605.03410, UFCOD).

The noise ε that the model predicts is a score, so that Σ_t ‖ε_t‖² over the path from an image to noise, the path
energy, is its magnitude, and Σ_t ‖ε_{t+1} − ε_t‖², the dynamics energy, its smoothness: together a Sobolev norm. S(x)
is the Mahalanobis distance of their logarithms from the fit set's; for b > 1 averaged over the group. Written from the
abstract. The model gives the path, of those here a `diffusion`.
"""

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors._densities import fit_mahalanobis
from immature_ood.detectors._paths import NEEDS, OnPaths, fit_on_paths
from immature_ood.features import Features

__all__ = ["Config", "fit"]

ENERGIES = np.isin(np.arange(6), [1, 4])


class Config(DetectorConfig):
    """The energies of a path have no options."""

    detector: str = "path_energy"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return NEEDS


def fit(config: Config, features: Features) -> OnPaths:
    """Raises ValueError if an energy is NaN or infinite."""
    return fit_on_paths(ENERGIES, fit_mahalanobis, features)
