"""The visual language of the figures: sizes, type, colours, axes. Uses no pyplot and no global state."""

import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import chain, cycle
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter
from matplotlib.typing import LineStyleType

from immature_ood import registry

__all__ = [
    "DOUBLE",
    "DPI",
    "GREY",
    "SINGLE",
    "SMALL",
    "TITLE",
    "Look",
    "leave_empty",
    "legend",
    "looks_in_turn",
    "looks_of",
    "new_figure",
    "one_seed",
    "panels",
    "style",
    "styled",
    "title",
    "zero_and_log",
]

SINGLE, DOUBLE = 3.25, 6.75  # inches, the widths of one and of two columns of a paper
DPI = 300  # of a PNG
SMALL = 6  # points, of what stands inside a panel; all else is of 7
TITLE = "title"  # the gid of what a PDF leaves to the paper's caption
GREY = "0.45"  # of whatever is a reference and not a result

RC: dict[Any, Any] = {
    "figure.dpi": DPI,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "figure.titleweight": "bold",
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "lines.markeredgewidth": 0.8,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.hashsalt": "immature-ood",  # else the ids inside an SVG are random
}


@dataclass(frozen=True)
class Look:
    """How one detector is drawn; line and marker differ too, for grey print."""

    colour: str
    line: LineStyleType
    marker: str


LOOKS = {
    "gradient_norms": Look("#D55E00", "-", "o"),
    "likelihood": Look("#0072B2", "--", "s"),
    "typicality": Look("#009E73", "-.", "^"),
    "gradient_norms_mahalanobis": Look("#CC79A7", ":", "D"),
    "gradient_norms_knn": Look("#56B4E9", (0, (5, 1, 1, 1, 1, 1)), "v"),
    "image_statistics": Look("#000000", (0, (8, 2)), "P"),
}
# These are of Okabe & Ito's palette, without its yellow, which is lost on white. All others take turns at the rest of
# it and at colours of Tol's, and so do lines and markers; as their numbers have no common divisor, 180 detectors look
# different, four of them in each of the three.
SPARE_COLOURS = ("#E69F00", "#882255", "#999933", "#332288")
SPARE_LINES: Sequence[LineStyleType] = ((0, (1, 1)), (0, (4, 1, 1, 1)), ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
SPARE_MARKERS = ("X", "<", ">", "*", "p", "h", "D", "v", "P")


def looks_of(detectors: Iterable[str]) -> dict[str, Look]:
    """The look of each detector, those of the study first: theirs is fixed, the others get the next spare one.

    Registered detectors count even if not asked for, so that a detector looks alike in all figures of a study.
    """
    present = set(detectors)
    others = sorted({*registry.names("detectors"), *present} - {*LOOKS})
    looks = {**LOOKS, **dict(zip(others, _spare(), strict=False))}
    return {name: look for name, look in looks.items() if name in present}


def looks_in_turn(names: Iterable[str]) -> dict[str, Look]:
    """The look of each of a few things that are no detectors, such as models, in their order."""
    return dict(zip(names, chain(LOOKS.values(), _spare()), strict=False))


def _spare() -> Iterator[Look]:
    return map(Look, cycle(SPARE_COLOURS), cycle(SPARE_LINES), cycle(SPARE_MARKERS))


@contextmanager
def style() -> Iterator[None]:
    """The settings of all figures, on top of matplotlib's own defaults: a user's matplotlibrc changes nothing."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


Arguments = ParamSpec("Arguments")


def styled(figure_function: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Makes a function draw in the style, and lays its figure out once: saving it again gives the same picture."""

    @wraps(figure_function)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with style():
            figure = figure_function(*args, **kwargs)
            figure.draw_without_rendering()
            for axes in figure.axes:
                _thin_labels(axes.xaxis)
                _thin_labels(axes.yaxis)
            figure.set_layout_engine("none")
        return figure

    return in_style


def _thin_labels(axis: Axis) -> None:
    """Keeps the first and the last of hand-set labels and those between that have room; the others become minor ticks.

    Panels that share an axis follow the one of them that shows labels.
    """
    labels, places = axis.get_majorticklabels(), axis.get_majorticklocs()
    if not isinstance(axis.get_major_locator(), FixedLocator) or len(labels) != len(places):
        return
    boxes = [label.get_window_extent().padded(3, 0) for label in labels]
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: i not in (0, len(boxes) - 1)):  # the ends first
        if not any(boxes[i].overlaps(boxes[other]) for other in kept):
            kept.append(i)
    dropped = [i for i in range(len(boxes)) if i not in kept]
    if dropped:
        axis.set_ticks(places[sorted(kept)], labels=[labels[i].get_text() for i in sorted(kept)])
        axis.set_ticks(places[dropped], minor=True)
        axis.set_minor_formatter(NullFormatter())


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches, that lays itself out without overlaps."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    return Figure(figsize=(width, height), layout=layout)


