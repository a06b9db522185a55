"""The likelihood with the local intrinsic dimension (Kamkari et al. 2024, arXiv 2403.18910, their dual threshold).

A group is in-distribution if its likelihood is high and so is its dimension: dense regions that are thin hold little
probability. LID(x) is the number of singular values σ_i of the decoder's Jacobian at x's latents that are above τ
(Horvat & Pfister 2022), and τ is such that LID is on average d over the fit set, d by local principal components of
the fit images (Fukunaga & Olsen 1971: of the nearest 100, those with more than 5 % of the largest variance), as theirs.
Their AUROC is over all pairs of two thresholds, chosen with the OOD data; one score for both is

    S(x) = max( −log P(log p ≤ log p(x)), −log P(LID ≤ LID(x)) ),

P the distribution on the fit set (see _calibration): at any threshold of S, both are asked for the same p-value. For
b > 1 both are averaged over the group. The Jacobian has D² numbers: seconds to minutes an image of colour, so that a
study of it has some 100 images and one epoch.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig, Positive
from immature_ood.detectors._calibration import Calibration, calibrate
from immature_ood.detectors._densities import scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "DualThreshold", "fit"]

NEAREST = 100  # of the local principal components
SHARE = 0.05  # of the largest variance


class Config(DetectorConfig):
    """The options of the likelihood with the local intrinsic dimension."""

    detector: str = "lid_dual_threshold"
    dimension: Positive | None = None
    """The intrinsic dimension is this on average over the fit set; by default that of local principal components."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob", "log_singular_values", *(() if self.dimension else ("pixels",)))


@dataclass(frozen=True)
class DualThreshold(WithoutLayers):
    """The larger −log p of two one-sided tests; log_threshold: log τ."""

    log_threshold: float
    calibration: Calibration

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where log p is −inf; raises ValueError if a number is NaN."""
        return scored_where_finite(
            _both(features, self.log_threshold), lambda low: self.calibration(low).max(axis=1, initial=0)
        )


def fit(config: Config, features: Features) -> DualThreshold:
    """Raises ValueError if a number is NaN, or a log-likelihood is infinite."""
    checked_finite(features, "log_prob")
    values = checked(features, "log_singular_values")
    dimension = config.dimension or local_dimension(features.of("pixels"))
    log_threshold = float(np.quantile(values, 1 - min(dimension / values.shape[2], 1)))
    return DualThreshold(log_threshold, calibrate(_both(features, log_threshold)))


def _both(features: Features, log_threshold: float) -> np.ndarray:
    """(G, 2) float64: −log p and −LID, high where they are low."""
    dimension = (checked(features, "log_singular_values") > log_threshold).sum(axis=2).mean(axis=1)
    return np.stack([-checked(features, "log_prob"), -dimension], axis=1)


def local_dimension(pixels: np.ndarray) -> float:
    """Of images (G, b, ...), the mean number of principal components, among the nearest of each, that are not small."""
    images = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1).astype(np.float64)
    return float(np.mean([_components(images, each) for each in images]))


def _components(images: np.ndarray, image: np.ndarray) -> int:
    nearest = np.argsort(((images - image) ** 2).sum(axis=1), kind="stable")[: NEAREST + 1]
    centred = images[nearest] - images[nearest].mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    return int(np.count_nonzero(variances > SHARE * variances[0]))
