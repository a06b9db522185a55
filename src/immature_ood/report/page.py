"""The report: one page that needs no other file and no network, made from a study's results."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from immature_ood.controls import ALL, solved_pairs
from immature_ood.evaluation import PAIR
from immature_ood.plots.overlap import BANDWIDTH
from immature_ood.report import charts, words
from immature_ood.report.looks import DARK, LIGHT, css_variables
from immature_ood.report.pictures import COLUMNS, Gallery, figure_uri, gallery
from immature_ood.report.results import Results
from immature_ood.report.rows import (
    EVERY_SEED,
    auroc_rows,
    choices,
    cost_rows,
    in_script,
    layer_rows,
    maturity_rows,
    overlap_rows,
    packed,
)
from immature_ood.report.views import BINS, Extreme, View, chosen_samples, extremes, views
from immature_ood.scores import Scores
from immature_ood.words import duration, readable

__all__ = ["PARTS", "page"]

PARTS = Path(__file__).parent / "parts"
SECTIONS = {
    **{"claim": "Claim", "missed": "Missed", "scores": "Scores", "epochs": "All pairs", "layers": "Layers"},
    **{"samples": "Samples", "maturity": "Maturity", "overlap": "Overlap", "cost": "Cost", "published": "Published"},
    **{"all": "All claims", "again": "Reproduce"},
}
OF_A_SET = ("name", "source", "train", "fit", "test", "unit", "test_units", "formats")  # what is said of a data set
MOST_LINES = 5  # of a chart at first
MOST_PAIRS = 6  # whose extremes are shown
EXTREMES = 5  # samples of each kind
MOST_SHOWN = 200  # rows of a table
PICTURES = 1_200_000  # places of samples, of a byte each in a sprite
FIGURES = 2_400_000  # letters of embedded figures
SHRUNK = 3  # the pixels of a figure for one of the page, which are 100 an inch


def page(results: Results) -> str:
    """The page as HTML; the same results give the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["score"] = _score
    return environment.get_template("page.html.j2").render(_context(results)) + "\n"


def _context(results: Results) -> dict[str, Any]:
    drawn, tables = _charts(results)
    kept, asked = views(results)
    missed = _missed(results)
    galleries = _galleries(results, missed, kept)
    figures, left_out = _figures(results)
    shown = {"missed": bool(missed.pairs), "layers": "layers" in drawn, "overlap": "overlap" in drawn}
    return {
        **_first_screen(results),
        **_tables(results),
        **{"charts": {**drawn, "scores": _scores_form(results, kept)}, "figures": figures, "left_out": left_out},
        **{"missed": missed.pairs, "missed_left": missed.left, "extreme_epoch": missed.epoch},
        **{"galleries": galleries, "numbers": _numbers(galleries), "columns": COLUMNS},
        "views_note": _kept_note(len(kept), asked, "histograms"),
        "layers_note": _layers_note(results, tables.get("layers")),
        "sections": [(anchor, text) for anchor, text in SECTIONS.items() if shown.get(anchor, True)],
        "data": in_script(_data(results, drawn, tables, kept, galleries)),
        **{"css": _part("page.css"), "script": _part("page.js"), "notices": _part("notices.txt")},
        **{"light": css_variables(LIGHT), "dark": css_variables(DARK), "runtime": _runtime()},
    }


@cache
def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


@cache
def _runtime() -> str:
    """The runtime of the charts, which may stand inside a script element."""
    return charts.runtime().replace("</script", r"<\/script").replace("<!--", r"<\!--")


# The first screen -----------------------------------------------------------------------------------------------------


def _first_screen(results: Results) -> dict[str, Any]:
    settings, headline = results.settings, results.headlines[0]
    solved = solved_pairs(results.tables.auroc, settings.controls)
    solved_names = {" → ".join(pair) for pair in solved[[*PAIR]].itertuples(index=False, name=None)}
    header, rows = words.chips(results)
    return {
        "page": {
            **{"name": settings.name, "command": settings.command, "folder": settings.folder},
            **{"samples": settings.data.samples, "unit": settings.data.unit, "margin": settings.margin},
        },
        "claims": words.claims(results),
        "falling": words.still_falling(results),
        "costs": words.costs(results),
        "headline_words": f"{readable(headline.detector)} of {headline.model}",
        "chip_header": header,
        "chip_rows": rows,
        "solved": solved_names,
        "any_solved": any(row.pair in solved_names for row in rows),
        "detector_keys": _detector_keys(results),
    }


