"""AUROC against training: by epoch, by cost, and the one figure that carries the claim."""

from collections.abc import Callable
from itertools import chain, zip_longest
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
    leave_empty,
    legend,
    looks_of,
    one_seed,
    panels,
    styled,
    title,
    zero_and_log,
)
from immature_ood.words import compact, duration, readable

__all__ = ["auroc_by_cost", "auroc_by_epoch", "headline"]


CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": (0, (1, 1.5)), "zorder": 1}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "linestyle": ""}
LIGHT: dict[str, Any] = {"color": "#EBA06B", "marker": "o", "markersize": 2.2, "linewidth": 0.9}


@styled
def auroc_by_epoch(table: pd.DataFrame, id_dataset: str) -> Figure:
    """AUROC against training epoch for one ID data set; a panel for each OOD set and batch size b.

    table: one row an (id_dataset, ood_dataset, model, seed, epoch, batch_size, detector), with auroc, auroc_low and
        auroc_high; rows of one model. Rows whose OOD set is the ID set are left out.
    One seed is drawn with its interval, where it has one; several with their mean and a thin line each.
    Raises ValueError if the table has no such pair, or several models.
    """
    rows = of_id_dataset(pairs(table), id_dataset)
    figure, _ = _grid(rows, "epoch", str)
    legend(figure, [*_detectors(rows), *_references(rows)], "training epoch")
    title(figure, f"ID {id_dataset}: how well each OOD set is detected as training goes on")
    return figure


@styled
def auroc_by_cost(table: pd.DataFrame, id_dataset: str) -> Figure:
    """AUROC against the cost of training: images seen below, time above; otherwise as auroc_by_epoch.

    table: has images_seen and train_seconds too; the time shown is the mean over the seeds.
    """
    rows = of_id_dataset(pairs(table), id_dataset)
    figure, axes = _grid(rows, "images_seen", compact)
    seconds = rows.groupby("images_seen")["train_seconds"].mean()
    for panel in axes[0]:
        _time_axis(panel, seconds)
    legend(figure, [*_detectors(rows), *_references(rows)], "training images seen (time trained: above the panels)")
    title(figure, f"ID {id_dataset}: how well each OOD set is detected for the cost of training")
    return figure


@styled
def headline(table: pd.DataFrame) -> Figure:
    """The claim at a glance: AUROC against epoch, a panel for each (ID, OOD) pair, all detectors at the largest b.

    table: as for auroc_by_epoch, all ID data sets. Gradient norms are drawn at the smallest b too, lighter.
    """
    rows = pairs(table)
    layout = _pair_layout(rows)
    figure, axes = panels(len(layout), len(layout[0]), panel_height=1.25, sharey=True)
    for place, pair in enumerate(chain(*layout)):
        if pair is None:
            leave_empty(axes, place)
            continue
        of_pair = (rows["id_dataset"] == pair[0]) & (rows["ood_dataset"] == pair[1])
        _headline_panel(axes.flat[place], rows, of_pair)
        axes.flat[place].set_title(" → ".join(pair))
    _checkpoint_axis(axes[0, 0], rows["epoch"], str)
    for panel in axes[:, 0]:
        panel.set_ylabel("AUROC")
    title(figure, "ID → OOD: how soon in training are the images of another data set detected?")
    legend(figure, _headline_handles(rows), "training epoch")
    return figure


def _grid(rows: pd.DataFrame, x: str, label: Callable[[float], str]) -> tuple[Figure, np.ndarray]:
    """A row of panels for each batch size, a column for each OOD set; x is a column of the table."""
    batch_sizes, ood_datasets, looks = once(rows["batch_size"]), once(rows["ood_dataset"]), looks_of(rows["detector"])
    figure, axes = panels(len(batch_sizes), len(ood_datasets), panel_height=1.35, sharey=True)
    for b, row_of_panels in zip(batch_sizes, axes, strict=True):
        row_of_panels[0].set_ylabel(f"AUROC, b = {b}")
        for ood_dataset, panel in zip(ood_datasets, row_of_panels, strict=True):
            _panel(panel, rows[(rows["batch_size"] == b) & (rows["ood_dataset"] == ood_dataset)], x, looks)
    for ood_dataset, panel in zip(ood_datasets, axes[0], strict=True):
        panel.set_title(f"OOD {ood_dataset}")
    _checkpoint_axis(axes[0, 0], rows[x], label)
    return figure, axes


def _panel(axes: Axes, rows: pd.DataFrame, x: str, looks: dict[str, Look]) -> None:
    """All detectors on one (ID, OOD) pair at one batch size; those of the study come last, on top."""
    axes.set_ylim(-0.03, 1.04)
    axes.set_yticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axes.axhline(0.5, **CHANCE, label="_chance")
    for detector, look in reversed(looks.items()):
        of_detector = rows[rows["detector"] == detector].sort_values(x)
        _spread(axes, of_detector, x, look.colour)
        _curve(axes, of_detector, x, detector, look)


