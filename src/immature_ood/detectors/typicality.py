"""The typicality test (Nalisnick et al. 2019b, arXiv 1906.02994): is the likelihood as high as usual?"""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors import checked_log_prob
from immature_ood.features import Features

__all__ = ["Config", "Typicality", "fit"]


class Config(DetectorConfig):
    """The typicality test has no options."""

    detector: str = "typicality"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob",)


@dataclass(frozen=True)
class Typicality:
    """S(x) = | mean of log p over the group − mean of log p over the fit set |, in nats per image.

    mean_log_prob: over the fit set. The original estimates it on the training set, where a model that has
    memorised its images is too sure; the fit set is held out.
    """

    mean_log_prob: float

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Empty: no layers are used."""
        return ()

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; raises ValueError if a log-likelihood is NaN."""
        return np.abs(checked_log_prob(features) - self.mean_log_prob)


def fit(config: Config, features: Features) -> Typicality:
    """Raises ValueError if a log-likelihood is not finite."""
    mean = float(checked_log_prob(features).mean())
    if not np.isfinite(mean):
        raise ValueError(
            f"the mean log-likelihood of {features.dataset}/{features.split} is {mean}: "
            "did training diverge? lower its learning rate"
        )
    return Typicality(mean)
