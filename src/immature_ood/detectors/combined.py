"""Detectors together: each is calibrated on held-out ID groups, then their p-values or z-scores are combined.

Each part is fitted on one half of the fit set; on the other half its scores get p-values (see _calibration), or a mean
and a deviation. S(x) is, with P parts,

    fisher:  −2 Σ_i log p_i(x) (Fisher 1932, section 21.1), in the same order as the mean of −log p_i;
    maximum: max_i −log p_i(x), that is by the least p-value (Tippett 1931);
    sum:     Σ_i z_i(x), the scores minus their means by their deviations.

As parts are not independent, S is no p-value; nor is that of a part with `refit`, whose scores are of another fit than
those it was calibrated with. For b > 1 each part is fitted to groups as it says itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immature_ood import detectors
from immature_ood.config import DetectorConfig, Kept, Name, Place
from immature_ood.detectors import Detector
from immature_ood.detectors._calibration import Calibration, calibrate, halves
from immature_ood.detectors._densities import Standard, fit_standard
from immature_ood.detectors._parts import Part
from immature_ood.features import Features

__all__ = ["Combined", "Config", "fit"]

PARTS = {name: {"detector": name} for name in ("gradient_norms_mahalanobis", "gradient_norms_knn")}


class Config(DetectorConfig):
    """The options of detectors together."""

    detector: str = "combined"
    parts: Annotated[dict[Name, Part], Field(min_length=1)] = Field(default=PARTS, validate_default=True)
    """The detectors by name, each a section that names its detector and has its options."""
    how: Literal["fisher", "maximum", "sum"] = "fisher"
    """Logarithms of p-values are added (fisher), the least one is taken (maximum), or z-scores are added (sum)."""
    refit: bool = False
    """Once calibrated, the parts are fitted on the whole fit set, whose scores the p-values are then not quite of."""

    def parts_of(self) -> Mapping[str, DetectorConfig]:
        """See DetectorConfig.parts_of."""
        return {f"parts.{name}": part for name, part in self.parts.items()}

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs: what any part needs."""
        return tuple(dict.fromkeys(need for part in self.parts.values() for need in part.needs()))

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: the place that all parts read, or one a part; none where a part reads none."""
        places = [place for part in self.parts.values() for place in part.reads(own, kept)[:1]]
        if len(places) < len(self.parts):
            return []
        return places if len({*places}) > 1 else places[:1]

    def faults(self, kept: Kept) -> Iterator[str]:
        """See DetectorConfig.faults: those of the parts, and parts that read several checkpoints."""
        every = [Place(*each) for each in product(kept.models, kept.seeds, kept.epochs)]
        for key, part in self.parts_of().items():
            yield from (f"{key}.{fault}" for fault in part.faults(kept))
            if part.pools_seeds or max(len(part.reads(own, kept)) for own in every) > 1:
                yield f"{key}: reads several checkpoints, which a part cannot"


@dataclass(frozen=True)
class Combined:
    """Fitted parts; calibration: of their scores (G, P)."""

    parts: tuple[Detector, ...]
    calibration: Calibration | Standard
    how: str

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """The layers that some part leaves out."""
        return tuple(dict.fromkeys(layer for part in self.parts for layer in part.dead_layers))

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64, +inf where a part says so; raises ValueError if a part does."""
        calibrated = self.calibration(_scores(self.parts, features))
        if self.how == "maximum":
            return np.asarray(calibrated.max(axis=1))
        return np.asarray(calibrated.sum(axis=1) * (2 if self.how == "fisher" else 1))


def fit(config: Config, *features: Features) -> Combined:
    """Raises ValueError if a part does, or if all groups are of one unit."""
    first, second = ([one.taken(half) for one in features] for half in halves(features[0]))
    parts = _fitted(config, first)
    scores = _scores(parts, second)
    calibration = fit_standard(scores) if config.how == "sum" else calibrate(scores)
    return Combined(_fitted(config, features) if config.refit else parts, calibration, config.how)


def _fitted(config: Config, features: Sequence[Features]) -> tuple[Detector, ...]:
    given = _of_each(len(config.parts), features)
    return tuple(detectors.fit(part, one) for part, one in zip(config.parts.values(), given, strict=True))


def _scores(parts: Sequence[Detector], features: Sequence[Features]) -> np.ndarray:
    """(G, P) float64, the score of each part."""
    given = _of_each(len(parts), features)
    return np.column_stack([part.score(one) for part, one in zip(parts, given, strict=True)])


def _of_each(parts: int, features: Sequence[Features]) -> Sequence[Features]:
    """The features that each part is given: its own, or the only ones."""
    return [*features] * parts if len(features) == 1 else features
