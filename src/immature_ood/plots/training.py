"""How well the models fit, as training goes on."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from immature_ood.evaluation import in_spikes
from immature_ood.plots.rows import across_seeds, of_id_dataset, once, one_model
from immature_ood.plots.style import leave_empty, legend, one_seed, panels, styled, title, zero_and_log

__all__ = ["bits_per_dim_by_epoch"]

MOST_COLUMNS = 4  # of panels
HEADROOM = 0.5  # of the fall from start to lowest, above the start, and at least
LEAST_HEADROOM = 1.0  # bits
MARGIN = 0.05  # of a panel's values, above and below
CURVES: dict[str, dict[str, Any]] = {
    "train_bits_per_dim": {"color": "0.5", "linestyle": "--"},
    "fit_bits_per_dim": {"color": "#0072B2", "linestyle": "-"},
}
KEPT: dict[str, Any] = {"color": "#0072B2", "linestyle": "", "marker": "o"}
CROSS: dict[str, Any] = {"color": "#D55E00", "linestyle": "", "marker": "x", "markersize": 6, "zorder": 3}


@styled
def bits_per_dim_by_epoch(log: pd.DataFrame, unit: str = "bits/dim", samples: str = "images") -> Figure:
    """Bits per dimension of the training and of the held-out fit samples against epoch; a panel for each ID data set.

    log: what maturity.with_maturity gives, of one model: one row an (id_dataset, model, seed, epoch), with
        train_bits_per_dim (NaN at epoch 0), fit_bits_per_dim and the maturity of the kept ones, which are marked. A
        checkpoint that was kept in a spike (see evaluation.in_spikes) is crossed at its own value, and at the frame
        where that is far above all that the training began with, as are values of millions: there the panel ends.
        unit, samples: what bits/dim and samples are called (see kinds.KindOfData).
    """
    id_datasets = once(one_model(log)["id_dataset"])
    rows = math.ceil(len(id_datasets) / MOST_COLUMNS)
    figure, axes = panels(rows, math.ceil(len(id_datasets) / rows), panel_height=1.5, sharey=False)
    kept, spikes = sorted({*log.loc[log["maturity"] != "", "epoch"]}), in_spikes(log)
    for id_dataset, panel in zip(id_datasets, axes.flat, strict=False):
        end = _panel(panel, of_id_dataset(log, id_dataset), kept)
        crossed = spikes[spikes["id_dataset"] == id_dataset]
        panel.plot(crossed["epoch"], crossed["fit_bits_per_dim"].clip(upper=end), **CROSS, label="_spike")
        panel.set_title(f"ID {id_dataset}")
    for place in range(len(id_datasets), axes.size):
        leave_empty(axes, place)
    zero_and_log(axes[0, 0], set(log["epoch"]), {epoch: str(epoch) for epoch in kept})
    for panel in axes[:, 0]:
        panel.set_ylabel(unit)
    title(figure, f"How well the models fit: training and held-out {samples} of the ID set")
    handles = _handles(samples, several_seeds=log["seed"].nunique() > 1)
    crosses = [Line2D([], [], **CROSS, label="in a spike or past its best")] if len(spikes) else []
    legend(figure, [*handles, *crosses], "training epoch")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, kept: list[int]) -> float:
    """The mean over seeds of each curve, with a thin line for each seed if there are several; where the panel ends.

    It ends above the start by HEADROOM of the fall since: no spike stretches it till nothing else is seen.
    """
    values = rows[[*CURVES]]
    low, start = values.min(axis=None), rows.groupby("seed")[[*CURVES]].first().max(axis=None)
    end = start + max(HEADROOM * (start - low), LEAST_HEADROOM)
    if values.max(axis=None) > end:
        room = MARGIN * (end - low)
        axes.set_ylim(low - room, end + room)
    for column, look in CURVES.items():
        seeds = across_seeds(rows, "epoch", column)
        mean = seeds.mean(axis=1, skipna=False)
        for seed in seeds if seeds.shape[1] > 1 else ():
            axes.plot(seeds.index, seeds[seed], color=look["color"], linewidth=0.4, alpha=0.7, label=f"_seed {seed}")
        axes.plot(mean.index, mean, **look, label=column)
    marked = mean[mean.index.isin(kept)]  # of the last curve, the fit images
    axes.plot(marked.index, marked, **KEPT, label="kept")
    axes.plot(marked[marked.index == 0], **KEPT, markerfacecolor="white", label="_untrained")
    return end


def _handles(samples: str, *, several_seeds: bool) -> list[Line2D]:
    train, fit = (Line2D([], [], **look) for look in CURVES.values())
    train.set_label(f"training {samples} (mean of the epoch)")
    fit.set_label(f"held-out fit {samples}")
    handles = [train, fit, Line2D([], [], **KEPT, label="kept checkpoint")]
    return [*handles, one_seed()] if several_seeds else handles
