"""AUROC layer by layer, as a heat map."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from immature_ood.plots.rows import of_id_dataset, once, pairs
from immature_ood.plots.style import DOUBLE, SINGLE, new_figure, styled, title

__all__ = ["layer_heat_map"]

LABEL_SIZE = 5.5  # points
LABEL_HEIGHT = 0.09  # inches, of a layer that is labelled
HEIGHT = 5.2  # inches, of many layers
MOSTLY = 0.85  # the share of the layers whose groups must have room for their labels
RESOLUTION = 190  # layers an inch at most: a pixel each in a PNG


@styled
def layer_heat_map(
    layer_table: pd.DataFrame, id_dataset: str, batch_size: int, ood_dataset: str | None = None
) -> Figure:
    """AUROC of each layer alone (rows, in the table's order) at each epoch (columns); a panel for each OOD set.

    layer_table: one row an (id_dataset, ood_dataset, model, seed, epoch, batch_size, layer), with auroc; one model.
        The mean over the seeds is shown; dead layers, NaN for any seed, are hatched.
    ood_dataset: one OOD set only. Raises ValueError if the table has no such rows.
    Many layers are labelled by the parts of the network they belong to.
    """
    rows = _chosen(layer_table, id_dataset, batch_size, ood_dataset)
    layers, epochs, ood_datasets = once(rows["layer"]), sorted(set(rows["epoch"])), once(rows["ood_dataset"])
    height = max(min(len(layers) * LABEL_HEIGHT, HEIGHT), len(layers) / RESOLUTION, 1.2)
    figure = new_figure(SINGLE if len(ood_datasets) == 1 else DOUBLE, height + 0.75)
    axes = figure.subplots(1, len(ood_datasets), squeeze=False, sharey=True)[0]
    for name, panel in zip(ood_datasets, axes, strict=True):
        image = _panel(panel, _matrix(rows[rows["ood_dataset"] == name], layers, epochs), epochs)
        panel.set_title(f"OOD {name}")
    _label_layers(axes, layers, height)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, aspect=25, pad=0.02)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.set_label("AUROC of the layer alone")
    of = "hatched: dead layer" + ("; mean over seeds" if rows["seed"].nunique() > 1 else "")
    title(figure, f"ID {id_dataset}, b = {batch_size}: which layers detect each OOD set ({of})")
    return figure


def _chosen(table: pd.DataFrame, id_dataset: str, batch_size: int, ood_dataset: str | None) -> pd.DataFrame:
    rows = of_id_dataset(pairs(table), id_dataset)
    ood_datasets = once(rows["ood_dataset"]) if ood_dataset is None else [ood_dataset]
    chosen = rows[(rows["batch_size"] == batch_size) & rows["ood_dataset"].isin(ood_datasets)]
    if chosen.empty:
        known = f"b = {once(rows['batch_size'])}, OOD {once(rows['ood_dataset'])}"
        raise ValueError(f"no rows with b = {batch_size}, OOD {ood_datasets}; ID {id_dataset} has: {known}")
    return chosen


def _matrix(rows: pd.DataFrame, layers: list[str], epochs: list[int]) -> np.ndarray:
    """Mean AUROC over the seeds, (layers, epochs); NaN where the layer is dead for a seed."""
    mean = rows.groupby(["layer", "epoch"])["auroc"].agg(lambda auroc: auroc.mean(skipna=False))
    return mean.unstack("epoch").reindex(index=layers, columns=epochs).to_numpy(dtype=float)


def _panel(axes: Axes, matrix: np.ndarray, epochs: list[int]) -> AxesImage:
    axes.patch.set(facecolor="0.9", edgecolor="0.6", hatch="//////")  # seen through the dead layers
    image = axes.imshow(
        np.ma.masked_invalid(matrix), cmap="RdBu_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    axes.set_xticks(range(len(epochs)), labels=[str(epoch) for epoch in epochs])
    axes.set_xlabel("training epoch")
    axes.spines[:].set_visible(True)
    return image


def _label_layers(axes: np.ndarray, layers: list[str], height: float) -> None:
    """A label a layer if there are few, else a label and a boundary a group of layers."""
    groups = _groups(layers, len(layers) * LABEL_HEIGHT / height)
    axes[0].set_yticks([group.middle for group in groups], labels=[group.name for group in groups], fontsize=LABEL_SIZE)
    for panel in axes:
        panel.tick_params(axis="y", which="both", length=0)
        for group in groups[1:] if len(groups) < len(layers) else ():
            panel.axhline(group.first - 0.5, color="black", linewidth=0.3)


@dataclass(frozen=True)
class Group:
    """Neighbouring layers, from row `first` on, whose names begin alike."""

    name: str
    first: int
    size: int

    @property
    def middle(self) -> float:
        """The row a label stands at."""
        return self.first + (self.size - 1) / 2


def _groups(layers: list[str], label_rows: float) -> list[Group]:
    """The finest grouping in which most layers are in a group with room for its label, label_rows layers high."""
    deepest = max(layer.count(".") + 1 for layer in layers)
    groupings = [_grouped(layers, depth) for depth in range(deepest, 0, -1)]
    roomy = (sum(group.size for group in groups if group.size >= 0.999 * label_rows) for groups in groupings)
    fitting = (groups for groups, count in zip(groupings, roomy, strict=True) if count >= MOSTLY * len(layers))
    return next(fitting, groupings[-1])


def _grouped(layers: list[str], depth: int) -> list[Group]:
    """Runs of layers whose names agree in their first `depth` parts; the tensors of one module stay together."""
    deepest = max(layer.count(".") + 1 for layer in layers)
    parts = [layer.split(".") for layer in layers]
    beginnings = [".".join(part[: min(depth, len(part) - (depth < deepest)) or 1]) for part in parts]
    groups: list[Group] = []
    for name, run in groupby(range(len(layers)), key=beginnings.__getitem__):
        rows = list(run)
        groups.append(Group(name, rows[0], len(rows)))
    return groups
