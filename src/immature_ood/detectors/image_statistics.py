"""A control: a handful of numbers of each image, and no model. What does a density model add to it?

Thirteen of a colour image, eight of a grey one (see _pixels.statistics), averaged over a group, standardised on the fit
set; the score is the Mahalanobis distance, or that to the k-th nearest group of the fit set.
"""

from typing import Literal

from immature_ood.config import Positive
from immature_ood.detectors._densities import fit_mahalanobis, fit_neighbours, fit_standard, varying
from immature_ood.detectors._pixels import OnPixels, PixelsConfig, of_groups
from immature_ood.features import Features

__all__ = ["KINDS", "Config", "fit"]

KINDS = ("images",)


class Config(PixelsConfig):
    """The options of statistics of images."""

    detector: str = "image_statistics"
    density: Literal["mahalanobis", "knn"] = "mahalanobis"
    """The distance is that of Mahalanobis, or that to the nearest neighbours."""
    neighbours: Positive = 5
    """With knn the distance is to this nearest neighbour, k."""


def fit(config: Config, features: Features) -> OnPixels:
    """Raises ValueError if no number varies over the groups, or if there are fewer groups than k."""
    found = of_groups(features, "statistics")
    chosen = varying(found, f"{features.dataset}/{features.split}: no statistic of the images")
    standard = fit_standard(found[:, chosen])
    vectors = standard(found[:, chosen])
    density = fit_neighbours(vectors, config.neighbours) if config.density == "knn" else fit_mahalanobis(vectors)
    return OnPixels("statistics", chosen, standard, density)
