"""Controls that see pixels alone: a density of what is computed of each group's images, without any model."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from immature_ood.config import DetectorConfig
from immature_ood.detectors._densities import Components, Standard, scored_where_finite
from immature_ood.detectors._statistics import WithoutLayers
from immature_ood.features import Features
from immature_ood.pixel_statistics import statistics

__all__ = ["OnPixels", "PixelsConfig", "of_groups", "statistics"]


class PixelsConfig(DetectorConfig):
    """What the controls on pixels have in common."""

    control: ClassVar[bool] = True

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("pixels",)


@dataclass(frozen=True)
class OnPixels(WithoutLayers):
    """A detector: a density of the group's mean of standardised numbers of its images, or of their components.

    The mean of a group's numbers is scored, not the mean of its images' scores, since groups of ID images vary less
    than images do, and a density that was fitted on groups knows it.

    numbers: the name of what is computed of an image, "statistics" or "flat". chosen: (K,) bool, those that vary on
    the fit set. standard: of groups, (K,) → (K,).
    """

    numbers: str
    chosen: np.ndarray
    standard: Standard | Components
    density: Any

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64."""
        vectors = self.standard(of_groups(features, self.numbers)[:, self.chosen])
        return scored_where_finite(vectors, self.density.score)


def of_groups(features: Features, numbers: str) -> np.ndarray:
    """(G, K) float64: the mean of each group's images' numbers."""
    pixels = features.of("pixels")
    if numbers == "statistics":
        each = _statistics(pixels.tobytes(), pixels.shape[2:])
    else:
        each = flat(pixels.reshape(-1, *pixels.shape[2:]))
    return each.reshape(*pixels.shape[:2], -1).mean(axis=1)


@lru_cache(maxsize=4)  # several detectors ask for the same images one after the other
def _statistics(pixels: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return statistics(np.frombuffer(pixels, np.uint8).reshape(-1, *shape))


def flat(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) uint8 → (N, C·H·W) float64, grey levels."""
    return images.reshape(len(images), -1).astype(np.float64)
