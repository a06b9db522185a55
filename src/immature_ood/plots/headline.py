"""The one figure that carries the claim: mean AUROC over pairs against epoch, and below it every pair."""

import math
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from immature_ood.controls import ALL
from immature_ood.evaluation import PAIR
from immature_ood.plots.auroc import CHANCE, checkpoint_axis, curve, named, pair_panel, references, uncertainty
from immature_ood.plots.rows import of_id_dataset, once, one_model, pairs
from immature_ood.plots.style import (
    DOUBLE,
    GREY,
    Look,
    leave_empty,
    legend,
    looks_of,
    new_figure,
    styled,
    title,
    zero_and_log,
)
from immature_ood.words import compact, readable

__all__ = ["headline", "shown_detectors"]

MOST_CURVES = 5
MOST_PAIRS = 30  # as of six data sets: more panels would fill more than a page
MOST_COLUMNS = 6  # of panels
APART = 2.4  # points, between intervals at one epoch
ROOM = 0.02  # of AUROC, above and below the means and their intervals
MEAN_HEIGHT, PAIR_HEIGHT = 1.9, 1.15  # inches, of a panel
CHARACTER = 0.055  # inches, the width of one in a panel's title
LINE: dict[str, Any] = {"color": "#000000", "linestyle": (0, (4, 1.5)), "linewidth": 0.9}  # of a control

Pair = tuple[str, str]


@styled
def headline(table: pd.DataFrame, means: pd.DataFrame, controls: Sequence[str] = (), samples: str = "images") -> Figure:
    """Mean AUROC over pairs against epoch, a panel for each b; below, a panel for each (ID, OOD) pair at the largest b.

    table: as for auroc_by_epoch, all ID data sets. means: what means.means_table gives; its rows over all pairs are
    drawn, with their intervals for these data sets. controls: detectors that read no trained model, the best of which
    for a b is a horizontal line. samples: what they are called (see kinds.KindOfData).
    Of many other detectors some are drawn (see shown_detectors); of more than MOST_PAIRS pairs the means alone. Raises
    ValueError if there is no pair, or several models.
    """
    rows = pairs(table)
    means = one_model(means[means["over"] == ALL])
    looks = looks_of(shown_detectors(means, controls))
    pairs_there = len(rows[[*PAIR]].drop_duplicates())
    layout = _pair_layout(rows) if pairs_there <= MOST_PAIRS else []
    figure, mean_panels, pair_panels = _grid(len(once(rows["batch_size"])), layout)
    _draw_means(mean_panels, means, pairs_there, looks, controls)
    for panel in mean_panels:
        _images_seen_axis(panel, rows, samples)
    if layout:
        _draw_pairs(pair_panels, rows, layout, looks, best_control(means, controls, rows["batch_size"].max()))
    title(figure, f"ID → OOD: how soon in training are the {samples} of another data set detected?")
    legend(figure, _handles(rows, means, looks, controls, bool(layout)), "training epoch")
    return figure


def shown_detectors(means: pd.DataFrame, controls: Sequence[str]) -> list[str]:
    """The detectors with a curve: of those that are no controls, at most MOST_CURVES of the highest means at any epoch.

    Of the reference, likelihood and typicality each that there is has a place before all others.
    """
    rows = means[~means["detector"].isin(controls)]
    best = rows.groupby("detector")["auroc"].max().sort_values(ascending=False)
    fixed = [name for name in ("gradient_norms", "likelihood", "typicality") if name in best.index]
    return once([*fixed, *best.index])[:MOST_CURVES]


def best_control(means: pd.DataFrame, controls: Sequence[str], b: int) -> str | None:
    """The control of the highest mean AUROC at a batch size, if there is any; it is the same at all epochs."""
    rows = means[means["detector"].isin(controls) & (means["batch_size"] == b)]
    return None if rows.empty else str(rows.loc[rows["auroc"].idxmax(), "detector"])


def _grid(batch_sizes: int, layout: Sequence[Sequence[Pair | None]]) -> tuple[Figure, list[Axes], np.ndarray]:
    """The figure, its panels of means in the first row, and those of pairs, (rows, columns), below."""
    heights = [MEAN_HEIGHT, *([PAIR_HEIGHT * len(layout)] if layout else [])]
    figure = new_figure(DOUBLE, sum(heights) + 0.9)
    above, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    mean_panels = above.subplots(1, batch_sizes, sharex=True, sharey=True, squeeze=False)[0]
    if not below:
        return figure, [*mean_panels], np.empty((0, 0), dtype=object)
    size = len(layout), len(layout[0])
    return figure, [*mean_panels], below[0].subplots(*size, sharex=True, sharey=True, squeeze=False)


def _draw_means(
    panels: Sequence[Axes], means: pd.DataFrame, pairs_there: int, looks: dict[str, Look], controls: Sequence[str]
) -> None:
    for b, panel in zip(once(means["batch_size"]), panels, strict=True):
        of_b = means[means["batch_size"] == b]
        control = best_control(means, controls, b)
        if control is not None:
            _control_line(panel, of_b[of_b["detector"] == control].iloc[0])
        panel.axhline(0.5, **CHANCE, label="_chance")
        for place, (detector, look) in reversed([*enumerate(looks.items())]):
            rows = of_b[of_b["detector"] == detector].set_index("epoch").sort_index()
            beside = _beside(panel, place - (len(looks) - 1) / 2)
            bounds = rows["auroc_pairs_low"], rows["auroc_pairs_high"]
            panel.vlines(rows.index, *bounds, color=look.colour, linewidth=0.8, transform=beside, label=f"_{detector}")
            curve(panel, rows["auroc"], detector, look, transform=beside)
        panel.set_title(_heading(b, pairs_there, of_b["seeds"].max()))
    panels[0].set_ylabel("mean AUROC")
    panels[0].set_ylim(*_limits(means[means["detector"].isin([*looks, *controls])]))
    checkpoint_axis(panels[0], means["epoch"], str)


