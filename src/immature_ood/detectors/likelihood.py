"""The likelihood itself: known to fail (Nalisnick et al. 2019, arXiv 1810.09136), so the baseline to beat."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from immature_ood.detectors import checked_log_prob
from immature_ood.features import Features

__all__ = ["Likelihood"]


@dataclass(frozen=True)
class Likelihood:
    """S(x) = −log p(x), in nats per image, averaged over the group. Nothing is fitted."""

    @classmethod
    def fit(cls, features: Features) -> Self:
        """Raises ValueError if a log-likelihood is NaN."""
        checked_log_prob(features)
        return cls()

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Empty: no layers are used."""
        return ()

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; raises ValueError if a log-likelihood is NaN."""
        return -checked_log_prob(features)
