"""The Watanabe–Akaike information criterion over several models (Choi et al. 2018, arXiv 1810.01392).

S(x) = −WAIC(x) = −(E_m log p_m(x) − Var_m log p_m(x)), over the M models that are read, the variance unbiased (M − 1).
For b > 1 log p_m is averaged over the group before. Nothing is fitted.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.detectors._statistics import WithoutLayers, checked
from immature_ood.features import Features

__all__ = ["Waic", "fit_waic"]


@dataclass(frozen=True)
class Waic(WithoutLayers):
    """−WAIC: the mean of −log p over the models, nats, plus its variance."""

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64, +inf where any log p is infinite; raises ValueError if one is NaN."""
        log_probs = np.stack([checked(each, "log_prob") for each in features], axis=1)
        finite = np.where(np.isfinite(log_probs), log_probs, 0.0)
        waic = finite.mean(axis=1) - finite.var(axis=1, ddof=1)
        return np.where(np.isfinite(log_probs).all(axis=1), -waic, np.inf)


def fit_waic(*features: Features) -> Waic:
    """Raises ValueError if a log-likelihood is NaN."""
    for each in features:
        checked(each, "log_prob")
    return Waic()
