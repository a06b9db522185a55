"""Log norms of layers: the distance to the k-th nearest group of the fit set (Sun et al. 2022, arXiv 2204.06507)."""

from immature_ood.config import Positive
from immature_ood.detectors._densities import fit_neighbours
from immature_ood.detectors._norms import NormsConfig, OnVectors, fit_vectors
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(NormsConfig):
    """The options of the nearest neighbours of gradient norms."""

    detector: str = "gradient_norms_knn"
    neighbours: Positive = 5
    """The distance is to this nearest neighbour, k."""


def fit(config: Config, *features: Features) -> OnVectors:
    """Raises ValueError if a log norm is NaN, no layer of those chosen is alive, or there are fewer groups than k."""
    vectors = fit_vectors(config, *features)
    return OnVectors(vectors, fit_neighbours(vectors(*features), config.neighbours))
