"""The change of the likelihood between two kept epochs: what did training there do to such a group?

S(x) = |Δ(x) − μ| / σ, Δ(x) = log p_e(x) − log p_e′(x), e the row's epoch and e′ an earlier one, μ and σ the mean and
deviation of Δ on the fit set. This workflow's own, for it keeps epochs. For b > 1 log p is averaged over the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from immature_ood.config import DetectorConfig, Kept, Place, Positive
from immature_ood.detectors._densities import Standard, fit_standard, scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers, checked, checked_finite
from immature_ood.features import Features

__all__ = ["Config", "LogProbChange", "fit"]


class Config(DetectorConfig):
    """The options of the change of the likelihood."""

    detector: str = "log_prob_change"
    earlier: Positive = 1
    """The change is since the kept epoch so many places before; an epoch with none has no row."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob",)

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: its own epoch, then the earlier one."""
        before = [epoch for epoch in sorted(kept.epochs) if epoch < own.epoch]
        return [own, own._replace(epoch=before[-self.earlier])] if len(before) >= self.earlier else []


@dataclass(frozen=True)
class LogProbChange(WithoutLayers):
    """The change, standardised: of (G, 1)."""

    standard: Standard

    def score(self, features: Features, earlier: Features) -> np.ndarray:
        """(G,) float64, +inf where a log p is −inf; raises ValueError if one is NaN."""
        both = np.stack([checked(each, "log_prob") for each in (features, earlier)], axis=1)
        return scored_where_finite(both, lambda pair: np.abs(self.standard(-np.diff(pair))[:, 0]))


def fit(config: Config, features: Features, earlier: Features) -> LogProbChange:
    """Raises ValueError if a log-likelihood is NaN or infinite."""
    change = checked_finite(features, "log_prob") - checked_finite(earlier, "log_prob")
    return LogProbChange(fit_standard(change[:, None]))
