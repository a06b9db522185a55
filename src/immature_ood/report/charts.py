"""The charts of the page, in Vega-Lite by Altair: one specification serves the live chart and its still picture.

A chart has no colours of its own for text and axes, but the page's (currentColor), so that it follows light and dark.
The still picture is what a reader without JavaScript sees, and is drawn with the rows of the first choice.
"""

import html
import json
import re
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from immature_ood.report.looks import SERIES

__all__ = [
    "auroc_chart",
    "cost_chart",
    "dash_pattern",
    "layer_chart",
    "look_of",
    "maturity_chart",
    "overlap_chart",
    "runtime",
    "spec",
    "still",
]

ROWS = "rows"  # the name of the data, which the page fills in
WIDTH, HEIGHT = 460, 250  # pixels of a still picture
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 2])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DOUBLED = alt.Axis(values=[0, *(2**power for power in range(15))], format="d", labelOverlap=True)
CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": "currentColor", "titleColor": "currentColor", "tickColor": "currentColor"},
        **{"domainColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15},
        **{"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelAngle": 0},
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12},
    "line": {"strokeWidth": 2},
    "point": {"size": 55, "filled": True, "opacity": 1},
}
ODD = re.compile(r'(?<=id=")|(?<=url\(#)|(?<=href="#)')


def look_of(place: int) -> dict[str, Any]:
    """The colour, dash and shape of the line of this place; 40 differ in colour or dash, of which there are 8 and 5."""
    return {
        "colour": SERIES[place % len(SERIES)],
        "dash": place % len(DASHES),
        "shape": SHAPES[place % len(SHAPES)],
    }


def _base(rows: pd.DataFrame | None) -> alt.Chart:
    data: Any = alt.NamedData(ROWS) if rows is None else alt.Data(values=_values(rows))
    return alt.Chart(data).properties(width="container" if rows is None else WIDTH, height=HEIGHT)


