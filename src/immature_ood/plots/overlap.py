"""Does AUROC fall as the overlap of ID and OOD log-likelihoods rises?"""

import math
import textwrap
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from immature_ood.evaluation import PAIR
from immature_ood.plots.rows import once, pairs
from immature_ood.plots.style import (
    GREY,
    Look,
    leave_empty,
    legend,
    looks_in_turn,
    looks_of,
    panels,
    styled,
    title,
)
from immature_ood.words import readable

__all__ = ["overlap_and_auroc"]

MOST_COLUMNS = 4  # of panels
TITLE_WIDTH = 28  # characters above one of so many
BANDWIDTH = "scott"
SCOPE = "within a pair"
PATH: dict[str, Any] = {"linewidth": 0.4, "alpha": 0.7, "zorder": 1}
DOT: dict[str, Any] = {"linestyle": "", "markersize": 2.4, "markeredgewidth": 0.5, "zorder": 2}
UNTRAINED: dict[str, Any] = {**DOT, "markerfacecolor": "white", "zorder": 3}
LAST: dict[str, Any] = {**DOT, "markersize": 4.5, "zorder": 3}


@styled
def overlap_and_auroc(overlap: pd.DataFrame, auroc: pd.DataFrame, correlation: pd.DataFrame) -> Figure:
    """AUROC against the overlap coefficient: a mark a checkpoint, a thin line from epoch to epoch of a pair.

    overlap, correlation: what overlap.overlap_table and overlap.correlation_table give; drawn with the data-driven
    bandwidth. auroc: the table of AUROCs. Rows of one model; a panel a detector and b. A colour and a mark are a pair;
    the untrained model is hollow, the last epoch large. Above each panel stands the rank correlation within a pair, the
    mean over pairs. Raises ValueError if the tables hold no pair, or several models.
    """
    chosen = pairs(overlap[overlap["bandwidth"] == BANDWIDTH])
    rows = chosen.merge(pairs(auroc), on=[*PAIR, "model", "seed", "epoch"])
    looks = looks_in_turn(f"{pair[0]} → {pair[1]}" for pair in once(rows[[*PAIR]].itertuples(index=False, name=None)))
    shown = [(detector, b) for detector in looks_of(rows["detector"]) for b in once(rows["batch_size"])]
    columns = min(MOST_COLUMNS, max(len(shown), 2))
    figure, axes = panels(-(-len(shown) // columns), columns, panel_height=1.6, sharey=True)
    for (detector, b), panel in zip(shown, axes.flat, strict=False):
        _panel(panel, rows[(rows["batch_size"] == b) & (rows["detector"] == detector)], looks)
        named = textwrap.fill(f"{readable(detector)}, b = {b}", TITLE_WIDTH)
        panel.set_title(f"{named}{_said(correlation, detector, b)}")
    for place in range(len(shown), axes.size):
        leave_empty(axes, place)
    for panel in axes[:, 0]:
        panel.set_ylabel("AUROC")
    title(figure, "Does AUROC fall as the log-likelihoods of ID and OOD come to overlap?")
    legend(figure, _handles(rows, looks), "overlap coefficient of the log-likelihoods (ρ: rank correlation, in a pair)")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.04)
    axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    for (id_dataset, ood_dataset, _), pair in rows.sort_values("epoch").groupby([*PAIR, "seed"]):
        name = f"{id_dataset} → {ood_dataset}"
        mark: dict[str, Any] = {"color": looks[name].colour, "marker": looks[name].marker}
        axes.plot(pair["overlap"], pair["auroc"], color=looks[name].colour, **PATH, label="_pair")
        axes.plot(pair["overlap"], pair["auroc"], **mark, **DOT, label=name)
        for how, epoch in ((UNTRAINED, 0), (LAST, pair["epoch"].max())):
            there = pair[pair["epoch"] == epoch]
            axes.plot(there["overlap"], there["auroc"], **mark, **how, label="_end")


def _said(correlation: pd.DataFrame, detector: str, b: int) -> str:
    """The correlation within a pair, as it stands above a panel; nothing where there is none."""
    rows = correlation.query("bandwidth == @BANDWIDTH and scope == @SCOPE")
    row = rows[(rows["detector"] == detector) & (rows["batch_size"] == b)]
    if row["correlation"].isna().all():
        return ""
    value, low, high = row[["correlation", "correlation_low", "correlation_high"]].iloc[0]
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return f"\nρ = {value:+.2f}{interval}".replace("-", "−")


def _handles(rows: pd.DataFrame, looks: dict[str, Look]) -> list[Artist]:
    marks = [Line2D([], [], color=look.colour, marker=look.marker, **DOT, label=name) for name, look in looks.items()]
    grey: dict[str, Any] = {"color": GREY, "marker": "o"}
    untrained = [Line2D([], [], **grey, **UNTRAINED, label="untrained")] if (rows["epoch"] == 0).any() else []
    return [*marks, *untrained, Line2D([], [], **grey, **LAST, label="last epoch")]
