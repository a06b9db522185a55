"""The likelihood ratio to a background model (Ren et al. 2019, arXiv 1906.02845).

S(x) = −(log p(x) − log p_b(x)), p_b a model of the same kind that was trained on perturbed images, and so knows the
background alone: in a study, one with `mutation_rate` above 0. It is read at the same seed and epoch. For b > 1 log p
is averaged over the group. Nothing is fitted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig, Kept, Place
from immature_ood.detectors._statistics import WithoutLayers, checked
from immature_ood.features import Features
from immature_ood.registry import did_you_mean

__all__ = ["Config", "LikelihoodRatio", "fit"]


class Config(DetectorConfig):
    """The options of the likelihood ratio."""

    detector: str = "likelihood_ratio"
    background: str = "background"
    """This model of the study is the background's, trained with a mutation_rate; it has no row itself."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob",)

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: the model, then its background."""
        return [] if own.model == self.background else [own, own._replace(model=self.background)]

    def faults(self, kept: Kept) -> Iterator[str]:
        """A line if there is no such model, or no other."""
        if self.background not in kept.models:
            meant = did_you_mean(self.background, [*kept.models])
            yield f"background: the study has no model {self.background!r}, such as one with a mutation_rate{meant}"
        elif len(kept.models) == 1:
            yield f"background: the study has no model but {self.background!r}; add one to compare with it"


@dataclass(frozen=True)
class LikelihoodRatio(WithoutLayers):
    """−log p(x) / p_b(x), nats per image."""

    def score(self, features: Features, background: Features) -> np.ndarray:
        """(G,) float64, +inf where the model's log p is −inf; raises ValueError if one is NaN."""
        own, other = checked(features, "log_prob"), checked(background, "log_prob")
        return np.where(np.isfinite(own), np.subtract(other, own, where=np.isfinite(own), out=-own), np.inf)


def fit(config: Config, features: Features, background: Features) -> LikelihoodRatio:
    """Raises ValueError if a log-likelihood is NaN."""
    for each in (features, background):
        checked(each, "log_prob")
    return LikelihoodRatio()