def _spread(axes: Axes, rows: pd.DataFrame, x: str, colour: str) -> None:
    """The interval of a single seed, where it is not NaN, or a thin line for each of several."""
    if rows["seed"].nunique() > 1:
        for seed, of_seed in rows.groupby("seed"):
            axes.plot(of_seed[x], of_seed["auroc"], color=colour, linewidth=0.4, alpha=0.7, label=f"_seed {seed}")
    else:  # the edge shows where there is one checkpoint only, and no area
        face, edge = (colour, 0.18), (colour, 0.4)
        axes.fill_between(rows[x], rows["auroc_low"], rows["auroc_high"], facecolor=face, edgecolor=edge, linewidth=0.5)


def _curve(axes: Axes, rows: pd.DataFrame, x: str, detector: str, look: Look) -> None:
    """The mean over the seeds, missing where a seed is; hollow where nothing was trained yet."""
    mean = across_seeds(rows, x, "auroc").mean(axis=1, skipna=False)
    axes.plot(mean.index, mean, color=look.colour, linestyle=look.line, marker=look.marker, label=detector)
    untrained = mean[mean.index == 0]
    axes.plot(untrained.index, untrained, color=look.colour, marker=look.marker, **HOLLOW, label="_untrained")


def _checkpoint_axis(axes: Axes, values: pd.Series, label: Callable[[float], str]) -> None:
    """A tick at each kept checkpoint, on all panels that share the axis."""
    zero_and_log(axes, set(values), {value: label(value) for value in sorted(set(values))})


def _time_axis(axes: Axes, seconds: pd.Series) -> None:
    """Writes the training time above the checkpoints; seconds: by images seen."""
    above = axes.twiny()
    zero_and_log(above, set(seconds.index), {images: duration(time) for images, time in seconds.items()})
    above.spines["top"].set_visible(True)


def _headline_panel(axes: Axes, rows: pd.DataFrame, of_pair: pd.Series) -> None:
    """One pair, chosen by a mask: the light curve of gradient norms below, then all detectors at the largest b."""
    smallest, largest = min(rows["batch_size"]), max(rows["batch_size"])
    if _has_light_curve(rows):
        light = rows[of_pair & (rows["detector"] == "gradient_norms") & (rows["batch_size"] == smallest)]
        mean = across_seeds(light, "epoch", "auroc").mean(axis=1, skipna=False)
        axes.plot(mean.index, mean, **LIGHT, label=f"gradient_norms, b = {smallest}")
    _panel(axes, rows[of_pair & (rows["batch_size"] == largest)], "epoch", looks_of(rows["detector"]))


def _has_light_curve(rows: pd.DataFrame) -> bool:
    return rows["batch_size"].nunique() > 1 and "gradient_norms" in set(rows["detector"])


def _headline_handles(rows: pd.DataFrame) -> list[Artist]:
    handles = _detectors(rows, f", b = {max(rows['batch_size'])}")
    if _has_light_curve(rows):
        handles.insert(1, Line2D([], [], **LIGHT, label=f"gradient norms, b = {min(rows['batch_size'])}"))
    return [*handles, *_references(rows)]


def _pair_layout(rows: pd.DataFrame) -> list[tuple[tuple[str, str] | None, ...]]:
    """The (ID, OOD) pairs as rows of panels: a column for each ID set, or a row where that makes a wider figure."""
    by_id = [
        [(id_dataset, ood_dataset) for ood_dataset in once(of_id_dataset(rows, id_dataset)["ood_dataset"])]
        for id_dataset in once(rows["id_dataset"])
    ]
    columns = list(zip_longest(*by_id))
    return columns if len(by_id) >= len(columns) else list(zip_longest(*columns))


def _detectors(rows: pd.DataFrame, ending: str = "") -> list[Artist]:
    return [
        Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker, label=readable(name) + ending)
        for name, look in looks_of(rows["detector"]).items()
    ]


def _references(rows: pd.DataFrame) -> list[Artist]:
    """What else the legend explains: chance, the untrained control, and how sure a curve is."""
    chance = Line2D([], [], **CHANCE, label="chance")
    hollow = Line2D([], [], color=GREY, marker="o", **HOLLOW, label="untrained")
    return [chance, *([hollow] if 0 in set(rows["epoch"]) else []), *_uncertainty(rows)]


def _uncertainty(rows: pd.DataFrame) -> list[Artist]:
    if rows["seed"].nunique() > 1:
        return [one_seed()]
    if rows["auroc_low"].notna().any():
        return [Patch(color=GREY, alpha=0.3, linewidth=0, label="interval of one model")]
    return []
