"""The norm of the whole gradient, one number, as GradNorm has it of classifiers (Huang et al. 2021, arXiv 2110.00218).

t(x) = log ‖∇_θ log p(x)‖² = log Σ_k exp f_k(x), f_k the log squared norm of layer k. S(x) = |t − μ| / σ, or
(t − μ) / σ, or its negative, μ and σ the mean and deviation of t on the fit set. For b > 1 the norms are those of the
group's gradient.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import check_layers, checked_log_norms
from immature_ood.detectors._densities import Standard, fit_standard
from immature_ood.features import Features
from immature_ood.layers import is_chosen, may_be_weights

__all__ = ["Config", "TotalGradientNorm", "fit"]


class Config(DetectorConfig):
    """The options of the norm of the whole gradient."""

    detector: str = "total_gradient_norm"
    layers: str = "all"
    """The gradient is that of these: all, weights, without_weights, or a pattern of names such as "blocks.0.*"."""
    side: Literal["both", "high", "low"] = "both"
    """A norm is out of the ordinary if it is far from the mean (both), high, or low."""

    def reads_weights(self) -> bool:
        """See DetectorConfig.reads_weights."""
        return may_be_weights(self.layers)


@dataclass(frozen=True)
class TotalGradientNorm:
    """The log norm of the gradient, standardised.

    layers: K names, all of those that the features have. used: (K,) bool. standard: of (G, 1).
    """

    layers: tuple[str, ...]
    used: np.ndarray
    side: str
    standard: Standard

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Empty: a layer without a gradient adds nothing."""
        return ()

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where the whole gradient is zero; raises ValueError if a log norm is NaN."""
        check_layers(self.layers, features)
        total = _total(features, self.used)
        z = self.standard(total[:, None])[:, 0]
        sided: np.ndarray = {"both": np.abs(z), "high": z, "low": -z}[self.side]
        return np.where(np.isfinite(total), sided, np.inf)


def fit(config: Config, features: Features) -> TotalGradientNorm:
    """Raises ValueError if a log norm is NaN, or if the gradient is zero or infinite for a group."""
    used = np.array([is_chosen(layer, config.layers) for layer in features.layers], dtype=bool)
    total = _total(features, used)
    if not np.isfinite(total).all():
        raise ValueError(
            f"{features.dataset}/{features.split}: the gradient of the {used.sum()} layers {config.layers!r} is zero "
            f"or infinite for {(~np.isfinite(total)).sum()} groups; choose others or a trained checkpoint"
        )
    return TotalGradientNorm(features.layers, used, config.side, fit_standard(total[:, None]))


def _total(features: Features, used: np.ndarray) -> np.ndarray:
    """(G,) float64, log Σ_k exp f_k over the used layers; −inf for none."""
    return np.asarray(np.logaddexp.reduce(checked_log_norms(features)[:, used], axis=1, initial=-np.inf))
