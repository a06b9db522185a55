"""False alarms against training epoch: does a stated level hold, at every moment of training?"""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from immature_ood.false_alarms import OUT_OF_REACH
from immature_ood.plots.rows import once, one_model
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
    zero_and_log,
)
from immature_ood.words import readable

__all__ = ["false_alarms"]

MOST_COLUMNS = 4  # of panels
TITLE_WIDTH = 28  # characters above one of so many
LEVEL: dict[str, Any] = {"linewidth": 0.7, "linestyle": (0, (4, 2)), "zorder": 1}
OF_FIT_IMAGES: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (1, 1.5))}
ONE: dict[str, Any] = {"linewidth": 0.4, "alpha": 0.6}


@styled
def false_alarms(table: pd.DataFrame) -> Figure:
    """The share of ID groups that raise an alarm against epoch; a panel a detector and b, a colour a level.

    table: what false_alarms.false_alarm_table gives, rows of one model; those of OOD sets are left out. A band reaches
    from each level to what so many calibration images make likely; a level that is out of their reach has no curve.
    Raises ValueError if there is no row of an ID set, or several models.
    """
    rows = one_model(table[table["id_dataset"] == table["ood_dataset"]])
    if rows.empty:
        raise ValueError("the table has no row of false alarms, whose data sets are both the ID one: nothing to draw")
    shown = [(detector, b) for detector in looks_of(rows["detector"]) for b in once(rows["batch_size"])]
    looks = looks_in_turn(f"{level:g}" for level in once(rows["level"]))
    columns = min(MOST_COLUMNS, len(shown))
    figure, axes = panels(-(-len(shown) // columns), columns, panel_height=1.25, sharey=True)
    for (detector, b), panel in zip(shown, axes.flat, strict=False):
        _panel(panel, rows[(rows["batch_size"] == b) & (rows["detector"] == detector)], looks)
        panel.set_title(textwrap.fill(f"{readable(detector)}, b = {b}", TITLE_WIDTH))
    for place in range(len(shown), axes.size):
        leave_empty(axes, place)
    epochs = {*rows["epoch"]}
    zero_and_log(axes[0, 0], epochs, {epoch: str(epoch) for epoch in sorted(epochs)})
    for panel in axes[:, 0]:
        panel.set_ylabel("false alarms")
    title(figure, "Does a stated share of false alarms hold? ID test groups with a p-value of at most the level")
    legend(figure, _handles(looks), "training epoch")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    """All levels of one detector at one batch size."""
    for level, of_level in rows.groupby("level"):
        look = looks[f"{level:g}"]
        axes.axhline(level, color=look.colour, **LEVEL, label="_level")
        of_level = of_level[of_level["verdict"] != OUT_OF_REACH]
        band = of_level.groupby("epoch")["likely_rate"].max().clip(lower=level)
        axes.fill_between(band.index, np.full(len(band), level), band, color=look.colour, alpha=0.15, linewidth=0)
        for _, one in of_level.sort_values("epoch").groupby(["id_dataset", "seed"]):
            axes.plot(one["epoch"], one["alarms"], color=look.colour, **ONE, label="_one")
        means = of_level.groupby("epoch")[["alarms", "alarms_of_fit_images"]].mean()
        axes.plot(means.index, means["alarms_of_fit_images"], color=look.colour, **OF_FIT_IMAGES, label="_fit images")
        axes.plot(means.index, means["alarms"], color=look.colour, marker=look.marker, label=f"{level:g}")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4, prune="upper"))  # the highest would touch the title


def _handles(looks: dict[str, Look]) -> list[Artist]:
    return [
        *(Line2D([], [], color=look.colour, marker=look.marker, label=f"p ≤ {level}") for level, look in looks.items()),
        Line2D([], [], color=GREY, **ONE, label="one ID set and seed"),
        Line2D([], [], color=GREY, **OF_FIT_IMAGES, label="p-values from the fit set"),
        Line2D([], [], color=GREY, **LEVEL, label="the level"),
        Patch(color=GREY, alpha=0.3, linewidth=0, label="likely with so small a calibration set"),
    ]
