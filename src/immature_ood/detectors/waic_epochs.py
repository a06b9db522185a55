"""WAIC over the last kept epochs of one training run, in the place of an ensemble (see _waic)."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from immature_ood.config import DetectorConfig, Kept, Place, Whole
from immature_ood.detectors._waic import Waic, fit_waic
from immature_ood.features import Features

__all__ = ["Config", "fit"]


class Config(DetectorConfig):
    """The options of WAIC over epochs."""

    detector: str = "waic_epochs"
    epochs: Annotated[Whole, Field(ge=2)] = 3
    """It is over so many kept epochs, the last of which is that of the row; with fewer before it there is no row."""

    def needs(self) -> tuple[str, ...]:
        """See DetectorConfig.needs."""
        return ("log_prob",)

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """See DetectorConfig.reads: its own epoch, then those before it."""
        found = [epoch for epoch in sorted(kept.epochs, reverse=True) if epoch <= own.epoch][: self.epochs]
        return [own._replace(epoch=epoch) for epoch in found] if len(found) == self.epochs else []

    def faults(self, kept: Kept) -> Iterator[str]:
        """A line if fewer epochs are kept."""
        if len(kept.epochs) < self.epochs:
            yield f"epochs: {self.epochs} are asked for, but the study keeps {len(kept.epochs)}"


def fit(config: Config, *features: Features) -> Waic:
    """Raises ValueError if a log-likelihood is NaN."""
    return fit_waic(*features)