def _detectors(results: Results) -> list[str]:
    """Those that have scores, the headline's first, and then as the study names them."""
    tested = {*results.pairs["detector"]}
    named = [results.headlines[0].detector, *results.settings.detectors, *sorted(tested)]
    return [name for name in dict.fromkeys(named) if name in tested]


def _detector_keys(results: Results) -> list[dict[str, Any]]:
    """The look of each detector, and whether it is drawn at first."""
    return [{**_key(name, place), "checked": place < MOST_LINES} for place, name in enumerate(_detectors(results))]


def _key(name: str, place: int) -> dict[str, Any]:
    look = charts.look_of(place)
    pattern = " ".join(map(str, charts.dash_pattern(look["dash"])))
    return {"name": name, "text": readable(name), "colour": look["colour"], "pattern": pattern}


@dataclass(frozen=True)
class _Missed:
    """Of pairs, what is missed most and is most certain; how many pairs are left, and the epoch it is of."""

    pairs: Sequence[tuple[str, Sequence[Extreme], Sequence[Extreme]]]
    left: int
    epoch: int


def _missed(results: Results) -> _Missed:
    """Of the headline after one pass, or else the first trained epoch, under the seed of the scores."""
    headline = results.headlines[0]
    key = headline.detector, headline.batch_size
    found = [one for one in results.scores if one.checkpoint.model == headline.model and key in one.dead_layers]
    epochs = sorted({one.checkpoint.epoch for one in found if one.checkpoint.epoch}) or [0]
    epoch = results.settings.one_pass if results.settings.one_pass in epochs else epochs[0]
    pairs = [
        (auroc, one, ood)
        for one in found
        if one.checkpoint.epoch == epoch
        for ood in one.ood_datasets
        for auroc in [_auroc_of(results, one.checkpoint.id_dataset, ood, epoch)]
    ]
    chosen = sorted(pairs, key=lambda each: each[0])[:MOST_PAIRS]
    told = [
        (f"{one.checkpoint.id_dataset} → {ood}", *both)
        for _, one, ood in chosen
        for both in [_extremes(results, one, ood)]
    ]
    showable = bool(told) and any(
        gallery(results.settings.data, each.stored, [0]).places for each in results.test.values()
    )
    return _Missed(told if showable else [], len(pairs) - len(chosen), epoch)


def _auroc_of(results: Results, own: str, ood: str, epoch: int) -> float:
    rows = results.of(results.pairs, results.headlines[0])
    of_pair = (rows[PAIR[0]] == own) & (rows[PAIR[1]] == ood) & (rows["epoch"] == epoch)
    return float(rows.loc[of_pair, "auroc"].mean())


def _extremes(results: Results, one: Scores, ood: str) -> tuple[list[Extreme], list[Extreme]]:
    headline = results.headlines[0]
    images = results.test[ood].groups(results.settings.batch_sizes).images(headline.batch_size)
    return extremes(one, headline.detector, headline.batch_size, ood, images, EXTREMES)


