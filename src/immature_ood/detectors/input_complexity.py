"""The likelihood less the image's own complexity (Serrà et al. 2020, arXiv 1909.11480, equation 2).

S(x) = −log₂ p(x) − L(x), L the bits of the shortest lossless encoding of the sample (see _complexity): the log ratio of
what the encoder and what the model take to write x. For b > 1 both are averaged over the group. Nothing is fitted.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.detectors._complexity import ComplexityConfig, bits, samples_of
from immature_ood.detectors._statistics import WithoutLayers, checked
from immature_ood.features import Features

__all__ = ["Config", "InputComplexity", "fit"]


class Config(ComplexityConfig):
    """The options of the likelihood less the complexity."""

    detector: str = "input_complexity"

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob", "pixels")


@dataclass(frozen=True)
class InputComplexity(WithoutLayers):
    """−log₂ p(x) − L(x), bits per image; codecs: of L."""

    codecs: tuple[str, ...]

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64; raises ValueError if a log-likelihood is NaN, or the codecs are not for the data."""
        return -checked(features, "log_prob") / np.log(2) - bits(features, self.codecs)


def fit(config: Config, features: Features) -> InputComplexity:
    """Raises ValueError if a log-likelihood is NaN, or the codecs are not for the data."""
    codecs = config.codecs_for(features)
    checked(features, "log_prob"), samples_of(features, codecs)
    return InputComplexity(codecs)
