"""Density of states estimation, DoSE (Morningstar et al. 2021, arXiv 2006.09273): are the model's statistics usual?

S(x) = −Σ_j log q_j(T_j(x)), q_j a kernel density of one statistic T_j over the fit set; or that of a one-class support
vector machine on all of them side by side. The statistics of a flow are log p(x), the log-density of its latents, and
the log-determinant, their difference. Each is standardised, and each kernel density has Scott's bandwidth. For b > 1
statistics are averaged over the group, but for the norm, which is that of the group's gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immature_ood.config import DetectorConfig, Real
from immature_ood.detectors import checked_log_norms
from immature_ood.detectors._densities import (
    Kernels,
    Standard,
    SupportVectors,
    fit_kernels,
    fit_standard,
    fit_support_vectors,
    scored_where_finite,
)
from immature_ood.detectors._statistics import WithoutLayers, checked
from immature_ood.features import Features

__all__ = ["Config", "Dose", "fit"]

Statistic = Literal["log_prob", "log_prior", "log_det", "total_gradient_norm"]
NEEDS: Mapping[str, tuple[str, ...]] = {
    "log_prob": ("log_prob",),
    "log_prior": ("log_prior",),
    "log_det": ("log_prob", "log_prior"),
    "total_gradient_norm": ("log_norms",),
}


class Config(DetectorConfig):
    """The options of density of states estimation."""

    detector: str = "dose"
    density: Literal["kernels", "svm"] = "kernels"
    """A kernel density for each statistic, or one support vector machine for all."""
    statistics: Annotated[list[Statistic], Field(min_length=1)] = Field(default=["log_prob", "log_prior", "log_det"])
    """These are used: log_prob, log_prior, log_det (the two of flows alone), total_gradient_norm."""
    nu: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """At most this share of the fit set is outside the support vector machine."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return tuple(dict.fromkeys(need for statistic in self.statistics for need in NEEDS[statistic]))


@dataclass(frozen=True)
class Dose(WithoutLayers):
    """Densities of standardised statistics.

    statistics: M names. densities: of each its own, (G, 1), or one of all, (G, M).
    """

    statistics: tuple[str, ...]
    standard: Standard
    densities: tuple[Kernels | SupportVectors, ...]

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64, +inf where a statistic is infinite; raises ValueError if one is NaN."""
        return scored_where_finite(self.standard(_vectors(features, self.statistics)), self._score)

    def _score(self, vectors: np.ndarray) -> np.ndarray:
        columns = np.split(vectors, len(self.densities), axis=1)
        scores = [each.score(own) for each, own in zip(self.densities, columns, strict=True)]
        return np.sum(scores, axis=0)


def fit(config: Config, features: Features) -> Dose:
    """Raises ValueError if a statistic is NaN or infinite."""
    raw = _vectors(features, config.statistics)
    if not np.isfinite(raw).all():
        raise ValueError(
            f"{features.dataset}/{features.split}: {', '.join(config.statistics)} are infinite for "
            f"{(~np.isfinite(raw).all(axis=1)).sum()} groups; choose other statistics or a trained checkpoint"
        )
    standard = fit_standard(raw)
    vectors = standard(raw)
    if config.density == "svm":
        return Dose((*config.statistics,), standard, (fit_support_vectors(vectors, config.nu),))
    return Dose((*config.statistics,), standard, tuple(fit_kernels(column) for column in _columns(vectors)))


def _columns(vectors: np.ndarray) -> list[np.ndarray]:
    return np.split(vectors, vectors.shape[1], axis=1)


def _vectors(features: Features, statistics: Sequence[str]) -> np.ndarray:
    """(G, M) float64."""
    return np.stack([READ[statistic](features) for statistic in statistics], axis=1)


def _log_det(features: Features) -> np.ndarray:
    """log |det ∂ latents / ∂ x|, but for a constant."""
    return checked(features, "log_prob") - checked(features, "log_prior")


def _total(features: Features) -> np.ndarray:
    """log ‖∇_θ log p‖² of all layers."""
    return np.asarray(np.logaddexp.reduce(checked_log_norms(features), axis=1, initial=-np.inf))


READ: Mapping[str, Callable[[Features], np.ndarray]] = {
    "log_prob": lambda features: checked(features, "log_prob"),
    "log_prior": lambda features: checked(features, "log_prior"),
    "log_det": _log_det,
    "total_gradient_norm": _total,
}