def _galleries(results: Results, missed: _Missed, kept: Sequence[View]) -> dict[str, Gallery]:
    """By set, the samples that the page shows: those of the first screen, then some of each bar."""
    chosen: dict[str, list[int]] = {name: [] for name in results.test}
    for _, *both in missed.pairs:
        for each in (each for found in both for each in found):
            chosen[each.dataset] += each.images
    groupings = {name: each.groups(results.settings.batch_sizes) for name, each in results.test.items()}
    places = math.prod(results.settings.data.shape[-2:])  # a colour is one byte of a palette
    room = max(PICTURES // (len(groupings) * places), 40)
    for name, sample in chosen_samples(kept, groupings, room):
        chosen[name].append(sample)
    return {name: gallery(results.settings.data, each.stored, chosen[name]) for name, each in results.test.items()}


def _numbers(galleries: Mapping[str, Gallery]) -> dict[str, int]:
    """By set, the number in the names of its styles."""
    return {name: place for place, name in enumerate(galleries)}


# Charts ---------------------------------------------------------------------------------------------------------------


def _charts(results: Results) -> tuple[dict[str, dict[str, Any]], dict[str, pd.DataFrame]]:
    """By name what the template says of each chart, and the rows that it draws."""
    makers = {"auroc": _auroc, "maturity": _maturity, "overlap": _overlap, "cost": _cost, "layers": _layers}
    made = {name: (rows, maker) for name, maker in makers.items() if len(rows := ROWS[name](results))}
    drawn = {name: maker(results, rows) for name, (rows, maker) in made.items()}
    return drawn, {name: rows for name, (rows, _) in made.items()}


ROWS = {
    **{"auroc": auroc_rows, "maturity": maturity_rows, "overlap": overlap_rows, "cost": cost_rows},
    "layers": layer_rows,
}
LOOKED = {"auroc": "detector", "maturity": "name", "overlap": "name", "cost": "name"}  # the column that has looks
DIGITS: dict[str, dict[str, int]] = {
    "auroc": {"epoch": 0, "auroc": 4, "low": 4, "high": 4},
    "maturity": {"epoch": 0, "bits": 4, "excess": 4},
    "overlap": {"epoch": 0, "overlap": 4, "auroc": 4},
    "cost": {"epoch": 0, "seconds": 2, "auroc": 4},
    "layers": {"epoch": 0, "place": 0, "auroc": 3},
}


def _auroc(results: Results, rows: pd.DataFrame) -> dict[str, Any]:
    looks = _looks(_detectors(results))
    selects = _selects(results, rows, {"pair": "Pair", "b": "b", "model": "Model", "seed": "Seed"})
    shown = {key["name"] for key in _detector_keys(results) if key["checked"]}
    first = _first(rows, selects)
    return {
        **{"title": "AUROC over epochs", "selects": selects, "looks": looks, "legend": [], "path": "tables/means.csv"},
        "caption": "AUROC against training epoch; 0 is the untrained control. Bands: the interval of the mean over "
        "these pairs, or of one seed; where several seeds of one pair are together, their lowest and highest. Numbers: "
        "point at a mark.",
        **_drawn(charts.auroc_chart, first[first["detector"].isin(shown)], looks, "detector", "AUROC over epochs"),
    }


def _maturity(results: Results, rows: pd.DataFrame) -> dict[str, Any]:
    names, unit = [*dict.fromkeys(rows["name"])], results.settings.data.unit
    looks = _looks(names)
    selects = _selects(results, rows, {"model": "Model", "seed": "Seed"})

    def maturity_chart(shown: pd.DataFrame | None = None) -> Any:
        return charts.maturity_chart(shown, unit)

    return {
        **{"title": f"Held-out {unit} over epochs", "selects": selects, "looks": looks},
        **{"legend": [_key(name, place) for place, name in enumerate(names)], "path": "tables/training.csv"},
        "caption": f"Held-out {unit} of each training.",
        **_drawn(maturity_chart, _first(rows, selects), looks, "name", f"Held-out {unit} over epochs"),
    }


def _overlap(results: Results, rows: pd.DataFrame) -> dict[str, Any]:
    names = [*dict.fromkeys(rows["name"])]
    looks = _looks(names)
    selects = _selects(results, rows, {"model": "Model", "detector": "Detector", "b": "b"})
    return {
        **{"title": "AUROC against overlap", "selects": selects, "looks": looks, "path": "tables/overlap.csv"},
        "legend": [_key(name, place) for place, name in enumerate(names)],
        "caption": "AUROC against the overlap coefficient of the log-likelihoods, means over seeds.",
        **_drawn(charts.overlap_chart, _first(rows, selects), looks, "name", "AUROC against overlap"),
    }


def _cost(results: Results, rows: pd.DataFrame) -> dict[str, Any]:
    looks = _looks(_detectors(results))
    selects = _selects(results, rows, {"model": "Model", "b": "b"})
    keys = [_key(name, place) for place, name in enumerate(_detectors(results)) if name in {*rows["name"]}]
    return {
        **{"title": "Mean AUROC against seconds", "selects": selects, "looks": looks, "legend": keys},
        "path": "tables/detectors.csv",
        "caption": f"Mean AUROC over all pairs against the seconds of training and of scoring 10,000 "
        f"{results.settings.data.samples}, as measured; a line a detector, from epoch to epoch.",
        **_drawn(charts.cost_chart, _first(rows, selects), looks, "name", "Mean AUROC against seconds"),
    }


def _layers(results: Results, rows: pd.DataFrame) -> dict[str, Any]:
    selects = _selects(results, rows, {"pair": "Pair", "b": "b", "model": "Model"})
    return {
        **{"title": "AUROC of every layer by epoch", "selects": selects, "looks": None, "legend": [], "still": ""},
        "path": f"tables/layers_{next(iter(results.tables.layers))}.csv",
        "caption": "AUROC of each layer alone, in the order of the network, means over seeds.",
        "spec": charts.spec(charts.layer_chart()),
    }


def _looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: charts.look_of(place) for place, name in enumerate(names)}


