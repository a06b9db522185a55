"""A detector of one's own in one file: the likelihood ratio to another model of the study, from the first epoch on."""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import checked_log_prob

NEEDS = ("log_prob",)


class Config(DetectorConfig):
    """The likelihood ratio."""

    background: str = "background"
    """The model of the study that it is the ratio to, of the same epoch and seed."""

    def reads(self, own, kept):
        """Its own checkpoint and the background's; neither the background nor an untrained model has a row."""
        return [own, own._replace(model=self.background)] if own.epoch and own.model != self.background else []

    def faults(self, kept):
        """A line if there is no such model."""
        if self.background not in kept.models:
            yield f"background: there is no model {self.background!r}; there are {', '.join(kept.models)}"


@dataclass(frozen=True)
class Ratio:
    """S(x) = log p_background(x) − log p(x)."""

    dead_layers = ()

    def score(self, own, background) -> np.ndarray:
        return checked_log_prob(background) - checked_log_prob(own)


def fit(config, own, background):
    """Nothing is fitted."""
    return Ratio()
