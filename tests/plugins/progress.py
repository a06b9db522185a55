"""A detector of one's own in one file: log p(x) at this epoch against the mean of all kept epochs before it."""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import checked_log_prob

NEEDS = ("log_prob",)


class Config(DetectorConfig):
    """Earlier epochs."""

    def reads(self, own, kept):
        """All kept epochs up to its own, the latest first; there is no row where none is before it."""
        epochs = [epoch for epoch in reversed(kept.epochs) if epoch <= own.epoch]
        return [own._replace(epoch=epoch) for epoch in epochs] if epochs[1:] else []


@dataclass(frozen=True)
class Progress:
    """S(x) = mean over earlier epochs of log p(x) − log p(x)."""

    dead_layers = ()

    def score(self, own, *earlier):
        return np.mean([checked_log_prob(one) for one in earlier], axis=0) - checked_log_prob(own)


def fit(config, *features):
    """Nothing is fitted."""
    return Progress()
