"""Histograms of scores: ID test against each OOD set, epoch by epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from immature_ood.metrics import auroc
from immature_ood.plots.rows import once
from immature_ood.plots.style import SMALL, legend, looks_of, panels, styled, title
from immature_ood.words import readable

__all__ = ["score_histograms"]

MOST_BINS = 60
MARGIN = 0.3  # beyond the tails, on the asinh scale
TICKS_APART = 0.2  # of the axis' length, at least
HEADROOM = 1.6  # above the bars, for AUROC and the counts
TAIL = 0.005  # the share of a set's scores that may lie beyond either end of the view
ID_COLOUR = "0.72"

WHY_NONE = "It needs what this model does not give,\nor checkpoints that the study does not keep."
AXIS_LABEL = "(score − ID median) / ID interquartile range, asinh scale; height: share of groups, panels scaled apart"

Sets = tuple[np.ndarray, Mapping[str, np.ndarray]]  # of the ID test set, and by the name of each OOD set; (G,) each


@styled
def score_histograms(
    scores: Mapping[int, Sets], id_dataset: str, detector: str, batch_size: int, drop_minimum: bool = False
) -> Figure:
    """Scores of ID test groups against those of each OOD set; a column of panels an epoch, a row an OOD set.

    scores: by epoch, those of the ID test set and, by its name, of each OOD set. If there are none, as of a
        detector that does not score this model, the figure says so. drop_minimum: as of metrics.auroc.
    Scores have tails of many decades, so each epoch's are shown as asinh((score − median) / IQR), with the median and
    interquartile range of its ID test scores: linear within one IQR, logarithmic beyond, and all panels share the axis.
    Scores that are not finite or beyond the view are counted in the panel; bars are shares of all groups. The AUROC of
    all scores stands in each panel.
    """
    if not scores:
        return _no_scores(f"ID {id_dataset}: no scores by {readable(detector)}, b = {batch_size}")
    aurocs = {epoch: _aurocs(*sets, drop_minimum) for epoch, sets in scores.items()}
    spread = {epoch: _in_id_spreads(*scores[epoch]) for epoch in sorted(scores)}
    ood_datasets = once(name for _, ood_scores in scores.values() for name in ood_scores)
    edges = _edges(
        [values for id_scores, ood_scores in spread.values() for values in (id_scores, *ood_scores.values())]
    )
    colour = looks_of([detector])[detector].colour
    figure, axes = panels(len(ood_datasets), len(spread), panel_height=1.0, sharey=False)
    for ood_dataset, row_of_panels in zip(ood_datasets, axes, strict=True):
        row_of_panels[0].set_ylabel(f"OOD {ood_dataset}")
        for (epoch, (id_scores, ood_scores)), panel in zip(spread.items(), row_of_panels, strict=True):
            _panel(panel, id_scores, ood_scores.get(ood_dataset, np.empty(0)), edges, colour)
            _write(panel, 1, aurocs[epoch].get(ood_dataset, ""))
    for epoch, panel in zip(spread, axes[0], strict=True):
        panel.set_title(f"epoch {epoch}" if epoch else "untrained")
    _spread_axis(axes[0, 0], edges)
    title(figure, f"ID {id_dataset}: scores by {readable(detector)}, b = {batch_size}")
    handles = [Patch(color=ID_COLOUR, label=f"ID test, {id_dataset}"), Line2D([], [], color=colour, label="OOD set")]
    legend(figure, handles, AXIS_LABEL)
    return figure


def _no_scores(said: str) -> Figure:
    figure, axes = panels(1, 1, panel_height=1.0, sharey=False)
    axes[0, 0].axis("off")
    axes[0, 0].text(0.5, 0.5, f"{said}\n{WHY_NONE}", ha="center", va="center", transform=axes[0, 0].transAxes)
    return figure


def _aurocs(id_scores: np.ndarray, ood_scores: Mapping[str, np.ndarray], drop_minimum: bool) -> dict[str, str]:
    """AUROC by OOD set, as a panel says it; there is none of scores that are no numbers."""
    return {
        name: f"AUROC {auroc(id_scores, values, drop_minimum):.3f}"
        for name, values in ood_scores.items()
        if not (np.isnan(id_scores).any() or np.isnan(values).any())
    }


def _write(axes: Axes, line: int, text: str) -> None:
    """A line at the top right of a panel, counted from 1."""
    below: dict[str, Any] = {"xytext": (0, -(line - 1) * 1.2 * SMALL), "textcoords": "offset points"}
    axes.annotate(text, (1, 1), xycoords="axes fraction", **below, ha="right", va="top", size=SMALL)


def _in_id_spreads(id_scores: np.ndarray, ood_scores: Mapping[str, np.ndarray]) -> Sets:
    """All sets' scores in interquartile ranges of the ID test scores, from their median."""
    finite = id_scores[np.isfinite(id_scores)]
    low, median, high = np.quantile(finite, (0.25, 0.5, 0.75)) if finite.size else (0.0, 0.0, 0.0)
    unit = high - low or 1.0  # all ID scores equal: show plain differences

    def scaled(values: np.ndarray) -> np.ndarray:
        return (np.asarray(values, dtype=float) - median) / unit

    return scaled(id_scores), {name: scaled(values) for name, values in ood_scores.items()}


