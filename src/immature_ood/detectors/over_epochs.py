"""The ranks of another detector's score, averaged over the last kept epochs.

At each epoch the detector is fitted on one half of the fit set, and its scores get −log p against the other half (see
_calibration), so that epochs of other scales count alike: S(x) = Σ_e −2 log p_e(x), in the order of the mean.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import Field

from immature_ood import detectors
from immature_ood.config import DetectorConfig, Kept, Place, Positive
from immature_ood.detectors._calibration import calibrate, halves
from immature_ood.detectors._parts import Part
from immature_ood.detectors.combined import Combined
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(DetectorConfig):
    """The options of ranks averaged over epochs."""

    detector: str = "over_epochs"
    of: Part = Field(default={"detector": "gradient_norms"}, validate_default=True)
    """This detector's ranks are averaged; a section that names it and has its options."""
    epochs: Positive = 3
    """They are averaged over so many kept epochs, the last of which is that of the row."""

    def parts_of(self) -> Mapping[str, DetectorConfig]:
        """See DetectorConfig.parts_of."""
        return {"of": self.of}

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return self.of.needs()

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: its own epoch, then those before it."""
        earlier = [epoch for epoch in reversed(kept.epochs) if epoch <= own.epoch][: self.epochs]
        return [place for epoch in earlier for place in self.of.reads(own._replace(epoch=epoch), kept)]

    def faults(self, kept: Kept) -> Iterator[str]:
        """See DetectorConfig.faults: what is wrong with the other's section, or that it reads several checkpoints."""
        yield from (f"of.{fault}" for fault in self.of.faults(kept))
        places = (Place(model, seed, epoch) for model in kept.models for seed in kept.seeds for epoch in kept.epochs)
        if self.of.pools_seeds or any(len(self.of.reads(place, kept)) > 1 for place in places):
            yield "of: reads several checkpoints, which this cannot"


def fit(config: Config, *features: Features) -> Combined:
    """Raises ValueError as the other detector does, or if all groups are of one unit."""
    first, second = ([one.taken(half) for one in features] for half in halves(features[0]))
    parts = tuple(detectors.fit(config.of, one) for one in first)
    scores = np.column_stack([part.score(one) for part, one in zip(parts, second, strict=True)])
    return Combined(parts, calibrate(scores), "fisher")
