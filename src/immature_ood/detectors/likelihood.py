"""The likelihood itself: known to fail (Nalisnick et al. 2019, arXiv 1810.09136), so the baseline to beat."""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import checked_log_prob
from immature_ood.features import Features

__all__ = ["Config", "Likelihood", "fit"]


class Config(DetectorConfig):
    """The likelihood has no options."""

    detector: str = "likelihood"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob",)


@dataclass(frozen=True)
class Likelihood:
    """S(x) = −log p(x), in nats per image, averaged over the group. Nothing is fitted."""

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Empty: no layers are used."""
        return ()

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; raises ValueError if a log-likelihood is NaN."""
        return -checked_log_prob(features)


def fit(config: Config, features: Features) -> Likelihood:
    """Raises ValueError if a log-likelihood is NaN."""
    checked_log_prob(features)
    return Likelihood()
