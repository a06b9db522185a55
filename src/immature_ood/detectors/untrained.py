"""A control: another detector's score under the model before training, whatever the epoch of the row.

What it says of epoch 0 is beside the same score of every other epoch; what training adds is their difference. It counts
apart from the controls without a model: an untrained model has an architecture.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from immature_ood import detectors
from immature_ood.config import DetectorConfig, Kept, Place
from immature_ood.detectors import Detector
from immature_ood.detectors._parts import Part
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(DetectorConfig):
    """The options of a score without training."""

    detector: str = "untrained"
    of: Part = Field(default={"detector": "gradient_norms"}, validate_default=True)
    """This detector, a section that names it and has its options, is given the features of epoch 0."""

    def parts_of(self) -> Mapping[str, DetectorConfig]:
        """See DetectorConfig.parts_of."""
        return {"of": self.of}

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return self.of.needs()

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: what the other reads at epoch 0."""
        return self.of.reads(own._replace(epoch=0), kept)

    def faults(self, kept: Kept) -> Iterator[str]:
        """See DetectorConfig.faults: there is no epoch 0, or what is wrong with the other's section."""
        if 0 not in kept.epochs:
            yield "of: epoch 0 is not kept; add it to epochs"
        if self.of.pools_seeds:
            yield "of: reads all seeds together, which this cannot"
        yield from (f"of.{fault}" for fault in self.of.faults(kept))


def fit(config: Config, *features: Features) -> Detector:
    """Raises ValueError as the other detector does."""
    return detectors.fit(config.of, *features)
