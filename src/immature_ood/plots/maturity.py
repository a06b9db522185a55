"""AUROC against how far training is from the minimum of the held-out bits/dim."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from immature_ood.evaluation import PAIR
from immature_ood.maturity import IMMATURE, MATURE
from immature_ood.plots.rows import once, pairs
from immature_ood.plots.style import GREY, leave_empty, legend, looks_in_turn, looks_of, panels, styled, title
from immature_ood.words import readable

__all__ = ["auroc_by_excess", "models_by_excess"]

MOST_COLUMNS = 4  # of panels
TITLE_WIDTH = 28  # characters above one of so many
TICKS = (0, 0.02, 0.1, 0.5, 1, 2, 5, 10)
BANDS = {"mature": (-1.0, MATURE, "0.88"), "near-mature": (MATURE, IMMATURE, "0.95")}  # between these, of this grey
PAST: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 0.9}
UNTRAINED: dict[str, Any] = {"markerfacecolor": "white", "linestyle": ""}
ONE_PAIR: dict[str, Any] = {"linewidth": 0.4, "alpha": 0.7}


@styled
def auroc_by_excess(table: pd.DataFrame, unit: str = "bits/dim") -> Figure:
    """AUROC against excess bits/dim, immature at the left; a panel a detector and b, their mean and a thin line a pair.

    table: the table of AUROCs (evaluation.AUROC_COLUMNS) of one model. A point is a kept epoch, at the mean over seeds
    of excess and AUROC, and in the thick line over pairs too. What is past the lowest excess is dotted: there a model
    overfits, or is in a spike. unit: what bits/dim are called (see kinds.KindOfData). Raises ValueError if the table
    has no pair, or several models.
    """
    rows, looks = pairs(table), looks_of(table["detector"])

    def draw(panel: Axes, of_panel: pd.DataFrame) -> None:
        look = looks[of_panel["detector"].iloc[0]]
        for _, pair in of_panel.groupby([*PAIR], sort=False):
            _curve(panel, pair, {"color": look.colour, **ONE_PAIR}, label="_pair")
        _curve(panel, of_panel, {"color": look.colour, "marker": look.marker}, label="mean")

    seeds = " and seeds" if rows["seed"].nunique() > 1 else ""
    lines = [
        Line2D([], [], color=GREY, marker="o", label=f"mean over pairs{seeds}"),
        Line2D([], [], color=GREY, **ONE_PAIR, label="one pair"),
    ]
    return _figure(rows, [*looks], draw, lines, unit)


@styled
def models_by_excess(table: pd.DataFrame, unit: str = "bits/dim") -> Figure:
    """The same for several models: a panel a detector that two of them have and b, a line a model, its mean over pairs.

    table, unit: as of auroc_by_excess, of all models. Raises ValueError if no two models have a detector in common.
    """
    rows = table[table["ood_dataset"] != table["id_dataset"]]
    looks = looks_in_turn(once(rows["model"]))
    shared = [name for name in looks_of(rows["detector"]) if len(once(rows.query("detector == @name")["model"])) > 1]
    if not shared:
        raise ValueError("no two models have a detector in common: nothing to compare")

    def draw(panel: Axes, of_panel: pd.DataFrame) -> None:
        for model, of_model in of_panel.groupby("model", sort=False):
            look = looks[str(model)]
            how = {"color": look.colour, "marker": look.marker, "linestyle": look.line}
            _curve(panel, of_model, how, label=str(model))

    lines = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=readable(model))
        for model, look in looks.items()
    ]
    return _figure(rows, shared, draw, lines, unit)


def _figure(
    rows: pd.DataFrame,
    detectors: Sequence[str],
    draw: Callable[[Axes, pd.DataFrame], None],
    lines: Sequence[Artist],
    unit: str,
) -> Figure:
    """A panel a detector and b, in which `draw` puts the lines that the legend names."""
    shown = [(detector, b) for detector in detectors for b in once(rows["batch_size"])]
    columns = _columns(len(once(rows["batch_size"])))
    figure, axes = panels(-(-len(shown) // columns), columns, panel_height=1.25, sharey=True)
    for (detector, b), panel in zip(shown, axes.flat, strict=False):
        _empty_panel(panel)
        draw(panel, rows[(rows["batch_size"] == b) & (rows["detector"] == detector)])
        panel.set_title(textwrap.fill(f"{readable(detector)}, b = {b}", TITLE_WIDTH))
    for place in range(len(shown), axes.size):
        leave_empty(axes, place)
    _excess_axis(axes[0, 0], rows.set_index("epoch")["excess_bits_per_dim"])
    for panel in axes[:, 0]:
        panel.set_ylabel("AUROC")
    title(figure, f"How mature must a model be? AUROC against the distance to the minimum of the held-out {unit}")
    handles = [*lines, *_handles(untrained=0 in set(rows["epoch"]))]
    legend(figure, handles, f"held-out {unit} above the minimum of the training (more trained: to the right)")
    return figure


def _columns(batch_sizes: int) -> int:
    """The panels of one detector stay in one row, and as many detectors stand beside one another as fit."""
    return max(MOST_COLUMNS // batch_sizes, 1) * batch_sizes


def _empty_panel(axes: Axes) -> None:
    """The scale of AUROC, chance, and the bands of maturity."""
    axes.set_ylim(-0.03, 1.04)
    axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    for low, high, grey in BANDS.values():
        axes.axvspan(low, high, color=grey, linewidth=0, zorder=0)
    axes.axhline(0.5, color=GREY, linewidth=0.6, linestyle=(0, (1, 1.5)), label="_chance")


def _curve(axes: Axes, rows: pd.DataFrame, how: dict[str, Any], label: str) -> None:
    """The mean of excess and AUROC by epoch, dotted past the lowest excess; the untrained epoch is hollow."""
    means = rows.groupby("epoch")[["excess_bits_per_dim", "auroc"]].mean()
    lowest = means["excess_bits_per_dim"].idxmin()
    before, past, untrained = means.loc[:lowest], means.loc[lowest:], means[means.index == 0]
    axes.plot(*_xy(before), **how, label=label)
    if len(past) > 1:
        axes.plot(*_xy(past), **{**how, **PAST}, label="_past")
    if "marker" in how:
        axes.plot(*_xy(untrained), **{**how, **UNTRAINED}, label="_untrained")


def _xy(means: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    return means["excess_bits_per_dim"], means["auroc"]


def _excess_axis(axes: Axes, excess: pd.Series) -> None:
    """Logarithmic from MATURE on and linear below, falling to the right, on all panels.

    excess: by epoch. A model that overfits till it is far worse than it began, by millions, leaves the panel.
    """
    axes.set_xscale("symlog", linthresh=MATURE, linscale=0.6)
    left = max(1.3 * min(excess.max(), 2 * excess[excess.index.min()].max()), 2 * IMMATURE)
    ticks = [tick for tick in TICKS if tick <= left]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(left, -0.3 * MATURE)


def _handles(*, untrained: bool) -> list[Artist]:
    """What is said of every line."""
    hollow = Line2D([], [], color=GREY, marker="o", **UNTRAINED, label="untrained")
    return [
        Line2D([], [], color=GREY, **PAST, label="past the lowest"),
        *(Patch(color=grey, linewidth=0, label=name) for name, (_, _, grey) in BANDS.items()),
        *([hollow] if untrained else []),
    ]
