"""A control: does a sample compress as well as usual? No model: a general compressor, such as zlib, on what is stored.

Text that a language model finds likely is often text that repeats itself, which a compressor sees too.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from immature_ood.detectors._complexity import ComplexityConfig, bits
from immature_ood.detectors._densities import fit_standard, varying
from immature_ood.detectors._statistics import WithoutLayers
from immature_ood.features import Features

__all__ = ["CompressionLength", "Config", "fit"]


class Config(ComplexityConfig):
    """The options of the length after compression."""

    control: ClassVar[bool] = True

    detector: str = "compression_length"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("pixels",)


@dataclass(frozen=True)
class CompressionLength(WithoutLayers):
    """S(x) = | L(x) − μ | / σ, L the mean bits of the group's samples after compression: a two-sided Gaussian.

    mean, deviation: μ and σ, of the groups of the fit set.
    """

    codecs: tuple[str, ...]
    mean: float
    deviation: float

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64."""
        return np.abs(bits(features, self.codecs) - self.mean) / self.deviation


def fit(config: Config, features: Features) -> CompressionLength:
    """Raises ValueError if lengths do not vary over the groups, or the codecs are not for the data."""
    codecs = config.codecs_for(features)
    found = bits(features, codecs)[:, None]
    varying(found, f"{features.dataset}/{features.split}: no length after compression")
    standard = fit_standard(found)
    return CompressionLength(codecs, float(standard.mean[0]), float(standard.deviation[0]))
