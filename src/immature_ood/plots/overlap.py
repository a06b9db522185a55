"""Does AUROC fall as the overlap of ID and OOD log-likelihoods rises?"""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from immature_ood.evaluation import PAIR
from immature_ood.plots.rows import once, pairs
from immature_ood.plots.style import GREY, panels, styled, title
from immature_ood.words import readable

__all__ = ["overlap_and_auroc"]

DOTS: dict[str, Any] = {"s": 9, "linewidths": 0, "cmap": "viridis", "zorder": 2}
BANDWIDTH = "scott"
SCOPE = "within a pair"


@styled
def overlap_and_auroc(overlap: pd.DataFrame, auroc: pd.DataFrame, correlation: pd.DataFrame) -> Figure:
    """AUROC against the overlap coefficient: a dot a checkpoint, a thin line from epoch to epoch of a pair.

    overlap, correlation: what overlap.overlap_table and overlap.correlation_table give; drawn with the data-driven
    bandwidth. auroc: the table of AUROCs. Rows of one model; a row of panels a batch size, a column a detector. Above
    each panel stands the rank correlation within a pair, the mean over pairs.
    Raises ValueError if the tables hold no pair, or several models.
    """
    chosen = pairs(overlap[overlap["bandwidth"] == BANDWIDTH])
    rows = chosen.merge(pairs(auroc), on=[*PAIR, "model", "seed", "epoch"])
    batch_sizes, detectors = once(rows["batch_size"]), once(rows["detector"])
    figure, axes = panels(len(batch_sizes), max(len(detectors), 2), panel_height=1.6, sharey=True)
    places = {epoch: place for place, epoch in enumerate(sorted(set(rows["epoch"])))}
    for b, row_of_panels in zip(batch_sizes, axes, strict=True):
        row_of_panels[0].set_ylabel(f"AUROC, b = {b}")
        for panel in row_of_panels[len(detectors) :]:
            panel.set_axis_off()
        for detector, panel in zip(detectors, row_of_panels, strict=False):
            of_panel = (rows["batch_size"] == b) & (rows["detector"] == detector)
            _panel(panel, rows[of_panel], places)
            panel.set_title(f"{readable(detector)}{_said(correlation, detector, b)}")
    for panel in axes[-1]:
        panel.set_xlabel("overlap coefficient")
    _epochs(figure, axes, places)
    title(figure, "Does AUROC fall as the log-likelihoods of ID and OOD images come to overlap?")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, places: dict[int, int]) -> None:
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.04)
    axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    for _, pair in rows.sort_values("epoch").groupby([*PAIR, "seed"]):
        axes.plot(pair["overlap"], pair["auroc"], color=GREY, linewidth=0.4, label="_pair")
    colours = rows["epoch"].map(places)
    axes.scatter(rows["overlap"], rows["auroc"], c=colours, vmin=0, vmax=max(len(places) - 1, 1), **DOTS)


def _said(correlation: pd.DataFrame, detector: str, b: int) -> str:
    """The correlation within a pair, as it stands above a panel; nothing where there is none."""
    rows = correlation.query("bandwidth == @BANDWIDTH and scope == @SCOPE")
    row = rows[(rows["detector"] == detector) & (rows["batch_size"] == b)]
    if row["correlation"].isna().all():
        return ""
    value, low, high = row[["correlation", "correlation_low", "correlation_high"]].iloc[0]
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return f"\nrank correlation {value:+.2f}{interval}".replace("-", "−")


def _epochs(figure: Figure, axes: Any, places: dict[int, int]) -> None:
    """The colours of the epochs, in the order of training."""
    colours = ScalarMappable(Normalize(0, max(len(places) - 1, 1)), DOTS["cmap"])
    bar = figure.colorbar(colours, ax=axes, label="epoch", fraction=0.03, aspect=30)
    bar.set_ticks([*places.values()], labels=[str(epoch) for epoch in places])