def panels(rows: int, columns: int, panel_height: float, sharey: bool) -> tuple[Figure, np.ndarray]:
    """A figure and its (rows, columns) axes: one paper column wide for one panel a row, else two.

    panel_height: inches. All panels share the x axis, and the y axis too if sharey.
    """
    width = SINGLE if columns == 1 else DOUBLE
    figure = new_figure(width, rows * panel_height + 0.75)
    return figure, figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)


def leave_empty(axes: np.ndarray, place: int) -> None:
    """Empties a panel of a grid, counted in reading order; the one above it gets the labels of the x axis."""
    axes.flat[place].set_axis_off()
    if place >= axes.shape[1]:
        axes.flat[place - axes.shape[1]].tick_params(labelbottom=True)


def title(figure: Figure, text: str) -> None:
    """What the figure shows, above it at the left, broken into lines that fit; a PDF goes without (see saving)."""
    figure.suptitle(_fitted(figure, text, character=0.068), x=0.01, horizontalalignment="left", gid=TITLE)


def one_seed() -> Line2D:
    """What a legend says of the thin lines, where there are several seeds."""
    return Line2D([], [], color=GREY, linewidth=0.4, label="one seed (thick: the mean)")


def legend(figure: Figure, handles: Sequence[Artist], axis_label: str) -> None:
    """One legend for all panels, below them, under the label of the x axis they share."""
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=_legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth()),
        title=_fitted(figure, axis_label, character=0.05),
        title_fontsize=RC["axes.labelsize"],
    )


def _legend_columns(labels: list[str], width: float) -> int:
    """The most columns that fit into a width in inches, when they are filled one after the other."""
    sizes = [0.47 + 0.052 * len(label) for label in labels]
    for rows in range(1, len(labels)):
        if sum(max(column) for column in (sizes[i : i + rows] for i in range(0, len(sizes), rows))) <= width:
            return -(-len(labels) // rows)
    return 1


def _fitted(figure: Figure, text: str, character: float) -> str:
    """The text in lines that fit into the figure; character: the width of one, inches."""
    return textwrap.fill(text, int(figure.get_figwidth() / character))


def zero_and_log(axes: Axes, span: Collection[float], ticks: Mapping[float, str]) -> None:
    """An x axis that is logarithmic from the first positive value on, and has room for 0 at its left.

    span: all values the axis must hold, none negative. ticks: labels by place; those that do not fit are left out.
    """
    axes.set_xscale("symlog", linthresh=min((value for value in span if value > 0), default=1), linscale=0.4)
    scale = axes.xaxis.get_transform()
    left, right = scale.transform((min(span), max(span)))
    margin = 0.06 * (right - left) or 0.5
    axes.set_xlim(*scale.inverted().transform((left - margin, right + margin)))
    axes.set_xticks(list(ticks), labels=list(ticks.values()))
    axes.set_xticks([], minor=True)
