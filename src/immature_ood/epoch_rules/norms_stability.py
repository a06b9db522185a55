"""The first kept epoch whose log norms rank the held-out ID images as the next kept epoch's do.

Why one would believe it: a score is made of the norms of each image's gradients. Once further training only moves them
all alike, it can no longer change which image looks stranger than which, and so no AUROC.
"""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from immature_ood.config import Real, RuleConfig
from immature_ood.epoch_rules import Evidence, live_log_norms

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """The options of the stability of norms."""

    ahead: ClassVar[int | None] = 1

    rule: str = "norms_stability"
    correlation: Literal["rank", "linear"] = "rank"
    """The log norms of a layer at two epochs are compared by Spearman's or by Pearson's correlation over images."""
    threshold: Annotated[Real, Field(gt=-1, le=1)] = 0.9
    """Norms are stable where the median over layers of the correlation is at least this."""

    def needs(self) -> tuple[str, ...]:
        """See RuleConfig.needs."""
        return ("log_norms",)


def choose(config: Config, evidence: Evidence) -> int:
    """The last kept epoch where no two that follow one another are so alike."""
    log_norms = evidence.of("log_norms")
    for epoch, later in pairwise(log_norms):
        if stability(log_norms[epoch], log_norms[later], config.correlation) >= config.threshold:
            return epoch
    return evidence.epochs[-1]


def stability(one: np.ndarray, other: np.ndarray, correlation: str) -> float:
    """The median over layers of the correlation of (G, K) log norms; NaN if no layer is alive in both."""
    both = [_ranks(each) if correlation == "rank" else each for each in live_log_norms(one, other)]
    units = [(each - each.mean(axis=0)) / np.linalg.norm(each - each.mean(axis=0), axis=0) for each in both]
    by_layer = (units[0] * units[1]).sum(axis=0)
    return float(np.median(by_layer)) if len(by_layer) else float("nan")


def _ranks(columns: np.ndarray) -> np.ndarray:
    """(G, K) → (G, K) the ranks in each column, of equals the mean of theirs."""
    from scipy.stats import rankdata

    ranks: np.ndarray = rankdata(columns, axis=0)
    return ranks