def _drawn(make: Any, rows: pd.DataFrame, looks: Mapping[str, Any], name: str, title: str) -> dict[str, Any]:
    """The specification of a chart, and its picture with the rows of the first choice."""
    looked = rows.assign(**{key: [looks[each][key] for each in rows[name]] for key in ("colour", "dash", "shape")})
    return {"spec": charts.spec(make()), "still": charts.still(make(looked), make.__name__, title)}


Select = tuple[str, str, list[tuple[str, str]]]


def _selects(results: Results, rows: pd.DataFrame, labels: Mapping[str, str]) -> list[Select]:
    """(label, column, options as value and text) of each column that is chosen by, the headline's first."""
    headline = results.headlines[0]
    found, first = choices(rows, [*labels]), {"model": headline.model, "detector": headline.detector}
    return [(label, name, _options(name, found[name], first.get(name))) for name, label in labels.items()]


def _options(name: str, values: Sequence[Any], first: str | None) -> list[tuple[str, str]]:
    said = {EVERY_SEED: "all together"} if name == "seed" else {}
    texts = [(str(value), said.get(str(value), str(value))) for value in values]
    named = [(value, readable(text) if name == "detector" else text) for value, text in texts]
    return sorted(named, key=lambda option: option[0] != first)


def _first(rows: pd.DataFrame, selects: Sequence[Select]) -> pd.DataFrame:
    """The rows of the first option of every select."""
    for _, name, options in selects:
        rows = rows[rows[name].astype(str) == options[0][0]]
    return rows


def _scores_form(results: Results, kept: Sequence[View]) -> dict[str, Any]:
    """The controls of the histograms; a pair has its place in `pairs` as its value."""
    columns = ["model", "detector", "b", "epoch"]
    frame = pd.DataFrame([(one.model, one.detector, one.batch_size, one.epoch) for one in kept], columns=columns)
    others = _selects(results, frame, {"model": "Model", "detector": "Detector", "b": "b"})
    epochs = choices(frame.sort_values("epoch", kind="stable"), ["epoch"])["epoch"]
    epoch = ("Epoch", "epoch", _options("epoch", epochs, str(_missed(results).epoch)))
    named = [(str(place), " → ".join(pair)) for place, pair in enumerate(_pairs(results))]
    selects = [("Pair", "pair", named), *others, epoch]
    return {"title": "Histogram of scores", "selects": selects}


def _pairs(results: Results) -> list[tuple[str, str]]:
    return [*results.pairs[[*PAIR]].drop_duplicates().itertuples(index=False, name=None)]


