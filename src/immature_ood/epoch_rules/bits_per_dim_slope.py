"""The first kept epoch from which on the held-out bits/dim hardly fall: the model has learned most of what it will.

Why one would believe it: what is learned first is common to all images of a set, its texture and low-level statistics,
and these are what tell most pairs of data sets apart; what costs many epochs more are details. A loss falls about alike
in every doubling of the epochs (a power law), so the slope is taken by doubling.
"""

import math
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from immature_ood.config import Real, RuleConfig
from immature_ood.epoch_rules import Evidence

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """The options of the slope of held-out bits/dim."""

    ahead: ClassVar[int | None] = 1

    rule: str = "bits_per_dim_slope"
    tolerance: Annotated[Real, Field(gt=0)] = 0.05
    """The bits/dim that fall by less than this to the next kept epoch hardly fall."""
    by: Literal["doubling", "epoch"] = "doubling"
    """The fall is counted by doubling of the epochs, or by epoch."""


def choose(config: Config, evidence: Evidence) -> int:
    """The first trained epoch before so small a fall; the last kept one if there is none."""
    bits = evidence.of("bits_per_dim")
    for epoch, later in pairwise(each for each in evidence.epochs if each):
        distance = math.log2(later / epoch) if config.by == "doubling" else later - epoch
        if (bits[epoch] - bits[later]) / distance < config.tolerance:
            return epoch
    return evidence.epochs[-1]
