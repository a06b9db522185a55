"""The kept epoch at which the log norms of held-out ID images vary in the most directions.

Why one would believe it: a density of norms tells two sets apart by any direction in which these differ. Where the
norms of all layers rise and fall together, there is one; the more independent directions, the more ways an OOD image
has to be strange. Effective rank: exp of the entropy of the covariance's eigenvalues, as shares of their sum (Roy and
Vetterli 2007, "The effective rank: A measure of effective dimensionality", EUSIPCO).
"""

from typing import Literal

import numpy as np

from immature_ood.config import RuleConfig
from immature_ood.epoch_rules import Evidence, first_extreme, live_log_norms

__all__ = ["Config", "choose"]


class Config(RuleConfig):
    """The options of the effective rank."""

    rule: str = "effective_rank"
    of: Literal["covariance", "correlation"] = "covariance"
    """The eigenvalues are those of the covariance of layers, or of their correlation, in which each counts alike."""

    def needs(self) -> tuple[str, ...]:
        """See RuleConfig.needs."""
        return ("log_norms",)


def choose(config: Config, evidence: Evidence) -> int:
    """The first epoch of the largest rank."""
    ranks = {epoch: effective_rank(each, config.of) for epoch, each in evidence.of("log_norms").items()}
    return first_extreme(ranks, max)


def effective_rank(log_norms: np.ndarray, of: str = "covariance") -> float:
    """Of (G, K) log norms, between 1 and the number of live layers; NaN if no layer is alive.

    >>> effective_rank(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])).__round__(6)
    2.0
    """
    (live,) = live_log_norms(log_norms)
    if not live.shape[1]:
        return float("nan")
    centred = live - live.mean(axis=0)
    centred = centred / centred.std(axis=0) if of == "correlation" else centred
    shares = np.linalg.svd(centred, compute_uv=False) ** 2
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
