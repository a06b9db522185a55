"""A control: the first principal components of the pixels, and no model: the k-th nearest group of the fit set."""

from immature_ood.config import Positive
from immature_ood.detectors._densities import fit_components, fit_neighbours, varying
from immature_ood.detectors._pixels import OnPixels, PixelsConfig, of_groups
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(PixelsConfig):
    """The options of the pixels' principal components."""

    detector: str = "pixels_knn"
    components: Positive = 50
    """So many principal components of the pixels are used, each brought to variance 1, or as many as there are."""
    neighbours: Positive = 5
    """The distance is to this nearest neighbour, k."""


def fit(config: Config, features: Features) -> OnPixels:
    """Raises ValueError if no pixel varies over the groups, or if there are fewer groups than k."""
    found = of_groups(features, "flat")
    chosen = varying(found, f"{features.dataset}/{features.split}: no pixel")
    components = fit_components(found[:, chosen], config.components)
    return OnPixels("flat", chosen, components, fit_neighbours(components(found[:, chosen]), config.neighbours))
