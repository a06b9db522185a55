"""AUROC of images against the same images, changed in one thing, as a heat map."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from immature_ood.plots.rows import of_id_dataset, once, one_model
from immature_ood.plots.style import DOUBLE, SMALL, looks_of, new_figure, styled, title
from immature_ood.words import readable

__all__ = ["dial_heat_map"]

CELL_WIDTH, CELL_HEIGHT = 0.17, 0.115  # inches, the least in which a number of two digits can be read
LABELS_WIDTH = 1.4  # inches, of the rows' labels and the bar of colours
PANEL_ROOM = 0.5  # inches above and below a panel
STRONG = 0.33  # so far from one half a colour is dark

Row = tuple[str, float]  # a dial and an amount


@styled
def dial_heat_map(table: pd.DataFrame, id_dataset: str, batch_size: int) -> Figure:
    """AUROC of each dial and amount (rows, in the table's order) at each epoch (columns); a panel for each detector.

    table: one row an (id_dataset, dial, amount, model, seed, epoch, batch_size, detector), with auroc; one model. The
    mean over the seeds is shown; what a detector has no row for is hatched. Raises ValueError if there are no rows.
    """
    rows = of_id_dataset(one_model(table), id_dataset)
    rows = rows[rows["batch_size"] == batch_size]
    if rows.empty:
        raise ValueError(f"no rows with b = {batch_size}; ID {id_dataset} has others")
    dials: list[Row] = once(rows[["dial", "amount"]].itertuples(index=False, name=None))
    detectors, epochs = [*looks_of(rows["detector"])], sorted(set(rows["epoch"]))
    figure, axes = _grid(len(detectors), len(dials), len(epochs))
    for detector, panel in zip(detectors, axes.flat, strict=False):
        image = _panel(panel, _matrix(rows[rows["detector"] == detector], dials, epochs), epochs)
        panel.set_title(readable(detector))
    _label(axes, dials)
    for panel in axes.flat[len(detectors) :]:
        panel.set_axis_off()
    bar = figure.colorbar(image, ax=axes, fraction=0.02, aspect=40, pad=0.01)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.set_label("AUROC")
    of = "; mean over seeds" if rows["seed"].nunique() > 1 else ""
    title(figure, f"ID {id_dataset} against itself, changed in one thing by an amount, b = {batch_size}{of}")
    return figure


def _grid(panels: int, dials: int, epochs: int) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, as many in a row as have room for their numbers."""
    fitting = max(1, int((DOUBLE - LABELS_WIDTH) / (CELL_WIDTH * epochs)))
    columns = min(panels, fitting)
    rows = math.ceil(panels / columns)
    figure = new_figure(DOUBLE, rows * (dials * CELL_HEIGHT + PANEL_ROOM) + 0.3)
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=True)


def _matrix(rows: pd.DataFrame, dials: Sequence[Row], epochs: Sequence[int]) -> np.ndarray:
    """Mean AUROC over the seeds, (dials, epochs); NaN where there is none."""
    mean = rows.groupby(["dial", "amount", "epoch"])["auroc"].mean().unstack("epoch")
    return mean.reindex(index=pd.MultiIndex.from_tuples(dials), columns=epochs).to_numpy(dtype=float)


def _panel(axes: Axes, matrix: np.ndarray, epochs: Sequence[int]) -> AxesImage:
    axes.patch.set(facecolor="0.9", edgecolor="0.6", hatch="//////")  # seen where there is no row
    image = axes.imshow(
        np.ma.masked_invalid(matrix), cmap="RdBu_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    for (row, column), auroc in np.ndenumerate(matrix):
        if not np.isnan(auroc):
            colour = "white" if abs(auroc - 0.5) > STRONG else "black"
            axes.text(column, row, _short(auroc), color=colour, fontsize=SMALL, ha="center", va="center_baseline")
    axes.set_xticks(range(len(epochs)), labels=[str(epoch) for epoch in epochs])
    axes.set_xlabel("training epoch")
    axes.spines[:].set_visible(True)
    return image


def _short(auroc: float) -> str:
    """Two digits.

    >>> [_short(auroc) for auroc in (0.874, 0.996, 0.004)]
    ['.87', '1.0', '.00']
    """
    return "1.0" if auroc >= 0.995 else f"{auroc:.2f}"[1:]


def _label(axes: np.ndarray, dials: Sequence[Row]) -> None:
    """Dial and amount of each row, and a line between dials."""
    first = [row for row in range(1, len(dials)) if dials[row][0] != dials[row - 1][0]]
    for panel in axes[:, 0]:
        panel.set_yticks(range(len(dials)), labels=[f"{readable(dial)} {amount:g}" for dial, amount in dials])
    for panel in axes.flat:
        panel.tick_params(axis="y", length=0)
        for row in first:
            panel.axhline(row - 0.5, color="black", linewidth=0.4)