def _data(
    results: Results,
    drawn: Mapping[str, dict[str, Any]],
    tables: Mapping[str, pd.DataFrame],
    kept: Sequence[View],
    galleries: Mapping[str, Gallery],
) -> dict[str, Any]:
    """All that the script of the page reads."""
    groupings = {name: each.groups(results.settings.batch_sizes) for name, each in results.test.items()}
    numbers = _numbers(galleries)
    return {
        "tables": {name: packed(rows, DIGITS[name]) for name, rows in tables.items()},
        "charts": {name: chart["spec"] for name, chart in drawn.items()},
        "looks": {name: chart["looks"] for name, chart in drawn.items() if chart["looks"]},
        "looked": LOOKED,
        **{"bins": BINS, "columns": COLUMNS, "pairs": _pairs(results)},
        "views": [_packed_view(view) for view in kept],
        "groups": {
            name: {b: grouping.images(b).ravel().tolist() for b in results.settings.batch_sizes}
            for name, grouping in groupings.items()
        },
        "galleries": {
            name: {"number": numbers[name], "cells": {str(image): cell for image, cell in each.places.items()}}
            | ({"texts": each.texts} if each.texts else {})
            for name, each in galleries.items()
        },
    }


def _packed_view(view: View) -> dict[str, Any]:
    return {
        **{
            "pair": [view.id_dataset, view.ood_dataset],
            "model": view.model,
            "detector": view.detector,
            "b": view.batch_size,
        },
        **{"epoch": view.epoch, "threshold": _short(view.threshold), "edges": [_short(edge) for edge in view.edges]},
        "words": dict(view.words),
    }


