"""What a detector is worth: AUROC against all that it costs, training and scoring together."""

from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from immature_ood.detector_table import total_seconds
from immature_ood.plots.rows import once, one_model
from immature_ood.plots.style import GREY, SMALL, Look, legend, looks_of, panels, styled, title
from immature_ood.words import duration, readable

__all__ = ["auroc_by_total_cost", "pareto_front"]

FRONT: dict[str, Any] = {"color": "0.75", "linewidth": 4, "solid_capstyle": "butt", "zorder": 1}
PALE: dict[str, Any] = {"color": "0.8", "linewidth": 0.6, "marker": ".", "markersize": 2, "zorder": 2}
LOOP: dict[str, Any] = {"linestyle": ":", "linewidth": 0.7, "marker": "x", "zorder": 3}
TICKS = (0.01, 0.1, 1, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000, 86_400, 259_200, 864_000)  # seconds
OVERS = {"all": "all pairs", "unsolved": "pairs that no control solves"}
MOST_LABELS = 5  # beside a panel
APART = 1 / 16  # of the height of a panel, two names


@styled
def auroc_by_total_cost(table: pd.DataFrame) -> Figure:
    """Mean AUROC against seconds of training to an epoch and scoring 10,000 images; a line a detector.

    table: what detector_table.detector_table gives; rows of one model. A column of panels for each b, a row for all
    pairs and one for those unsolved. Detectors with a point on the Pareto front (no other is as good for less) are
    named, and so are the reference, also by a loop over images where its time is known, and the best control; the
    others are pale.
    Raises ValueError if no row has a cost, or for several models.
    """
    rows = one_model(table).assign(seconds=total_seconds(table), loop=total_seconds(table, "loop_seconds"))
    rows = rows[rows["seconds"] > 0]
    if rows.empty:
        raise ValueError("the table has no row with a cost: nothing to draw")
    overs, batch_sizes, looks = once(rows["over"]), sorted(set(rows["batch_size"])), looks_of(rows["detector"])
    figure, axes = panels(len(overs), len(batch_sizes), panel_height=2.5, sharey=True)
    _auroc_axis(axes[0, 0], rows["auroc"].min() - 0.02, min(rows["auroc"].max() + 0.03, 1.02))
    _seconds_axis(axes[0, 0], rows)
    for over, row_of_panels in zip(overs, axes, strict=True):
        row_of_panels[0].set_ylabel(f"mean AUROC, {OVERS.get(over, over)}")
        for b, panel in zip(batch_sizes, row_of_panels, strict=True):
            _panel(panel, rows[(rows["batch_size"] == b) & (rows["over"] == over)], looks)
    for b, column in zip(batch_sizes, axes.T, strict=True):
        column[0].set_title(f"b = {b}")
        [panel for panel in column if panel.axison][-1].tick_params(labelbottom=True)
    title(figure, "What is an AUROC worth? Training to an epoch, and scoring 10,000 samples")
    legend(figure, _handles(rows), "time of both together")
    return figure


def pareto_front(seconds: pd.Series, auroc: pd.Series) -> list[Any]:
    """The labels of the points than which none is better for as little or less, by rising seconds.

    >>> pareto_front(pd.Series([1, 2, 3, 3]), pd.Series([0.7, 0.6, 0.8, 0.9]))
    [0, 3]
    """
    points = pd.DataFrame({"seconds": seconds, "auroc": auroc}).sort_values(
        ["seconds", "auroc"], ascending=[True, False]
    )
    best = points["auroc"].cummax().shift(fill_value=-np.inf)
    return [*points.index[points["auroc"] > best]]


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    """All detectors for one b: the front below, the pale ones, and on top those that are named."""
    if rows.empty:
        axes.set_axis_off()
        return
    front = rows.loc[pareto_front(rows["seconds"], rows["auroc"])]
    axes.step(front["seconds"], front["auroc"], where="post", **FRONT, label="_front")
    named = _named(rows, front)
    ends = {}
    for detector, line in rows.groupby("detector", sort=False):
        line = line.sort_values("epoch")
        if detector in named:
            ends[detector] = _line(axes, line, looks[str(detector)])
        else:
            axes.plot(line["seconds"], line["auroc"], **PALE, label=f"_{detector}")
    _epochs(axes, front[front["control"] == "no"])
    _labels(axes, {str(name): end for name, end in ends.items()}, looks)


def _named(rows: pd.DataFrame, front: pd.DataFrame) -> list[str]:
    """The detectors to name, at most MOST_LABELS: the reference and the best control first, then the front's best."""
    controls = rows[rows["control"] == "yes"].sort_values("auroc", ascending=False)["detector"]
    best = front.sort_values("auroc", ascending=False)["detector"]
    return once([*rows["reference"].dropna(), *controls.iloc[:1], *best])[:MOST_LABELS]


