"""Why an image has its score, in one picture: what deviates, where the score changes, and what is nearest."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from immature_ood.plots.sheet import montage
from immature_ood.plots.style import GREY, style

if TYPE_CHECKING:
    from immature_ood.explaining import Explanation

__all__ = ["block_and_kind", "composition", "explanation", "largest", "verdict"]

SIZE = 11.5, 5.2  # inches
LAYERS, NUMBERS = 12, 5  # that are shown, those that deviate most
NEIGHBOURS = 8
FAR = 3.0  # deviations
SHARE = 99.5  # percent of the pixels that are within the colours
HIGH, LOW = "#B2182B", "#2166AC"  # the ends of RdBu_r
TITLE, HEADING, LABEL = 12, 9, 8  # points
OF_IMAGE = "the image itself"


def explanation(found: "Explanation", name: str, level: float) -> Figure:
    """The picture, the slope of its score at every pixel, and the layers that deviate most; below, its neighbours.

    name: of the image. level: of false alarms, at which it is odd or normal.
    """
    with style():
        figure = Figure(figsize=SIZE)
        _draw_picture(_axes(figure, 0.2, 2.9), found.pixels, name)
        _draw_gradient(figure, _axes(figure, 3.4, 2.9), _axes(figure, 6.4, 0.12), found)
        _draw_bars(_axes(figure, 9.1, 2.2, tall=3.8), found)
        for place, neighbour in enumerate(found.nearest[:NEIGHBOURS]):
            axes = _axes(figure, 0.2 + 0.77 * place, 0.7, top=4.25, tall=0.7)
            _bare(axes, ("nearest of the fit set, at\n" if place == 0 else "") + f"{neighbour.distance:.3g}")
            axes.title.set(horizontalalignment="left", x=0)
            axes.imshow(montage(neighbour.pixels[None]), "gray", vmin=0, vmax=255, interpolation="nearest")
        figure.text(0.2 / SIZE[0], 0.94, verdict(found, level), fontsize=TITLE, fontweight="bold")
        figure.text(0.2 / SIZE[0], 0.9, composition(found), fontsize=HEADING)
        return figure


def _axes(figure: Figure, left: float, wide: float, top: float = 0.8, tall: float = 2.9) -> Axes:
    """A place of the figure in inches, counted from its left and its top."""
    width, height = SIZE
    return figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))


def verdict(found: "Explanation", level: float) -> str:
    """The score and its p-value in words."""
    return f"score {found.score:.4g}, p = {found.p:.2g}: {'odd' if found.p <= level else 'normal'} at {level:g}"


def composition(found: "Explanation") -> str:
    """What parts the score is of, and how many layers deviate."""
    shares = " + ".join(f"{name} {share:.4g}" for name, share in found.parts.items())
    far = sum(abs(z) > FAR for z in found.layers.values())
    of_layers = f"layers more than {FAR:g} standard deviations from the fit set: {far} of {len(found.layers)}"
    return f"the score is {shares}; {of_layers}" if shares else of_layers


def largest(found: "Explanation") -> dict[str, dict[str, float]]:
    """The deviations that are furthest from 0, by block and kind; those of the image's own numbers come last."""
    blocks: dict[str, dict[str, float]] = {}
    for layer, deviation in _furthest(found.layers, LAYERS):
        block, kind = block_and_kind(layer)
        blocks.setdefault(block, {})[kind] = deviation
    numbers = dict(_furthest(found.numbers, NUMBERS))
    return {**blocks, **({OF_IMAGE: numbers} if numbers else {})}


def _furthest(deviations: Mapping[str, float], number: int) -> list[tuple[str, float]]:
    return sorted(deviations.items(), key=lambda item: -abs(item[1]))[:number]