def _short(value: float) -> float | None:
    """Five digits; None for what is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


# Tables and figures ---------------------------------------------------------------------------------------------------

Table = tuple[list[str], list[list[str]], list[int]]  # header, rows, which columns are numbers


def _tables(results: Results) -> dict[str, Any]:
    claim = pd.DataFrame(words.claim_rows(results))
    given = results.provenance
    return {
        "claim_table": _shown(claim),
        "datasets": _shown(results.tables.datasets[[name for name in OF_A_SET if name in results.tables.datasets]]),
        "published": _shown(results.tables.published),
        "states": _shown(_states(results)),
        "correlation": _shown(_correlation(results)),
        "detector_costs": _shown(_detector_costs(results)),
        "provenance": (["", ""], [[name, str(value)] for name, value in given.items() if isinstance(value, str)], []),
        "study_json": json.dumps(given.get("study", {}), indent=1, sort_keys=True, ensure_ascii=False),
    }


def _shown(table: pd.DataFrame | None) -> Table:
    """A table as text, at most MOST_SHOWN rows, numbers with three digits."""
    if table is None or table.empty:
        return [], [], []
    numbers = [place for place, name in enumerate(table) if pd.api.types.is_numeric_dtype(table[name])]
    rows = [[_cell(value) for value in row] for row in table[:MOST_SHOWN].itertuples(index=False, name=None)]
    return [readable(str(name)) for name in table], rows, numbers


def _cell(value: Any) -> str:
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e15
        return "–" if math.isnan(value) else f"{value:,.0f}" if whole else f"{value:.3f}".replace("-", "−")
    return str(value)


def _score(value: float) -> str:
    return f"{value:.4g}".replace("-", "−").replace("inf", "∞")


def _states(results: Results) -> pd.DataFrame:
    rows = maturity_rows(results)
    kept = rows[rows["state"] != ""]
    return kept.rename(
        columns={"name": "ID", "bits": f"held-out {results.settings.data.unit}", "excess": "above the minimum"}
    )


def _correlation(results: Results) -> pd.DataFrame | None:
    """Of the data-driven bandwidth, over all pairs and within them; bounds where there are any."""
    table = results.tables.correlation
    if table is None:
        return None
    rows = table[(table["scope"] != "one pair") & (table["bandwidth"] == BANDWIDTH)]
    columns = [
        *("model", "detector", "batch_size", "scope", "pairs"),
        *(f"correlation{end}" for end in ("", "_low", "_high")),
    ]
    kept = rows[columns].dropna(axis="columns", how="all").rename(columns={"batch_size": "b"})
    return kept.assign(detector=kept["detector"].map(readable))


def _detector_costs(results: Results) -> pd.DataFrame:
    table = results.tables.detectors
    rows = table[(table["over"] == ALL) & (table["epoch"] == table["epoch"].max())]
    seconds = ("train_seconds", "feature_seconds", "score_seconds")
    times = {name.replace("_seconds", ""): [_time(value) for value in rows[name]] for name in seconds}
    kept = rows[["model", "detector", "batch_size", "epoch", "pairs", "auroc", "rank", "fpr95"]]
    kept = kept.assign(detector=kept["detector"].map(readable), **times).sort_values(
        ["batch_size", "rank"], kind="stable"
    )
    named = {"train": "training", "feature": "features of 1,000", "score": "scores of 1,000", "batch_size": "b"}
    return kept.rename(columns=named)


def _time(seconds: float) -> str:
    if 0 < seconds < 0.01:
        return "< 0.01 s"
    return "–" if math.isnan(seconds) else duration(seconds)


def _layers_note(results: Results, rows: pd.DataFrame | None) -> str:
    if rows is None:
        return ""
    maps = ["pair", "model", "b"]
    asked = sum(
        len(table[[*PAIR, "model", "batch_size"]].drop_duplicates()) for table in results.tables.layers.values()
    )
    calibrated = sum((table[PAIR[0]] == table[PAIR[1]]).any() for table in results.tables.layers.values())
    return "" if calibrated else _kept_note(len(rows[maps].drop_duplicates()), asked, "maps")


def _kept_note(kept: int, asked: int, what: str) -> str:
    return "" if kept == asked else f"{kept} of {asked} {what} are here, to keep the page small."


@dataclass(frozen=True)
class _Figure:
    """A figure in the page: what it shows in words, and where it lies."""

    uri: str
    alt: str
    path: str
    width: int
    height: int


def _figures(results: Results) -> tuple[dict[str, list[_Figure]], list[str]]:
    """By section, the figures there are, as long as there is room, and the paths of the others."""
    found: dict[str, list[_Figure]] = {"auroc": [], "scores": [], "layers": [], "samples": []}
    left, room = [], FIGURES
    for section, path, alt in _wanted(results):
        if path in results.figures:
            figure = _figure(results.figures[path], path, alt)
            room -= len(figure.uri)
            if room >= 0:
                found[section].append(figure)
            else:
                left.append(path)
    return found, left


def _figure(file: Path, path: str, alt: str) -> _Figure:
    with Image.open(file, formats=("PNG",)) as opened:
        width, height = opened.size
    return _Figure(figure_uri(file), alt, path, width // SHRUNK, height // SHRUNK)


def _wanted(results: Results) -> Iterable[tuple[str, str, str]]:
    """(section, path below the results, what it shows) of the figures to show, those that matter most first."""
    headline, samples = results.headlines[0], results.settings.data.samples
    model, detector, b = headline.model, headline.detector, headline.batch_size
    sets = [*dict.fromkeys(results.tables.auroc[PAIR[0]])]
    yield "auroc", f"plots/{model}/headline.png", f"AUROC against epoch, a panel a pair, {model}"
    yield "auroc", f"plots/{model}/auroc_by_excess.png", f"AUROC against the distance to the minimum, {model}"
    yield "auroc", "plots/models_by_excess.png", "AUROC against the distance to the minimum, models side by side"
    yield "samples", "plots/datasets.png", f"{samples.capitalize()} of every data set"
    for name in sets:
        yield "samples", f"plots/{model}/samples_{name}.png", f"Drawn from {model} trained on {name}, epoch by epoch"
    for name in sets:
        title = f"Scores by {readable(detector)} of {model}, ID {name}, b = {b}"
        yield "scores", f"plots/{model}/scores_{name}_{detector}_b={b}.png", title
        yield "layers", f"plots/{model}/layers_{name}_b={b}.png", f"AUROC of every layer of {model}, ID {name}, b = {b}"