def _line(axes: Axes, line: pd.DataFrame, look: Look) -> tuple[float, float]:
    """One detector from epoch to epoch; a control, which is alike at all, is a point. Returns where it ends."""
    is_control = bool((line["control"] == "yes").all())
    if is_control:
        line = line.iloc[:1]
        axes.axhline(line["auroc"].iloc[0], color=look.colour, linewidth=0.5, linestyle=look.line, zorder=1)
    drawn = {"color": look.colour, "marker": look.marker, "label": line["detector"].iloc[0]}
    axes.plot(line["seconds"], line["auroc"], linestyle=look.line, **drawn, zorder=4)
    untrained = line[(line["epoch"] == 0) & (line["control"] == "no")]
    axes.plot(untrained["seconds"], untrained["auroc"], linestyle="", **{**drawn, "markerfacecolor": "white"}, zorder=5)
    if (line["reference"] == line["detector"]).all() and line["loop"].notna().all():
        axes.plot(line["loop"], line["auroc"], **{**drawn, "label": "_loop", **LOOP})
    return axes.get_xlim()[1] if is_control else line["seconds"].iloc[-1], line["auroc"].iloc[-1]


def _epochs(axes: Axes, front: pd.DataFrame) -> None:
    """Writes the epochs of the points on the front above them, the best first, where there is room."""
    written: list[np.ndarray] = []
    for row in front[::-1].itertuples():
        place = axes.transAxes.inverted().transform(axes.transData.transform((row.seconds, row.auroc)))
        if all((np.abs(place - other) > (0.06, 0.08)).any() for other in written):
            written.append(place)
            text: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": SMALL}
            axes.annotate(str(row.epoch), (row.seconds, row.auroc), (0, 4), **text)


def _labels(axes: Axes, ends: dict[str, tuple[float, float]], looks: dict[str, Look]) -> None:
    """The names right of the panel, in the order of where the lines end, and apart from one another."""
    names = sorted(ends, key=lambda name: -ends[name][1])
    for name, place in zip(names, _apart([ends[name][1] for name in names], *axes.get_ylim()), strict=True):
        colour, beside = looks[name].colour, axes.get_yaxis_transform()
        x, y = axes.transAxes.inverted().transform(axes.transData.transform(ends[name]))[0], ends[name][1]
        leader: dict[str, Any] = {"transform": beside, "clip_on": False, "linewidth": 0.4, "label": "_leader"}
        axes.plot([x, 1.0, 1.03], [y, y, place], color=colour, **leader)
        axes.text(1.04, place, readable(name), transform=beside, va="center", fontsize=SMALL, color=colour)


def _apart(heights: list[float], low: float, high: float) -> list[float]:
    """Falling heights, moved so that neighbours are APART and all within the panel, if it has room for them."""
    step = APART * (high - low)
    falling = accumulate(heights, lambda above, own: min(own, above - step))
    rising = accumulate([*falling][::-1], lambda below, own: max(own, below + step))
    lowest, *others = [*rising]
    return [*accumulate([max(lowest, low), *others], lambda below, own: max(own, below + step))][::-1]


def _auroc_axis(axes: Axes, low: float, high: float) -> None:
    """With ticks inside alone, for all panels that share it."""
    axes.set_ylim(low, high)
    ticks = [tick for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
    axes.set_yticks(ticks, labels=[f"{tick:.2f}" for tick in ticks])


def _seconds_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """Logarithmic, with times in their natural units, for all panels that share it."""
    loops = rows.loc[rows["reference"] == rows["detector"], "loop"].dropna()
    least, most = rows["seconds"].min(), max([rows["seconds"].max(), *loops])
    axes.set_xscale("log")
    axes.set_xlim(least / 1.5, most * 1.5)
    ticks = [tick for tick in TICKS if least / 1.5 <= tick <= most * 1.5]
    axes.set_xticks(ticks, labels=[duration(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def _handles(rows: pd.DataFrame) -> list[Artist]:
    handles = [
        Line2D([], [], **FRONT, label="Pareto front (numbers: epochs)"),
        Line2D([], [], **PALE, label="other detectors"),
    ]
    if (rows["epoch"] == 0).any():
        handles.append(Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="", label="untrained"))
    if rows.loc[rows["reference"] == rows["detector"], "loop"].notna().any():
        loop = {"color": GREY, "marker": "o", **LOOP}
        handles.append(Line2D([], [], **loop, label="by a backward pass for each sample"))
    if (rows["control"] == "yes").any():
        handles.append(Line2D([], [], color=GREY, linewidth=0.5, label="the best control, no model"))
    return [*handles]
