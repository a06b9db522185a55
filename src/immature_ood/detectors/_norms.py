"""Detectors on the log norms of layers, each standardised on the fit set: what they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from immature_ood.config import DetectorConfig, Kept, Place, Positive
from immature_ood.detectors import check_layers, checked_log_norms, checked_log_prob
from immature_ood.detectors._densities import Standard, fit_standard, scored_where_finite
from immature_ood.features import Features
from immature_ood.layers import is_chosen, may_be_weights

__all__ = ["NormsConfig", "OnVectors", "Vectors", "fit_vectors"]


class NormsConfig(DetectorConfig):
    """What the detectors on log norms have in common."""

    layers: str = "all"
    """These are used: all, weights, without_weights, or a pattern of names such as "blocks.0.*"."""
    log_prob: bool = False
    """The log-likelihood is one number more beside the norms."""
    epochs: Positive = 1
    """The features of so many kept epochs, the last of which is that of the row, stand side by side."""

    def reads_weights(self) -> bool:
        """See DetectorConfig.reads_weights."""
        return may_be_weights(self.layers)

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_norms", "log_prob") if self.log_prob else ("log_norms",)

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: its own epoch, then those before it."""
        earlier = [epoch for epoch in reversed(kept.epochs) if epoch <= own.epoch]
        return [own._replace(epoch=epoch) for epoch in earlier[: self.epochs]]


@dataclass(frozen=True)
class Vectors:
    """Features of E checkpoints → standardised vectors (G, M): the log norms that are used, and log p if it is asked.

    A layer is dead if on the fit set a log norm is not finite or all are equal; it is left out.

    layers: K names, all of those that the features have. used: (E, K) bool. dead_layers: names of those that were
    chosen and are dead in all checkpoints.
    """

    layers: tuple[str, ...]
    used: np.ndarray
    log_prob: bool
    standard: Standard
    dead_layers: tuple[str, ...]

    def __call__(self, *features: Features) -> np.ndarray:
        """(G, M) float64, −inf for a gradient of exactly zero; raises ValueError if a number is NaN."""
        for one in features:
            check_layers(self.layers, one)
        return self.standard(_raw(features, self.used, self.log_prob))


def fit_vectors(config: NormsConfig, *features: Features) -> Vectors:
    """Raises ValueError if a number is NaN, or if no layer of those chosen is alive."""
    first, *_ = features
    chosen = np.array([is_chosen(layer, config.layers) for layer in first.layers], dtype=bool)
    used = np.array([chosen & _varies(checked_log_norms(one)) for one in features])
    if not used.any():
        raise ValueError(
            f"{first.dataset}/{first.split}: none of the {chosen.sum()} layers {config.layers!r} has a finite, varying "
            f"gradient norm over {len(first.units)} groups; choose others, fit on more images or a trained checkpoint"
        )
    dead = chosen & ~used.any(axis=0)
    names = tuple(layer for layer, is_dead in zip(first.layers, dead, strict=True) if is_dead)
    return Vectors(first.layers, used, config.log_prob, fit_standard(_raw(features, used, config.log_prob)), names)


def _varies(norms: np.ndarray) -> np.ndarray:
    """Of norms (G, K), (K,) bool. Equality is decided on the values: the variance of equal ones need not round to 0."""
    varies: np.ndarray = np.isfinite(norms).all(axis=0) & (norms.max(axis=0) > norms.min(axis=0))
    return varies


def _raw(features: Sequence[Features], used: np.ndarray, log_prob: bool) -> np.ndarray:
    return np.hstack(
        [part for one, chosen in zip(features, used, strict=True) for part in _parts(one, chosen, log_prob)]
    )


def _parts(features: Features, used: np.ndarray, log_prob: bool) -> Iterator[np.ndarray]:
    yield checked_log_norms(features)[:, used]
    if log_prob:
        yield checked_log_prob(features)[:, None]


@dataclass(frozen=True)
class OnVectors:
    """A detector: a density of _densities on the vectors of features."""

    vectors: Vectors
    density: Any

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """The layers left out since their norms do not vary on the fit set."""
        return self.vectors.dead_layers

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64, +inf where a gradient is exactly zero; raises ValueError if a number is NaN."""
        return scored_where_finite(self.vectors(*features), self.density.score)