def _edges(sets: list[np.ndarray]) -> np.ndarray:
    """Bin edges, equally wide on the asinh scale, a little beyond the tails of all sets; fewer for fewer scores."""
    finite = [values[np.isfinite(values)] for values in sets]
    tails = [np.quantile(values, (TAIL, 1 - TAIL)) for values in finite if values.size] or [np.zeros(2)]
    low, high = np.arcsinh(np.min(tails, axis=0)[0]) - MARGIN, np.arcsinh(np.max(tails, axis=0)[1]) + MARGIN
    bins = int(np.clip(2.5 * np.sqrt(max(values.size for values in sets)), 10, MOST_BINS))
    return np.sinh(np.linspace(low, high, bins + 1))


def _panel(axes: Axes, id_scores: np.ndarray, ood_scores: np.ndarray, edges: np.ndarray, colour: str) -> None:
    axes.stairs(_shares(id_scores, edges), edges, fill=True, color=ID_COLOUR)
    axes.stairs(_shares(ood_scores, edges), edges, color=colour, linewidth=0.9)
    axes.set_yticks([])
    axes.set_ylim(0, HEADROOM * axes.get_ylim()[1])
    axes.spines["left"].set_visible(False)
    outside = {"ID": _outside(id_scores, edges), "OOD": _outside(ood_scores, edges)}
    _write(axes, 2, "\n".join(f"{count} {name} outside" for name, count in outside.items() if count))


def _shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of all scores, also those outside the view, in each bin."""
    return np.histogram(scores[np.isfinite(scores)], edges)[0] / max(len(scores), 1)


def _outside(scores: np.ndarray, edges: np.ndarray) -> int:
    """How many scores are not drawn: infinite, not a number, or beyond the edges."""
    return len(scores) - int(((scores >= edges[0]) & (scores <= edges[-1])).sum())


def _spread_axis(axes: Axes, edges: np.ndarray) -> None:
    """Ticks at 0 and at powers of ten far enough from one another, on all panels."""
    axes.set_xscale("function", functions=(np.arcsinh, np.sinh))
    axes.set_xlim(edges[0], edges[-1])
    apart = (np.arcsinh(edges[-1]) - np.arcsinh(edges[0])) * TICKS_APART
    powers = (sign * 10.0**power for power in range(300) for sign in (1, -1))
    places: list[float] = []
    for place in (place for place in (0.0, *powers) if edges[0] <= place <= edges[-1]):
        if all(abs(np.arcsinh(place) - np.arcsinh(other)) >= apart for other in places):
            places.append(place)
    axes.set_xticks(sorted(places), labels=[_power_label(place) for place in sorted(places)])


def _power_label(place: float) -> str:
    """0, ±1, ±10, ±100, then powers of ten."""
    if abs(place) <= 100:
        return f"{place:.0f}".replace("-", "−")
    return f"${'-' if place < 0 else ''}10^{{{np.log10(abs(place)):.0f}}}$"
