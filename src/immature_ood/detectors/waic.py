"""WAIC over the seeds of a model: an ensemble's mean log-likelihood, less its variance (see _waic)."""

from collections.abc import Iterator
from typing import ClassVar

from immature_ood.config import DetectorConfig, Kept
from immature_ood.detectors._waic import Waic, fit_waic
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(DetectorConfig):
    """WAIC over seeds has no options."""

    pools_seeds: ClassVar[bool] = True

    detector: str = "waic"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob",)

    def faults(self, kept: Kept) -> Iterator[str]:
        """A line if there is no second seed."""
        if len(kept.seeds) < 2:
            yield f"detector: {self.detector} is over the models of several seeds, but seeds has one; add seeds"


def fit(config: Config, *features: Features) -> Waic:
    """Raises ValueError if a log-likelihood is NaN."""
    return fit_waic(*features)