def _beside(axes: Axes, place: float) -> Transform:
    """Of the data, but so far to the right that intervals of several curves stand beside one another."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return axes.transData + ScaledTranslation(APART * place / 72, 0, figure.dpi_scale_trans)


def _heading(b: int, pairs_there: int, seeds: int) -> str:
    over = f"{pairs_there} pairs" if pairs_there > 1 else "one pair"
    return f"b = {b}, mean over {over}" + (f" and {seeds} seeds" if seeds > 1 else "")


def _limits(means: pd.DataFrame) -> tuple[float, float]:
    """Of the axis: all means, and their intervals whole, wide as those of two seeds may be."""
    shown = means[["auroc", "auroc_pairs_low", "auroc_pairs_high"]]
    return shown.min(axis=None) - ROOM, shown.max(axis=None) + ROOM


def _control_line(axes: Axes, row: pd.Series) -> None:
    if not math.isnan(row["auroc_pairs_low"]):
        low, high = row["auroc_pairs_low"], row["auroc_pairs_high"]
        axes.axhspan(low, high, color=LINE["color"], alpha=0.1, linewidth=0, zorder=0)
    axes.axhline(row["auroc"], **LINE, label=row["detector"])


def _images_seen_axis(axes: Axes, rows: pd.DataFrame, samples: str) -> None:
    """Above the epochs the samples seen by then, where all trainings of the study have seen as many."""
    seen = rows.groupby("epoch")["images_seen"].agg(["min", "max"])
    if (seen["min"] < seen["max"]).any():
        return
    above = axes.twiny()
    zero_and_log(above, {*seen.index}, {epoch: compact(count) for epoch, count in seen["max"].items()})
    above.set_xlabel(f"training {samples} seen")
    above.spines["top"].set_visible(True)


def _draw_pairs(
    panels: np.ndarray,
    rows: pd.DataFrame,
    layout: Sequence[Sequence[Pair | None]],
    looks: dict[str, Look],
    control: str | None,
) -> None:
    """A panel a pair, at the largest b, with the control that is best in the mean."""
    largest = rows[rows["batch_size"] == rows["batch_size"].max()]
    for place, pair in enumerate(chain(*layout)):
        if pair is None:
            leave_empty(panels, place)
            continue
        of_pair = largest[(largest["id_dataset"] == pair[0]) & (largest["ood_dataset"] == pair[1])]
        pair_panel(panels.flat[place], of_pair, "epoch", looks)
        for auroc in of_pair.loc[of_pair["detector"] == control, "auroc"].iloc[:1]:
            panels.flat[place].axhline(auroc, **LINE, label=control, zorder=1.5)
        panels.flat[place].set_title(_fitted_pair(pair, panels.shape[1]))
    checkpoint_axis(panels[0, 0], rows["epoch"], str)
    for panel in panels[:, 0]:
        panel.set_ylabel(f"AUROC, b = {largest['batch_size'].iloc[0]}")


def _handles(
    rows: pd.DataFrame, means: pd.DataFrame, looks: dict[str, Look], controls: Sequence[str], with_pairs: bool
) -> list[Artist]:
    best = once(filter(None, (best_control(means, controls, b) for b in once(means["batch_size"]))))
    control = [Line2D([], [], **LINE, label=f"best control: {' or '.join(map(readable, best))}")] if best else []
    above, below = ("above: ", uncertainty(rows, "below: ")) if with_pairs else ("", [])
    intervals = [_bar(f"{above}interval for these data sets")] if means["auroc_pairs_low"].notna().any() else []
    return [*named(looks), *control, *references(rows), *intervals, *below]


def _bar(label: str) -> Artist:
    return Line2D([], [], color=GREY, linewidth=0.8, marker="|", markersize=6, linestyle="", label=label)


def _fitted_pair(pair: Pair, columns: int) -> str:
    """ID → OOD, in two lines where one is wider than its panel."""
    one_line = " → ".join(pair)
    return one_line if len(one_line) * CHARACTER <= DOUBLE / columns - 0.2 else " →\n".join(pair)


def _pair_layout(rows: pd.DataFrame) -> list[tuple[Pair | None, ...]]:
    """The (ID, OOD) pairs as rows of panels: a column for each ID set, or a row where that makes a wider figure."""
    by_id = [
        [(id_dataset, ood_dataset) for ood_dataset in once(of_id_dataset(rows, id_dataset)["ood_dataset"])]
        for id_dataset in once(rows["id_dataset"])
    ]
    if len(by_id) == 1:
        return [*zip_longest(*[iter(by_id[0])] * min(len(by_id[0]), MOST_COLUMNS))]
    columns = list(zip_longest(*by_id))
    return columns if len(by_id) >= len(columns) else list(zip_longest(*columns))