def block_and_kind(layer: str) -> tuple[str, str]:
    """The part of the network that a layer is of, and what it is there: the name is cut after its last number.

    >>> block_and_kind("blocks.0.steps.1.coupling.first.actnorm.bias"), block_and_kind("top.logs")
    (('blocks.0.steps.1', 'coupling.first.actnorm.bias'), ('top', 'logs'))
    """
    parts = layer.split(".")
    numbered = [place for place, part in enumerate(parts[:-1]) if part.isdigit()]
    cut = numbered[-1] + 1 if numbered else min(1, len(parts) - 1)
    return ".".join(parts[:cut]), ".".join(parts[cut:])


def _draw_picture(axes: Axes, pixels: np.ndarray, name: str) -> None:
    axes.imshow(montage(pixels[None]), "gray", vmin=0, vmax=255, interpolation="nearest")
    _bare(axes, name)


def _draw_gradient(figure: Figure, axes: Axes, beside: Axes, found: "Explanation") -> None:
    """Over the picture in pale grey; of colours together, as if all three were one level lighter."""
    slope = found.gradient.sum(axis=0)
    most = float(np.percentile(np.abs(slope), SHARE)) or float(np.abs(slope).max()) or 1.0
    axes.imshow(255 - (255 - found.pixels.mean(axis=0)) * 0.35, "gray", vmin=0, vmax=255, interpolation="nearest")
    opacity = np.clip(np.abs(slope) / most, 0, 1)
    axes.imshow(slope, "RdBu_r", vmin=-most, vmax=most, alpha=opacity, interpolation="nearest")
    _bare(axes, "where the score would change" if slope.any() else "here the score does not change")
    colours = ScalarMappable(Normalize(-most, most), "RdBu_r")  # opaque, as the picture's are not
    bar = figure.colorbar(colours, cax=beside)
    bar.set_label("change of the score if a pixel were one grey level lighter", fontsize=LABEL)
    bar.ax.tick_params(labelsize=LABEL)
    bar.formatter.set_powerlimits((-2, 2))  # type: ignore[attr-defined]


def _bare(axes: Axes, heading: str) -> None:
    axes.set_axis_off()
    axes.set_title(heading, fontsize=HEADING, parse_math=False)


def _draw_bars(axes: Axes, found: "Explanation") -> None:
    """A bar a layer, under the name of its block; numbers that would dwarf the layers are cut, and say so."""
    blocks = largest(found)
    rows = [*chain.from_iterable(_rows(block, kinds) for block, kinds in blocks.items())]
    of_layers, of_numbers = (max(map(abs, each.values()), default=0.0) for each in (found.layers, found.numbers))
    reach = max(of_layers, min(of_numbers, 2 * of_layers or of_numbers)) or 1.0
    for place, (_, value) in enumerate(rows):
        if value is not None:
            _draw_bar(axes, place, value, reach)
    axes.axvline(0, color=GREY, linewidth=0.5)
    axes.set_yticks(range(len(rows)), labels=[label for label, _ in rows], fontsize=LABEL)
    for label, (_, value) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(fontweight="bold" if value is None else "normal", parse_math=False)
    axes.set(xlim=(-1.5 * reach, 1.5 * reach), ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=LABEL)
    axes.set_title("what deviates most", fontsize=HEADING)
    axes.set_xlabel("in standard deviations of the fit set", fontsize=LABEL)


def _draw_bar(axes: Axes, place: int, value: float, reach: float) -> None:
    """With its number beyond its end; a bar that is cut ends in dots."""
    end = max(-reach, min(reach, value))
    cut = " …" if abs(value) > reach else ""
    side: Literal["left", "right"] = "left" if value >= 0 else "right"
    at = end + (0.03 if value >= 0 else -0.03) * reach
    axes.barh(place, end, color=HIGH if value > 0 else LOW, height=0.75)
    axes.text(at, place, f"{value:+.1f}{cut}", fontsize=LABEL, horizontalalignment=side, verticalalignment="center")


def _rows(block: str, kinds: Mapping[str, float]) -> Iterator[tuple[str, float | None]]:
    yield block, None
    yield from kinds.items()
