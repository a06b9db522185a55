"""A control: any kept epoch, each as probable as the others.

There is nothing to believe. What it loses is what there is to be won by choosing an epoch at all. All that is said of
it is an expectation over the epochs, not one draw.
"""

from typing import ClassVar

from immature_ood.config import RuleConfig
from immature_ood.epoch_rules import Evidence

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """An epoch at random has no options."""

    ahead: ClassVar[int | None] = 0
    control: ClassVar[bool] = True

    rule: str = "at_random"


def choose(config: Config, evidence: Evidence) -> dict[int, float]:
    """The probability of each kept epoch, the untrained one among them."""
    return dict.fromkeys(evidence.epochs, 1 / len(evidence.epochs))
