"""A detector of one's own in one file: how much the models of all seeds disagree on log p(x), as WAIC has it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from immature_ood.config import DetectorConfig, Real
from immature_ood.detectors import checked_log_prob

NEEDS = ("log_prob",)


class Config(DetectorConfig):
    """The spread over seeds."""

    pools_seeds: ClassVar[bool] = True
    weight: Real = 1.0
    """Of the variance, against the mean."""


@dataclass(frozen=True)
class Spread:
    """S(x) = weight · variance over seeds of log p(x) − mean over seeds of log p(x)."""

    weight: float
    dead_layers = ()

    def score(self, *features):
        log_prob = np.stack([checked_log_prob(one) for one in features])
        return self.weight * log_prob.var(axis=0) - log_prob.mean(axis=0)


def fit(config, *features):
    """Nothing is fitted."""
    return Spread(config.weight)
