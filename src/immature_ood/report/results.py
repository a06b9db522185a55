"""What the page is made from: the study's settings, its tables, its scores and its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from immature_ood.evaluation import without_calibration
from immature_ood.grouping import Grouping, group
from immature_ood.kinds import KindOfData
from immature_ood.maturity import Chains
from immature_ood.scores import Scores

__all__ = ["Headline", "Images", "Results", "Settings", "Tables"]


@dataclass(frozen=True)
class Settings:
    """What the study asked for, as far as the page says it.

    models, detectors: in the study's order. controls: those that read no trained model. reference: the detector that
    others are compared with, None: none. one_pass: the epoch after which every training sample was seen once. command:
    what runs the study, without targets. folder: of its results, as it is named from where that runs.
    """

    name: str
    data: KindOfData
    models: tuple[str, ...]
    detectors: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    command: str
    folder: str
    controls: tuple[str, ...] = ()
    reference: str | None = None
    one_pass: int = 1
    margin: float = 0.02


@dataclass(frozen=True)
class Tables:
    """The study's tables, as tables.read_table gives them; of those that not every study has, None or nothing."""

    auroc: pd.DataFrame
    claim: pd.DataFrame
    immature: pd.DataFrame
    means: pd.DataFrame
    detectors: pd.DataFrame
    training: pd.DataFrame
    datasets: pd.DataFrame
    published: pd.DataFrame
    overlap: pd.DataFrame | None = None
    correlation: pd.DataFrame | None = None
    layers: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Images:
    """The test samples of one data set, (N, *shape) as stored, and the number of the unit of each."""

    stored: np.ndarray
    units: Sequence[int]

    def groups(self, batch_sizes: Sequence[int]) -> Grouping:
        """Which samples make up each scored group."""
        return group(np.asarray(self.units), batch_sizes)


@dataclass(frozen=True)
class Headline:
    """Of which model, detector and b the first screen speaks."""

    model: str
    detector: str
    batch_size: int


@dataclass(frozen=True)
class Results:
    """All that the page shows.

    scores: of one seed. test: by data set, that of an ID set of drawn samples too. figures: by path below the folder
    of results. provenance: what provenance.describe gives.
    """

    settings: Settings
    tables: Tables
    scores: Sequence[Scores]
    test: Mapping[str, Images]
    figures: Mapping[str, Path]
    provenance: Mapping[str, Any]

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """The table of AUROCs without its calibration rows."""
        return without_calibration(self.tables.auroc)

    @cached_property
    def chains(self) -> Chains:
        """How mature each training is, epoch by epoch."""
        return Chains(self.tables.training)

    @cached_property
    def models(self) -> list[str]:
        """The models that have scores, in the study's order."""
        tested = {*self.tables.auroc["model"]}
        return [name for name in self.settings.models if name in tested]

    @cached_property
    def headlines(self) -> list[Headline]:
        """One for each b: of the reference, or the first detector that is no control, and the first model it scores."""
        tested = self.pairs[["model", "detector"]].drop_duplicates()
        others = [name for name in self.settings.detectors if name not in self.settings.controls]
        names = [name for name in (self.settings.reference, *others, *self.settings.detectors) if name]
        detector = next(name for name in names if name in {*tested["detector"]})
        scored = {*tested.loc[tested["detector"] == detector, "model"]}
        model = next(name for name in self.models if name in scored)
        return [Headline(model, detector, b) for b in self.settings.batch_sizes]

    def of(self, table: pd.DataFrame, headline: Headline) -> pd.DataFrame:
        """The rows of a table that are of a headline."""
        model, detector = table["model"] == headline.model, table["detector"] == headline.detector
        return table[model & detector & (table["batch_size"] == headline.batch_size)]
