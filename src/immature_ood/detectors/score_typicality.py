"""The score test and the typicality test together (Bergamin et al. 2022, arXiv 2203.01097).

The score test asks whether the gradient of the likelihood is as small as for data of the model: T₁ = gᵀ F⁻¹ g, g the
gradient and F the Fisher information. Here F is a multiple of the identity in each layer, F_k = c_k I, c_k from the
mean of ‖g_k‖² over the fit set, and every layer counts alike, for features hold norms and not the numbers of weights:

    T₁ = log Σ_k ‖g_k‖² / mean_fit ‖g_k‖²,    T₂ = | log p − mean_fit log p |.

Both are large for a group that is out of the ordinary; their p-values are combined by Fisher's method,
S = −2 (log p₁ + log p₂). Means are of one half of the fit set, p-values are against the other (see _calibration). For
b > 1 the gradient is the group's, and log p is averaged over it.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import check_layers, checked_log_norms
from immature_ood.detectors._calibration import Calibration, calibrate, halves
from immature_ood.detectors._densities import scored_where_finite
from immature_ood.detectors._statistics import checked, checked_finite
from immature_ood.features import Features
from immature_ood.layers import is_chosen, may_be_weights

__all__ = ["Config", "ScoreTypicality", "fit"]


class Config(DetectorConfig):
    """The options of the score test and typicality."""

    detector: str = "score_typicality"
    layers: str = "all"
    """The gradient is that of these: all, weights, without_weights, or a pattern of names such as "blocks.0.*"."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_norms", "log_prob")

    def reads_weights(self) -> bool:
        """See DetectorConfig.reads_weights."""
        return may_be_weights(self.layers)


@dataclass(frozen=True)
class Tests:
    """T₁ and T₂ of groups.

    layers: K names, all of those that the features have. log_means: (K,), log mean ‖g_k‖²; +inf for layers that are
    not used. mean_log_prob: over the fit set.
    """

    layers: tuple[str, ...]
    log_means: np.ndarray
    mean_log_prob: float

    def __call__(self, features: Features) -> np.ndarray:
        """(G, 2) float64; raises ValueError if a number is NaN or the layers are not those of the fit."""
        check_layers(self.layers, features)
        used = np.isfinite(self.log_means)
        ratios = checked_log_norms(features)[:, used] - self.log_means[used]
        score = np.logaddexp.reduce(ratios, axis=1)
        return np.stack([score, np.abs(checked(features, "log_prob") - self.mean_log_prob)], axis=1)


@dataclass(frozen=True)
class ScoreTypicality:
    """−2 Σ log p of the two tests; dead_layers: those without any gradient on the fit set, which are left out."""

    tests: Tests
    calibration: Calibration
    dead_layers: tuple[str, ...]

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where a number is infinite; raises ValueError if one is NaN."""
        return scored_where_finite(self.tests(features), lambda each: 2 * self.calibration(each).sum(axis=1))


def fit(config: Config, features: Features) -> ScoreTypicality:
    """Raises ValueError if a number is NaN, a log p is infinite, or no layer of those chosen has a gradient."""
    checked_finite(features, "log_prob")
    chosen = np.array([is_chosen(layer, config.layers) for layer in features.layers], dtype=bool)
    alive = np.isfinite(checked_log_norms(features)).any(axis=0)
    if not (chosen & alive).any():
        raise ValueError(
            f"{features.dataset}/{features.split}: none of the {chosen.sum()} layers {config.layers!r} has a gradient; "
            "choose others or a trained checkpoint"
        )
    one, other = halves(features)
    tests = _fit_tests(features.taken(one), chosen & alive)
    names = tuple(layer for layer, dead in zip(features.layers, chosen & ~alive, strict=True) if dead)
    return ScoreTypicality(tests, calibrate(tests(features.taken(other))), names)


def _fit_tests(features: Features, used: np.ndarray) -> Tests:
    norms = checked_log_norms(features)
    log_means = np.logaddexp.reduce(norms, axis=0) - np.log(len(norms))
    return Tests(features.layers, np.where(used, log_means, np.inf), float(checked(features, "log_prob").mean()))
