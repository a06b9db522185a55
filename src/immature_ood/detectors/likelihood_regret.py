"""Likelihood regret (Xiao et al. 2020, arXiv 2003.02977): how much better could the posterior of this image alone be?

S(x) = max_q ELBO(x; q) − ELBO(x; encoder), the decoder as it is, in nats, averaged over the group. The encoder was
trained to choose well for images like those of training; elsewhere it leaves more to gain, whatever the likelihood. The
model computes it, of those here a `vae` (see models/_vae.py), whose options say how: for every image `regret_steps`
forwards and backwards of the decoder, 100 by default, and twice `importance_samples` forwards more. That is 0.05 s an
image of 28×28 on a core for the small model, 17 times what the gradient norms of elbo take.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "LikelihoodRegret", "fit"]


class Config(DetectorConfig):
    """The likelihood regret has no options; those of the model say how it is computed."""

    detector: str = "likelihood_regret"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("likelihood_regret",)


@dataclass(frozen=True)
class LikelihoodRegret(WithoutLayers):
    """S(x) = the likelihood regret, in nats per image, averaged over the group. Nothing is fitted."""

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; raises ValueError if a regret is NaN."""
        return checked(features, "likelihood_regret")


def fit(config: Config, features: Features) -> LikelihoodRegret:
    """Raises ValueError if a regret is NaN or infinite."""
    checked_finite(features, "likelihood_regret")
    return LikelihoodRegret()
