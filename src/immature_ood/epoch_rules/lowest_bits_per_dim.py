"""The kept epoch of the lowest held-out bits/dim: the mature model, as anyone who wants a density would choose it.

Why one would believe it: a score that rests on a density can be no better than the density, and held-out likelihood is
how densities are compared. It is the choice that "immature is enough" is set against.
"""

from immature_ood.config import RuleConfig
from immature_ood.epoch_rules import Evidence, first_extreme

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """The options of the lowest held-out bits/dim."""

    rule: str = "lowest_bits_per_dim"
    within_noise: bool = False
    """The first kept epoch that the held-out images do not tell from the lowest is taken, not the lowest itself."""


def choose(config: Config, evidence: Evidence) -> int:
    """The lowest of the trained ones, or, where only the untrained is kept, that one."""
    bits = evidence.of("bits_per_dim")
    trained = {epoch: bits[epoch] for epoch in bits if epoch} or bits
    lowest = first_extreme(trained, min)
    if not config.within_noise:
        return lowest
    noise = evidence.of("noise")
    return next(epoch for epoch in trained if epoch == lowest or bits[epoch] - bits[lowest] <= noise[epoch])
