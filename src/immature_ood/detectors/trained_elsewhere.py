"""A control: another detector's score under a model that was trained on another of the study's ID data sets.

The detector is fitted on the fit images of the row's own ID set, as that model sees them: S(x) asks whether x looks to
a stranger as the ID images do, so what it falls short of is what a model gains by knowing the ID set (Schirrmeister et
al. 2020, arXiv 2006.10848, ask the like of networks that have seen many images). Where the OOD set is the very one that
the model was trained on, the stranger knows the OOD images. It counts apart from the controls without a model.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from immature_ood import detectors
from immature_ood.config import DetectorConfig, Kept, Place
from immature_ood.detectors import Detector
from immature_ood.detectors._parts import Part
from immature_ood.features import Features
from immature_ood.registry import did_you_mean

__all__ = ["Config", "fit"]


class Config(DetectorConfig):
    """The options of a score under a model of another set."""

    detector: str = "trained_elsewhere"
    of: Part = Field(default={"detector": "gradient_norms"}, validate_default=True)
    """This detector, a section that names it and has its options, is given the features of the other set's model."""
    trained_on: str | None = None
    """The model is that of this ID data set, which has no row itself; by default that of the next in id_datasets."""

    def parts_of(self) -> Mapping[str, DetectorConfig]:
        """See DetectorConfig.parts_of."""
        return {"of": self.of}

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return self.of.needs()

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: what the other reads of the other set's model; no row for sets of samples."""
        if own.id not in kept.id_datasets:
            return []
        following = kept.id_datasets.index(own.id) + 1
        other = self.trained_on or kept.id_datasets[following % len(kept.id_datasets)]
        return [] if other == own.id else self.of.reads(own._replace(id=other), kept)

    def faults(self, kept: Kept) -> Iterator[str]:
        """See DetectorConfig.faults: there is no other set, or what is wrong with the other's section."""
        if len(kept.id_datasets) < 2:
            yield "trained_on: the study has one ID data set with images of its own; add another to id_datasets"
        elif self.trained_on not in {None, *kept.id_datasets}:
            meant = did_you_mean(str(self.trained_on), [*kept.id_datasets])
            yield f"trained_on: {self.trained_on!r} is not among the ID data sets{meant}"
        if self.of.pools_seeds:
            yield "of: reads all seeds together, which this cannot"
        yield from (f"of.{fault}" for fault in self.of.faults(kept))


def fit(config: Config, *features: Features) -> Detector:
    """Raises ValueError as the other detector does."""
    return detectors.fit(config.of, *features)
