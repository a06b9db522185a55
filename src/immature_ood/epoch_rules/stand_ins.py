"""The kept epoch that best separates held-out ID images from the same images changed: blurred, shuffled, inverted, …

Why one would believe it: a change takes one thing away that ID images have, as other data sets do. An epoch that
notices many kinds of change should notice many kinds of OOD image; the changed images stand in for these.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immature_ood.config import Change, Real, RuleConfig
from immature_ood.epoch_rules import Evidence, first_extreme
from immature_ood.metrics import auroc

__all__ = ["Config", "choose"]

Dial = Literal[
    "blur",
    "brightness",
    "contrast",
    "grey_levels",
    "inversion",
    "jpeg",
    "noise",
    "occlusion",
    "patch_shuffle",
    "phase",
    "resize",
    "rotation",
]
Amount = Annotated[Real, Field(gt=0, le=1)]
DIALS = {"patch_shuffle": 0.4, "blur": 0.25, "rotation": 1.0, "inversion": 1.0, "noise": 0.25}


class Config(RuleConfig):
    """The options of stand-ins."""

    rule: str = "stand_ins"
    dials: Annotated[dict[Dial, Amount], Field(min_length=1)] = Field(default=DIALS, validate_default=True)
    """The images are changed by each of these dials, turned by so much, from 0, nothing, to 1, the most."""

    def needs(self) -> tuple[str, ...]:
        """See RuleConfig.needs."""
        return ("halves", "changed")

    def changes(self) -> list[Change]:
        """See RuleConfig.changes."""
        return [Change(dial, amount) for dial, amount in self.dials.items()]


def choose(config: Config, evidence: Evidence) -> int:
    """The first epoch of the highest mean AUROC, of changed groups against the half that the detector has not seen."""
    halves, changed = evidence.of("halves"), evidence.of("changed")
    names = [change.name for change in config.changes()]
    return first_extreme({epoch: _mean(halves[epoch].others, changed[epoch], names) for epoch in halves}, max)


def _mean(others: np.ndarray, changed: Mapping[str, np.ndarray], names: list[str]) -> float:
    if missing := [name for name in names if name not in changed]:
        raise ValueError(f"nothing is known of images changed by {missing[0]}; a rule has it among its changes")
    return float(np.mean([auroc(others, changed[name]) for name in names]))
