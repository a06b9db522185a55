"""The kept epoch at which a detector scores ID groups that it has not seen most like those that it was fitted on.

Why one would believe it: a detector that is fitted on one half of the held-out images and finds the other half strange
has learned its images and not their kind, and will find everything strange. Its p-values on the other half are uniform
where the scores of both halves have one distribution, so these are compared (Kolmogorov and Smirnov's distance).
"""

import numpy as np

from immature_ood.config import RuleConfig
from immature_ood.epoch_rules import Evidence, Halves, first_extreme

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """Calibration has no options."""

    rule: str = "calibration"

    def needs(self) -> tuple[str, ...]:
        """See RuleConfig.needs."""
        return ("halves",)


def choose(config: Config, evidence: Evidence) -> int:
    """The first epoch of the smallest distance."""
    return first_extreme({epoch: distance(halves) for epoch, halves in evidence.of("halves").items()}, min)


def distance(halves: Halves) -> float:
    """The largest difference of the two distribution functions, from 0 to 1."""
    scores = np.unique(np.concatenate([halves.fitted, halves.others]))
    shares = [np.searchsorted(np.sort(each), scores, "right") / len(each) for each in (halves.fitted, halves.others)]
    return float(np.abs(shares[0] - shares[1]).max())
