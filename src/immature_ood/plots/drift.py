"""False alarms in streams of ID images that drift, stage by stage, at every moment of training."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from immature_ood.plots.false_alarms import LEVEL as OF_LEVEL
from immature_ood.plots.rows import once, one_model
from immature_ood.plots.style import GREY, legend, looks_of, panels, styled, title
from immature_ood.words import readable

__all__ = ["drift"]

LEVEL = 0.05  # of the column false_alarms_5
LABEL_WIDTH = 14  # characters beside a panel
DARKEST, LIGHTEST = 0.0, 0.9  # of the map that epochs have their colours of


@styled
def drift(table: pd.DataFrame, batch_size: int) -> Figure:
    """Shares of ID groups with p ≤ 0.05 at each stage of a drift; a row a detector, a column a drift, a line an epoch.

    table: what drift.drift_table gives, of one model; streams with OOD images are left out. The mean over seeds is
    shown. Raises ValueError if there is no row of streams without OOD images, or several models.
    """
    rows = one_model(table[(table["id_dataset"] == table["ood_dataset"]) & (table["batch_size"] == batch_size)])
    if rows.empty:
        raise ValueError(f"the table has no row of streams without OOD images at b = {batch_size}: nothing to draw")
    drifts, detectors = once(rows["drift"]), [*looks_of(rows["detector"])]
    colours = _colours(sorted(set(rows["epoch"])))
    figure, axes = panels(len(detectors), len(drifts), panel_height=1.0, sharey=True)
    for (row, column), panel in np.ndenumerate(axes):
        of_panel = rows[(rows["detector"] == detectors[row]) & (rows["drift"] == drifts[column])]
        _panel(panel, of_panel, colours)
        panel.set_title(readable(drifts[column]) if row == 0 else "")
    for detector, panel in zip(detectors, axes[:, 0], strict=True):
        panel.set_ylabel(textwrap.fill(readable(detector), LABEL_WIDTH))
    for panel in axes[-1]:
        panel.set_xlabel("stage")
    title(figure, f"False alarms at p ≤ {LEVEL:g} when ID images drift, b = {batch_size}: stage 0 has none changed")
    legend(figure, _handles(colours), "training epoch")
    return figure


def _colours(epochs: Sequence[int]) -> Mapping[int, tuple[float, float, float, float]]:
    """Dark ones of late epochs."""
    places = np.linspace(LIGHTEST, DARKEST, len(epochs))
    return {epoch: colormaps["viridis"](place) for epoch, place in zip(epochs, places, strict=True)}


def _panel(axes: Axes, rows: pd.DataFrame, colours: Mapping[int, tuple[float, float, float, float]]) -> None:
    axes.axhline(LEVEL, color=GREY, **OF_LEVEL, label="_level")
    for epoch, of_epoch in rows.groupby("epoch"):
        means = of_epoch.groupby("stage")["false_alarms_5"].mean()
        axes.plot(means.index, means, color=colours[epoch], marker="o", markersize=2, label=str(epoch))
    axes.set_xticks(sorted(set(rows["stage"])))
    axes.set_xlim(min(rows["stage"]) - 0.3, max(rows["stage"]) + 0.3)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylim(-0.03, 1.03)


def _handles(colours: Mapping[int, tuple[float, float, float, float]]) -> list[Line2D]:
    epochs = [Line2D([], [], color=colour, marker="o", markersize=2, label=str(e)) for e, colour in colours.items()]
    return [*epochs, Line2D([], [], color=GREY, **OF_LEVEL, label="the level")]
