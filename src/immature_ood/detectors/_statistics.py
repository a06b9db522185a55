"""What detectors on statistics of samples other than gradient norms share."""

import numpy as np

from immature_ood.features import Features

__all__ = ["WithoutLayers", "checked", "checked_finite"]


class WithoutLayers:
    """A detector that uses no layers."""

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Empty: no layers are used."""
        return ()


def checked(features: Features, name: str) -> np.ndarray:
    """A statistic, (G, ...) float64; raises ValueError if a number of it is NaN."""
    values = features.of(name)
    broken = np.isnan(values).any(axis=tuple(range(1, values.ndim)))
    if broken.any():
        raise ValueError(
            f"{name} of {features.dataset}/{features.split} is NaN for {broken.sum()} groups: did training diverge? "
            "lower its learning rate"
        )
    return values.astype(np.float64)


def checked_finite(features: Features, name: str) -> np.ndarray:
    """As checked, of features to fit on: raises ValueError too if a number is infinite."""
    values = checked(features, name)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} of {features.dataset}/{features.split} is infinite: did training diverge? lower its learning rate"
        )
    return values
