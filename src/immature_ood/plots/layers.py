"""AUROC layer by layer, as a heat map."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from immature_ood.plots.rows import of_id_dataset, once, pairs
from immature_ood.plots.style import DOUBLE, SINGLE, SMALL, new_figure, styled, title

__all__ = ["layer_heat_map"]

MOST_NAMED = 40  # layers that are named one by one
LABEL_HEIGHT = 0.1  # inches, of a label
HEIGHT = 5.2  # inches, of many layers
RESOLUTION = 290  # layers an inch at most: a pixel each in a PNG


@styled
def layer_heat_map(
    layer_table: pd.DataFrame, id_dataset: str, batch_size: int, ood_dataset: str | None = None
) -> Figure:
    """AUROC of each layer alone (rows, in the table's order) at each epoch (columns); a panel for each OOD set.

    layer_table: one row an (id_dataset, ood_dataset, model, seed, epoch, batch_size, layer), with auroc; one model.
        The mean over the seeds is shown; dead layers, NaN for any seed, are hatched.
    ood_dataset: one OOD set only. Raises ValueError if the table has no such rows.
    Many layers stand in groups of one kind, such as all biases of actnorm, in the order of the table within a group,
    and are labelled by it.
    """
    rows = _chosen(layer_table, id_dataset, batch_size, ood_dataset)
    layers, epochs, ood_datasets = once(rows["layer"]), sorted(set(rows["epoch"])), once(rows["ood_dataset"])
    groups = _groups(layers)
    layers, edges = [layer for group in groups for layer in group.layers], _edges(groups)
    figure = new_figure(SINGLE if len(ood_datasets) == 1 else DOUBLE, max(edges[-1], 1.2) + 0.75)
    axes = figure.subplots(1, len(ood_datasets), squeeze=False, sharey=True)[0]
    for name, panel in zip(ood_datasets, axes, strict=True):
        cells = _panel(panel, _matrix(rows[rows["ood_dataset"] == name], layers, epochs), epochs, edges)
        panel.set_title(f"OOD {name}")
    _label(axes, groups, edges)
    bar = figure.colorbar(cells, ax=axes, fraction=0.03, aspect=25, pad=0.02)
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


def _panel(axes: Axes, matrix: np.ndarray, epochs: list[int], edges: np.ndarray) -> QuadMesh:
    axes.patch.set(facecolor="0.9", edgecolor="0.6", hatch="//////")  # seen through the dead layers
    columns = np.arange(len(epochs) + 1) - 0.5
    cells = axes.pcolormesh(columns, edges, np.ma.masked_invalid(matrix), cmap="RdBu_r", vmin=0, vmax=1)
    axes.set_ylim(edges[-1], 0)
    axes.set_xticks(range(len(epochs)), labels=[str(epoch) for epoch in epochs])
    axes.set_xlabel("training epoch")
    axes.spines[:].set_visible(True)
    return cells


@dataclass(frozen=True)
class Group:
    """Layers of one kind, and what they are called together."""

    name: str
    layers: Sequence[str]


def _groups(layers: Sequence[str]) -> list[Group]:
    """A group a layer if there are few, else a group a kind, in the order of their first layers."""
    if len(layers) <= MOST_NAMED:
        return [Group(layer, [layer]) for layer in layers]
    kinds: dict[str, list[str]] = {}
    for layer in layers:
        kinds.setdefault(_kind(layer), []).append(layer)
    names = _short([*kinds])
    return [
        Group(f"{name} × {len(of_kind)}" if len(of_kind) > 1 else name, of_kind)
        for name, of_kind in zip(names, kinds.values(), strict=True)
    ]


def _kind(layer: str) -> str:
    """The name of a layer without the numbers of blocks and steps.

    >>> _kind("blocks.0.steps.12.actnorm.bias"), _kind("denoising_75/network.down.0.conv.weight")
    ('blocks.steps.actnorm.bias', 'denoising/network.down.conv.weight')
    """
    return re.sub(r"[._]\d+(?=[./]|$)", "", layer)


def _short(kinds: Sequence[str]) -> list[str]:
    """The last parts of each name, two or as many more as no other ends with.

    >>> _short(["blocks.steps.actnorm.bias", "blocks.steps.coupling.first.actnorm.bias", "top.weight"])
    ['steps.actnorm.bias', 'first.actnorm.bias', 'top.weight']
    """
    parts = [kind.split(".") for kind in kinds]

    def alone(own: list[str], length: int) -> bool:
        return sum(other[-length:] == own[-length:] for other in parts) == 1

    lengths = [next((n for n in range(2, len(own)) if alone(own, n)), len(own)) for own in parts]
    return [".".join(own[-length:]) for own, length in zip(parts, lengths, strict=True)]


def _edges(groups: Sequence[Group]) -> np.ndarray:
    """Where rows begin and the last ends, inches from the top: a label has room in each group, a pixel in each row."""
    row = max(HEIGHT / sum(len(group.layers) for group in groups), 1 / RESOLUTION)
    heights = [max(row, LABEL_HEIGHT / len(group.layers)) for group in groups for _ in group.layers]
    if len(heights) == len(groups):  # all are named: the labels decide
        heights = [LABEL_HEIGHT] * len(groups)
    return np.cumsum([0.0, *heights])


def _label(axes: np.ndarray, groups: Sequence[Group], edges: np.ndarray) -> None:
    """The name of each group in its middle, and a line between two."""
    ends = edges[np.cumsum([0, *(len(group.layers) for group in groups)])]
    axes[0].set_yticks((ends[:-1] + ends[1:]) / 2, labels=[group.name for group in groups], fontsize=SMALL)
    for panel in axes:
        panel.tick_params(axis="y", which="both", length=0)
        for end in ends[1:-1] if len(edges) > len(ends) else ():
            panel.axhline(end, color="black", linewidth=0.3)
