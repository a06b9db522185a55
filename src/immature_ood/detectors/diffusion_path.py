"""Diffusion paths (Heng et al. 2024, arXiv 2405.11881): how fast and how much does the noise predicted turn on its way?

The path leads from an image to noise by the model's own predictions ε (DDIM run forward). Along it six numbers are
taken, the p-norms of ε and of its rate of change dε / dt over all steps and pixels, p = 1, 2, 3; S(x) = −log of their
density over the fit set, a mixture of Gaussians; or that of the rate of change alone, √(Σ_t ‖dε / dt‖²), a kernel
density. Here the numbers are logarithms. For b > 1 the scores are averaged. Written from the abstract; theirs reads one
model for all tasks, this one the study's. The model gives the path, of those here a `diffusion`.
"""

from functools import partial
from typing import Literal

import numpy as np

from immature_ood.config import DetectorConfig, Positive
from immature_ood.detectors._densities import fit_kernels, fit_mixture
from immature_ood.detectors._paths import NEEDS, OnPaths, fit_on_paths
from immature_ood.features import Features

__all__ = ["Config", "fit"]

ALL, RATE = np.ones(6, dtype=bool), np.arange(6) == 4


class Config(DetectorConfig):
    """The options of diffusion paths."""

    detector: str = "diffusion_path"
    statistics: Literal["six", "rate"] = "six"
    """All six norms are read, or the 2-norm of the rate of change alone."""
    parts: Positive = 3
    """The density of six norms is a mixture of so many Gaussians."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return NEEDS


def fit(config: Config, features: Features) -> OnPaths:
    """Raises ValueError if a norm is NaN or infinite."""
    if config.statistics == "rate":
        return fit_on_paths(RATE, fit_kernels, features)
    return fit_on_paths(ALL, partial(fit_mixture, parts=config.parts), features)