def _values(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them, NaN as null."""
    values: list[dict[str, Any]] = json.loads(rows.to_json(orient="records", double_precision=6))
    return values


def _looks(name: str) -> dict[str, Any]:
    dashes = alt.Scale(domain=[*range(len(DASHES))], range=[*DASHES])
    return {
        "color": alt.Color("colour:N", scale=None),
        "strokeDash": alt.StrokeDash("dash:N", scale=dashes, legend=None),
        "detail": alt.Detail(f"{name}:N"),
    }


def _tips(**named: str) -> list[alt.Tooltip]:
    """Tooltips: title=field with its type, and a form for numbers after a bar, such as "auroc:Q|.3f"."""
    split = {title.replace("_", " "): field.partition("|") for title, field in named.items()}
    return [alt.Tooltip(field, title=title, format=form or alt.Undefined) for title, (field, _, form) in split.items()]


def auroc_chart(rows: pd.DataFrame | None = None) -> alt.TopLevelMixin:
    """AUROC against epoch; columns epoch, auroc, low, high, detector, colour, dash, shape. None: to be filled in."""
    x = alt.X("epoch:O", title="training epoch")
    y = alt.Y("auroc:Q", title="AUROC", scale=alt.Scale(zero=False, nice=True))
    tips = _tips(detector="detector:N", epoch="epoch:O", AUROC="auroc:Q|.3f", low="low:Q|.3f", high="high:Q|.3f")
    base = _base(rows).encode(x=x, **_looks("detector"))
    band = base.mark_area(opacity=0.15).encode(
        y=alt.Y("low:Q", title="AUROC"),
        y2="high:Q",
        fill=alt.Fill("colour:N", scale=None),
        strokeDash=alt.value([1, 0]),
    )
    points = base.mark_point(strokeWidth=0).encode(
        y=y, shape=alt.Shape("shape:N", scale=None), fill=alt.Fill("colour:N", scale=None), tooltip=tips
    )
    return band + base.mark_line().encode(y=y) + points


def maturity_chart(rows: pd.DataFrame | None = None, unit: str = "bits/dim") -> alt.TopLevelMixin:
    """Held-out bits/dim against epoch; columns epoch, bits, excess, state ("" where not kept), name and its look.

    unit: what bits/dim are called (see kinds.KindOfData).
    """
    x = alt.X("epoch:Q", title="training epoch", scale=alt.Scale(type="symlog", constant=1), axis=DOUBLED)
    y = alt.Y("bits:Q", title=f"held-out {unit}", scale=alt.Scale(zero=False))
    tips = _tips(ID="name:N", epoch="epoch:Q", bits="bits:Q|.3f", above_the_minimum="excess:Q|.3f", state="state:N")
    base = _base(rows).encode(x=x, y=y, **_looks("name"))
    points = base.transform_filter("datum.state != ''").mark_point(strokeWidth=0)
    fill = alt.Fill("colour:N", scale=None)
    return base.mark_line() + points.encode(shape=alt.Shape("shape:N", scale=None), fill=fill, tooltip=tips)


def overlap_chart(rows: pd.DataFrame | None = None) -> alt.TopLevelMixin:
    """AUROC against overlap, a line a pair through its epochs; columns overlap, auroc, epoch, name and its look."""
    x = alt.X("overlap:Q", title="overlap coefficient of the log-likelihoods", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("auroc:Q", title="AUROC", scale=alt.Scale(zero=False))
    tips = _tips(pair="name:N", epoch="epoch:Q", overlap="overlap:Q|.3f", AUROC="auroc:Q|.3f")
    base = _base(rows).encode(x=x, y=y, order=alt.Order("epoch:Q"), **_looks("name"))
    points = base.mark_point(strokeWidth=0).encode(fill=alt.Fill("colour:N", scale=None), tooltip=tips)
    return base.mark_line(strokeWidth=1) + points.encode(shape=alt.Shape("shape:N", scale=None))


def cost_chart(rows: pd.DataFrame | None = None) -> alt.TopLevelMixin:
    """Mean AUROC against seconds, a line a detector through its epochs; columns seconds, auroc, epoch, name, look."""
    x = alt.X("seconds:Q", title="seconds of training and of scoring 10,000", scale=alt.Scale(type="log"))
    y = alt.Y("auroc:Q", title="mean AUROC", scale=alt.Scale(zero=False))
    tips = _tips(detector="name:N", epoch="epoch:Q", seconds="seconds:Q|.3s", AUROC="auroc:Q|.3f")
    base = _base(rows).encode(x=x, y=y, order=alt.Order("epoch:Q"), **_looks("name"))
    points = base.mark_point(strokeWidth=0).encode(fill=alt.Fill("colour:N", scale=None), tooltip=tips)
    return base.mark_line(strokeWidth=1) + points.encode(shape=alt.Shape("shape:N", scale=None))


def layer_chart() -> alt.TopLevelMixin:
    """AUROC of every layer alone by epoch; columns epoch, layer, place (its row), auroc (null: dead)."""
    y = alt.Y(
        "layer:N", sort=alt.EncodingSortField("place"), title=None, axis=alt.Axis(labelLimit=150, labelFontSize=9)
    )
    colour = alt.Color(
        "auroc:Q", title="AUROC", scale=alt.Scale(domain=[0, 0.5, 1], range=["#2166ac", "#e8e8e8", "#b2182b"])
    )
    tips = _tips(layer="layer:N", epoch="epoch:O", AUROC="auroc:Q|.3f")
    x = alt.X("epoch:O", title="training epoch")
    return _base(None).mark_rect().encode(x=x, y=y, color=colour, tooltip=tips)


def spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The specification of a chart that the page fills in, as JSON has it."""
    found = chart.to_dict(validate=False) | {"config": CONFIG}
    found.pop("$schema")  # an address, of which nothing is read
    return found


def still(chart: alt.TopLevelMixin, name: str, described: str) -> str:
    """The picture of a chart as SVG. name: unlike those of others on the page, for the ids in it."""
    import vl_convert

    picture = vl_convert.vegalite_to_svg(chart.to_dict(validate=False) | {"config": CONFIG}, vl_version=_version())
    picture = ODD.sub(f"{name}-", picture[picture.index("<svg") :])
    return picture.replace("<svg", f'<svg role="img" aria-label="{html.escape(described)}"', 1)


def runtime() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, which it names vegaEmbed."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_version()))


def _version() -> str:
    """Of Vega-Lite, as Altair writes it, such as 6.4."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def dash_pattern(dash: int) -> Sequence[int]:
    """The lengths of strokes and gaps of a dash."""
    return DASHES[dash]
