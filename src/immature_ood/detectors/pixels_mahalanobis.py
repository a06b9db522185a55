"""A control: the first principal components of the pixels, and no model: the Mahalanobis distance to the mean."""

from immature_ood.config import Positive
from immature_ood.detectors._densities import fit_components, fit_mahalanobis, varying
from immature_ood.detectors._pixels import OnPixels, PixelsConfig, of_groups
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(PixelsConfig):
    """The options of the pixels' principal components."""

    detector: str = "pixels_mahalanobis"
    components: Positive = 50
    """So many principal components of the pixels are used, each brought to variance 1, or as many as there are."""


def fit(config: Config, features: Features) -> OnPixels:
    """Raises ValueError if no pixel varies over the groups."""
    found = of_groups(features, "flat")
    chosen = varying(found, f"{features.dataset}/{features.split}: no pixel")
    components = fit_components(found[:, chosen], config.components)
    return OnPixels("flat", chosen, components, fit_mahalanobis(components(found[:, chosen])))
