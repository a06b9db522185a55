"""A control: always the same epoch, whatever is seen of the training.

There is nothing to believe. It is what a rule has to be better than: one who has done such experiments before knows an
epoch that did well on other data sets.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

from immature_ood.config import Kept, NonNegative, RuleConfig
from immature_ood.epoch_rules import Evidence

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """The options of one epoch for all."""

    ahead: ClassVar[int | None] = 0
    control: ClassVar[bool] = True

    rule: str = "always"
    place: Literal["first", "last"] = "first"
    """The first trained one of the kept epochs is taken, or the last."""
    epoch: NonNegative | None = None
    """This kept epoch is taken, wherever it stands; 0 is the untrained model."""

    def faults(self, kept: Kept) -> Iterator[str]:
        """See RuleConfig.faults: the epoch is not kept."""
        if self.epoch is not None and self.epoch not in kept.epochs:
            yield f"epoch: {self.epoch} is not kept; add it to epochs, or choose one of {[*kept.epochs]}"


def choose(config: Config, evidence: Evidence) -> int:
    """The epoch; where a detector has no scores at it, the next one at which it has, or the last."""
    if config.epoch is not None:
        return next((epoch for epoch in evidence.epochs if epoch >= config.epoch), evidence.epochs[-1])
    if config.place == "last":
        return evidence.epochs[-1]
    return next((epoch for epoch in evidence.epochs if epoch), evidence.epochs[-1])
