"""AUROC against training, pair by pair: by epoch and by cost."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from immature_ood.plots.rows import across_seeds, of_id_dataset, once, pairs
from immature_ood.plots.style import (
    GREY,
    Look,
    legend,
    looks_of,
    panels,
    styled,
    title,
    zero_and_log,
)
from immature_ood.words import compact, duration, readable

__all__ = [
    "CHANCE",
    "HOLLOW",
    "auroc_by_cost",
    "auroc_by_epoch",
    "checkpoint_axis",
    "curve",
    "named",
    "pair_panel",
    "references",
    "uncertainty",
]

CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": (0, (1, 1.5)), "zorder": 1}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "linestyle": ""}
SPREAD = 0.18  # how much of a curve's colour its band has


@styled
def auroc_by_epoch(table: pd.DataFrame, id_dataset: str) -> Figure:
    """AUROC against training epoch for one ID data set; a panel for each OOD set and batch size b.

    table: one row an (id_dataset, ood_dataset, model, seed, epoch, batch_size, detector), with auroc, auroc_low and
        auroc_high; rows of one model. Rows whose OOD set is the ID set are left out.
    One seed is drawn with its interval, where it has one; several as their mean, with a band from the lowest to the
    highest.
    Raises ValueError if the table has no such pair, or several models.
    """
    rows = of_id_dataset(pairs(table), id_dataset)
    figure, _ = _grid(rows, "epoch", str)
    legend(figure, _handles(rows), "training epoch")
    title(figure, f"ID {id_dataset}: how well each OOD set is detected as training goes on")
    return figure


@styled
def auroc_by_cost(table: pd.DataFrame, id_dataset: str, samples: str = "images") -> Figure:
    """AUROC against the cost of training: images seen below, time above; otherwise as auroc_by_epoch.

    table: has images_seen and train_seconds too; the time shown is the mean over the seeds. samples: what they are
    called (see kinds.KindOfData).
    """
    rows = of_id_dataset(pairs(table), id_dataset)
    figure, axes = _grid(rows, "images_seen", compact)
    seconds = rows.groupby("images_seen")["train_seconds"].mean()
    for panel in axes[0]:
        _time_axis(panel, seconds)
    legend(
        figure,
        [*named(looks_of(rows["detector"])), *references(rows), *uncertainty(rows)],
        f"training {samples} seen (time trained: above the panels)",
    )
    title(figure, f"ID {id_dataset}: how well each OOD set is detected for the cost of training")
    return figure


def _grid(rows: pd.DataFrame, x: str, label: Callable[[float], str]) -> tuple[Figure, np.ndarray]:
    """A row of panels for each batch size, a column for each OOD set; x is a column of the table."""
    batch_sizes, ood_datasets, looks = once(rows["batch_size"]), once(rows["ood_dataset"]), looks_of(rows["detector"])
    figure, axes = panels(len(batch_sizes), len(ood_datasets), panel_height=1.35, sharey=True)
    for b, row_of_panels in zip(batch_sizes, axes, strict=True):
        row_of_panels[0].set_ylabel(f"AUROC, b = {b}")
        for ood_dataset, panel in zip(ood_datasets, row_of_panels, strict=True):
            pair_panel(panel, rows[(rows["batch_size"] == b) & (rows["ood_dataset"] == ood_dataset)], x, looks)
    for ood_dataset, panel in zip(ood_datasets, axes[0], strict=True):
        panel.set_title(f"OOD {ood_dataset}")
    checkpoint_axis(axes[0, 0], rows[x], label)
    return figure, axes


def pair_panel(axes: Axes, rows: pd.DataFrame, x: str, looks: dict[str, Look]) -> None:
    """All detectors on one (ID, OOD) pair at one batch size; those of the study come last, on top."""
    axes.set_ylim(-0.03, 1.04)
    axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axes.axhline(0.5, **CHANCE, label="_chance")
    for detector, look in reversed(looks.items()):
        of_detector = rows[rows["detector"] == detector].sort_values(x)
        _spread(axes, of_detector, x, look.colour)
        mean = across_seeds(of_detector, x, "auroc").mean(axis=1, skipna=False)  # missing where a seed is
        curve(axes, mean, detector, look)


def _spread(axes: Axes, rows: pd.DataFrame, x: str, colour: str) -> None:
    """The interval of a single seed, where it is not NaN, or from the lowest to the highest of several."""
    seeds = across_seeds(rows, x, "auroc")
    single = rows.set_index(x)[["auroc_low", "auroc_high"]]
    low, high = (seeds.min(axis=1), seeds.max(axis=1)) if seeds.shape[1] > 1 else (single[end] for end in single)
    face, edge = (colour, SPREAD), (colour, 0.4)  # the edge shows where there is one checkpoint only, and no area
    axes.fill_between(low.index, low, high, facecolor=face, edgecolor=edge, linewidth=0.5)


def curve(axes: Axes, values: pd.Series, label: str, look: Look, **how: Any) -> None:
    """Values by epoch, or by what else is the index; hollow where nothing was trained yet. how: of Axes.plot."""
    how = {"color": look.colour, "marker": look.marker, **how}
    axes.plot(values.index, values, **how, linestyle=look.line, label=label)
    untrained = values[values.index == 0]
    axes.plot(untrained.index, untrained, **how, **HOLLOW, label="_untrained")


def checkpoint_axis(axes: Axes, values: Iterable[float], label: Callable[[float], str]) -> None:
    """A tick at each kept checkpoint, on all panels that share the axis."""
    zero_and_log(axes, set(values), {value: label(value) for value in sorted(set(values))})


def _time_axis(axes: Axes, seconds: pd.Series) -> None:
    """Writes the training time above the checkpoints; seconds: by images seen."""
    above = axes.twiny()
    zero_and_log(above, set(seconds.index), {images: duration(time) for images, time in seconds.items()})
    above.spines["top"].set_visible(True)


def _handles(rows: pd.DataFrame) -> list[Artist]:
    return [*named(looks_of(rows["detector"])), *references(rows), *uncertainty(rows)]


def named(looks: dict[str, Look]) -> list[Artist]:
    """What the legend says of detectors."""
    return [
        Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker, label=readable(name))
        for name, look in looks.items()
    ]


def references(rows: pd.DataFrame) -> list[Artist]:
    """What else the legend explains: chance, and the untrained control."""
    chance = Line2D([], [], **CHANCE, label="chance")
    hollow = Line2D([], [], color=GREY, marker="o", **HOLLOW, label="untrained")
    return [chance, *([hollow] if 0 in set(rows["epoch"]) else [])]


def uncertainty(rows: pd.DataFrame, where: str = "") -> list[Artist]:
    """What the legend says of the area around a curve of one pair; where: a word before it."""
    seeds = rows["seed"].nunique()
    if seeds == 1 and rows["auroc_low"].isna().all():
        return []
    label = f"{where}lowest to highest of {seeds} seeds" if seeds > 1 else f"{where}interval of one model"
    return [Patch(color=GREY, alpha=0.3, linewidth=0, label=label)]
