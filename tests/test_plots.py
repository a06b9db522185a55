"""The figures: what they draw is what the tables hold, for usual and for awkward tables."""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import zlib

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from immature_ood import plots, registry
from immature_ood.false_alarms import OUT_OF_REACH, WITHIN
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.overlap import correlation_table
from immature_ood.plots.style import looks_of
from immature_ood.storage import StorageError
from immature_ood.study import EvaluationConfig

EPOCHS = (0, 1, 2, 4, 8, 16)
DETECTORS = ("gradient_norms", "likelihood", "typicality")
DATASETS = ("digits", "photos", "glyphs")


def auroc_table(
    id_datasets=DATASETS, ood_datasets=DATASETS, epochs=EPOCHS, seeds=(0,), batch_sizes=(1, 5), detectors=DETECTORS
):
    """A table like the study's: AUROCs at 1, below chance and between; intervals wider for b = 5; calibration."""
    generator = np.random.default_rng(0)
    rows = []
    for case in itertools.product(id_datasets, ood_datasets, seeds, epochs, batch_sizes, detectors):
        id_dataset, ood_dataset, seed, epoch, b, detector = case
        pinned = detector == "gradient_norms" and b == 5 and ood_dataset == "photos"
        level = {"gradient_norms": 0.93, "likelihood": 0.3, "typicality": 0.7}.get(detector, 0.55)
        drift = 0.06 * np.log1p(epoch) * (-1 if detector == "typicality" else 1)
        auroc = 1.0 if pinned else float(np.clip(level - 0.15 + drift + 0.02 * generator.normal(), 0, 1))
        half = 0.0 if pinned else 0.02 * np.sqrt(b)
        measures = {
            f"{name}{end}": float(np.clip(auroc + sign * half, 0, 1))
            for name in ("auroc", "aupr", "fpr95")
            for end, sign in (("", 0), ("_low", -1), ("_high", 1))
        }
        rows.append(
            {"id_dataset": id_dataset, "ood_dataset": ood_dataset, "model": "glow", "seed": seed, "epoch": epoch}
            | {
                "batch_size": b,
                "detector": detector,
                **measures,
                "bits_per_dim": 4.0,
                "excess_bits_per_dim": 3.0 / (1 + epoch),
                "maturity": "immature",
                "dead_layers": 2,
            }
            | {"images_seen": 3000 * epoch, "train_seconds": epoch * 14.3 + seed}
        )
    return pd.DataFrame(rows)


def means_of(table, seeds=1):
    """Means over pairs as means.csv has them, with an interval that nothing else draws, and rows over some pairs."""
    rows = table[table["id_dataset"] != table["ood_dataset"]]
    means = rows.groupby(["model", "detector", "batch_size", "epoch"])["auroc"].mean().reset_index()
    means = means.assign(over="all", pairs=len(rows[["id_dataset", "ood_dataset"]].drop_duplicates()), seeds=seeds)
    means = means.assign(auroc_pairs_low=means["auroc"] - 0.031, auroc_pairs_high=means["auroc"] + 0.017)
    return pd.concat([means, means.assign(over="unsolved", auroc=0.123)])


def headline(table, controls=()):
    return plots.headline(table, means_of(table), controls)


CONTROLS = ("image_statistics", "pixel_knn")


def models_table():
    """Rows of two models, of which one has a detector more."""
    others = auroc_table(detectors=("gradient_norms", "likelihood"), seeds=(0, 1))
    return pd.concat([auroc_table(), others.assign(model="vae", excess_bits_per_dim=others["epoch"] / 10)])


def detector_rows(detectors=24, epochs=EPOCHS, batch_sizes=(1, 5), overs=("all", "unsolved"), controls=1):
    """A table like detectors.csv: the paper's score, controls, and many others that are mostly behind."""
    generator = np.random.default_rng(2)
    names = ["gradient_norms", *(f"control_{i}" for i in range(controls)), *(f"other_{i}" for i in range(detectors))]
    rows = []
    for case in itertools.product(names, batch_sizes, epochs, overs):
        name, b, epoch, over = case
        control = name.startswith("control")
        level = (0.8 if control else 0.7) + (0.0 if control else 0.2 * generator.random())
        rows.append(
            {"model": "glow", "detector": name, "batch_size": b, "epoch": epoch, "over": over, "pairs": 6}
            | {"control": "yes" if control else "no", "auroc": level - 0.1 * (over != "all")}
            | {"reference": "gradient_norms", "train_seconds": 0.0 if control else 14.0 * epoch}
            | {"feature_seconds": 0.0 if control else 3.0, "score_seconds": 0.01 + 0.1 * generator.random()}
            | {"loop_seconds": np.nan if control else 20.0}
        )
    return pd.DataFrame(rows)


def epoch_choices(rules=("always", "at_random", "lowest_bits_per_dim"), overs=("all", "unsolved"), detectors=DETECTORS):
    """A table like epoch_choice.csv; at b = 5 without intervals."""
    generator = np.random.default_rng(3)
    rows = []
    for detector, b, over, rule in itertools.product(detectors, (1, 5), overs, rules):
        regret, reach = generator.normal(0.05, 0.03), 0.02 if b == 1 else np.nan
        rows.append(
            {"model": "glow", "detector": detector, "batch_size": b, "over": over, "rule": rule, "regret": regret}
            | {"regret_pairs_low": regret - reach, "regret_pairs_high": regret + reach}
        )
    return pd.DataFrame(rows)


def training_log(id_datasets=DATASETS, last=16, seeds=(0,), kept=EPOCHS):
    """A training log: bits/dim falling, the fit set's rising again late; no training value at epoch 0."""
    rows = [
        {"id_dataset": name, "model": "glow", "seed": seed, "epoch": epoch, "images_per_second": 210.0}
        | {"train_bits_per_dim": (2 + i + 4 / (1 + epoch) + 0.05 * seed) if epoch else np.nan}
        | {"fit_bits_per_dim": 2.1 + i + 4 / (1 + epoch) + 0.02 * epoch + 0.05 * seed}
        for i, name in enumerate(id_datasets)
        for seed in seeds
        for epoch in range(last + 1)
    ]
    table = pd.DataFrame(rows)
    return table.assign(maturity=np.where(table["epoch"].isin(kept), "immature", ""))


def score_sets(epochs=EPOCHS, ood_datasets=("photos", "glyphs")):
    """Scores with tails of six decades, some infinite."""
    generator = np.random.default_rng(1)
    sets = {}
    for epoch in epochs:
        test = generator.lognormal(3, 1 + 0.1 * epoch, 500)
        test[0] = np.inf
        sets[epoch] = test, {}
        for i, name in enumerate(ood_datasets):
            sets[epoch][1][name] = generator.lognormal(4 + 2 * i + 0.3 * epoch, 1.2, 500)
            sets[epoch][1][name][: 5 * epoch * i] = np.inf
    return sets


def glow_layers(blocks=2, steps=4):
    """Layer names of a Glow, 14 a step."""
    parts = ("actnorm.bias", "actnorm.log_scale", "mixing.lower", "mixing.upper", "mixing.log_diagonal")
    coupling = [
        f"coupling.{part}.{kind}" for part in ("first", "second", "last") for kind in ("weight", "bias", "scale")
    ]
    names = [
        f"blocks.{block}.steps.{step}.{part}"
        for block in range(blocks)
        for step in range(steps)
        for part in (*parts, *coupling)
    ]
    return [
        *names,
        *(f"blocks.{block}.split.{kind}" for block in range(blocks - 1) for kind in ("weight", "bias")),
        "prior.mean",
        "prior.log_scale",
    ]


def overlap_tables(*args, **kwargs):
    """Overlaps that fall as AUROC rises, the table of AUROCs, and their correlations."""
    auroc = auroc_table(*args, **kwargs)
    keys = ["id_dataset", "ood_dataset", "model", "seed", "epoch"]
    mean = auroc.query("id_dataset != ood_dataset").groupby(keys)["auroc"].mean().reset_index()
    overlap = mean.assign(overlap=1 - mean["auroc"], bandwidth="scott").drop(columns="auroc")
    return overlap, auroc, correlation_table(overlap, auroc, EvaluationConfig())


def dials(
    names=("patch_shuffle", "blur", "grey_levels"),
    amounts=(0.25, 0.5, 1),
    epochs=EPOCHS,
    seeds=(0,),
    detectors=DETECTORS,
):
    """AUROC by dial and amount; likelihood has no row of epoch 0."""
    generator = np.random.default_rng(0)
    cells = itertools.product(names, amounts, epochs, seeds, (1, 5), detectors)
    columns = ["dial", "amount", "epoch", "seed", "batch_size", "detector"]
    table = pd.DataFrame(cells, columns=columns).assign(id_dataset="digits", model="glow")
    table["auroc"] = generator.uniform(size=len(table))
    return table[(table["detector"] != "likelihood") | (table["epoch"] > 0) | (len(epochs) == 1)]


def layer_table(layers, id_datasets=("digits",), ood_datasets=("photos", "glyphs"), epochs=EPOCHS, seeds=(0,)):
    """AUROC by layer; every seventh layer is dead before training."""
    generator = np.random.default_rng(2)
    rows = [
        {"id_dataset": a, "ood_dataset": o, "model": "glow", "seed": s, "epoch": e, "batch_size": b, "layer": layer}
        | {
            "auroc": np.nan
            if e == 0 and k % 7 == 0
            else float(np.clip(generator.normal(0.4 + k / len(layers) / 2, 0.1), 0, 1))
        }
        for a, o, s, e, b in itertools.product(id_datasets, ood_datasets, seeds, epochs, (1, 5))
        for k, layer in enumerate(layers)
    ]
    return pd.DataFrame(rows)


def false_alarm_rows(id_datasets=DATASETS, seeds=(0, 1), detectors=DETECTORS, levels=(0.01, 0.05), epochs=EPOCHS):
    """A table like false_alarms.csv: about the level, more by fit images; out of reach of b = 5 at the lowest level."""
    generator = np.random.default_rng(1)
    rows = []
    for case in itertools.product(id_datasets, seeds, epochs, (1, 5), detectors, levels):
        own, seed, epoch, b, detector, level = case
        verdict = OUT_OF_REACH if (b, level) == (5, 0.01) else WITHIN
        rate = 0.0 if verdict == OUT_OF_REACH else level * (0.7 + 0.6 * generator.random())
        setting = {"id_dataset": own, "model": "glow", "seed": seed, "epoch": epoch, "batch_size": b}
        found = {"alarms": rate, "likely_rate": 1.5 * level, "verdict": verdict, "alarms_of_fit_images": 2 * rate}
        named = {"detector": detector, "level": level}
        rows += [{**setting, "ood_dataset": own, **named, **found}, {**setting, "ood_dataset": "x", **named, **found}]
    return pd.DataFrame(rows)


def drift_rows(drifts=("darken", "blur"), seeds=(0, 1), detectors=DETECTORS, stages=3, epochs=EPOCHS):
    """A table like drift.csv: false alarms that grow from stage to stage, without and with OOD images."""
    generator = np.random.default_rng(2)
    rows = []
    for case in itertools.product(drifts, ("digits", "x"), seeds, epochs, (1, 5), detectors, range(stages)):
        name, other, seed, epoch, b, detector, stage = case
        setting = {"id_dataset": "digits", "ood_dataset": other, "model": "glow", "seed": seed, "epoch": epoch}
        alarms = min(1.0, 0.05 + stage * generator.random() / 2)
        found = {"batch_size": b, "detector": detector, "stage": stage, "false_alarms_5": alarms}
        rows.append({"drift": name, **setting, **found})
    return pd.DataFrame(rows)


def random_images(count=20, channels=1, side=28):
    return np.random.default_rng(3).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def kind_of(images):
    return ImageConfig(channels=images.shape[1], side=images.shape[2])


def samples(training, drawn, id_dataset):
    return plots.samples(kind_of(training), training, drawn, id_dataset)


def dataset_samples(images):
    return plots.dataset_samples(kind_of(next(iter(images.values()))), images)


def line_of(axes, label):
    """The one line of that label, as (x, y)."""
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def rows_of(table, **wanted):
    return table[np.logical_and.reduce([table[column] == value for column, value in wanted.items()])]


def panel_titled(figure, text):
    (axes,) = [axes for axes in figure.axes if axes.get_title() == text]
    return axes


def saved(figure, tmp_path, suffix=".svg"):
    path = tmp_path / f"figure{suffix}"
    plots.save(figure, path)
    return path.read_bytes()


FIVE = ("svhn", "celeba", "gtsrb", "cifar10", "imagenet32")
LATE = (1, 10, 50, 100, 150, 250)
FIGURES = {
    "epochs": lambda: plots.auroc_by_epoch(auroc_table(), "digits"),
    "epochs, one OOD set": lambda: plots.auroc_by_epoch(auroc_table(ood_datasets=("photos",)), "digits"),
    "epochs, no intervals": lambda: plots.auroc_by_epoch(
        auroc_table(("digits",)).assign(auroc_low=np.nan, auroc_high=np.nan), "digits"
    ),
    "epochs, one checkpoint, one b": lambda: plots.auroc_by_epoch(auroc_table(epochs=(4,), batch_sizes=(5,)), "digits"),
    "epochs, four OOD sets, three seeds, more detectors": lambda: plots.auroc_by_epoch(
        auroc_table(("svhn",), FIVE, LATE, (0, 1, 2), detectors=(*DETECTORS, "waic", "complexity")), "svhn"
    ),
    "cost": lambda: plots.auroc_by_cost(auroc_table(), "digits"),
    "cost, four OOD sets": lambda: plots.auroc_by_cost(auroc_table(("svhn",), FIVE, (0, *LATE)), "svhn"),
    "cost, untrained only": lambda: plots.auroc_by_cost(auroc_table(epochs=(0,)), "digits"),
    "headline": lambda: headline(auroc_table()),
    "headline, six detectors and two controls": lambda: headline(
        auroc_table(FIVE[:4], FIVE[:4], LATE, (0, 1), detectors=(*DETECTORS, "a", "b", "c", *CONTROLS)), CONTROLS
    ),
    "headline, too many pairs for panels": lambda: headline(auroc_table(DATASETS, [f"set_{i}" for i in range(20)])),
    "headline, one ID set": lambda: headline(auroc_table(("digits",), [f"set_{i}" for i in range(9)])),
    "headline, one pair": lambda: headline(auroc_table(("digits",), ("photos",), epochs=(0,), batch_sizes=(1,))),
    "headline, without gradient norms": lambda: headline(auroc_table(detectors=("likelihood",))),
    "total cost": lambda: plots.auroc_by_total_cost(detector_rows()),
    "total cost, one detector": lambda: plots.auroc_by_total_cost(detector_rows(0, (4,), (1,), ("all",), controls=0)),
    "total cost, other pairs at one b": lambda: plots.auroc_by_total_cost(
        detector_rows().query("batch_size == 5 or over == 'all'")
    ),
    "regret": lambda: plots.regret_by_rule(epoch_choices()),
    "regret, one rule": lambda: plots.regret_by_rule(epoch_choices(("always",), ("all",), ("likelihood",))),
    "regret, many rules": lambda: plots.regret_by_rule(epoch_choices([f"a_rule_of_the_number_{i}" for i in range(14)])),
    "headline, 20 pairs": lambda: headline(auroc_table(FIVE, FIVE, LATE)),
    "histograms": lambda: plots.score_histograms(score_sets(), "digits", "gradient_norms", 5),
    "histograms, one panel": lambda: plots.score_histograms(score_sets((8,), ("photos",)), "digits", "typicality", 1),
    "bits": lambda: plots.bits_per_dim_by_epoch(training_log()),
    "bits, five ID sets, three seeds": lambda: plots.bits_per_dim_by_epoch(
        training_log(FIVE, 250, (0, 1, 2), (0, *LATE))
    ),
    "bits, with a spike": lambda: plots.bits_per_dim_by_epoch(spiked(training_log(), "photos", 8, 0)),
    "bits, untrained only": lambda: plots.bits_per_dim_by_epoch(training_log(("digits",), 0)),
    "maturity": lambda: plots.auroc_by_excess(auroc_table(seeds=(0, 1))),
    "maturity, one pair, untrained only": lambda: plots.auroc_by_excess(
        auroc_table(("digits",), ("photos",), (0,), batch_sizes=(1,), detectors=("likelihood",))
    ),
    "maturity, past the lowest": lambda: plots.auroc_by_excess(
        auroc_table().assign(excess_bits_per_dim=lambda table: (table["epoch"] - 4).abs() / 8)
    ),
    "maturity, 20 pairs": lambda: plots.auroc_by_excess(auroc_table(FIVE, FIVE, LATE)),
    "maturity, models": lambda: plots.models_by_excess(models_table()),
    "drift": lambda: plots.drift(drift_rows(), 1),
    "drift, one curve": lambda: plots.drift(drift_rows(("darken",), (0,), ("likelihood",), 1, (4,)), 5),
    "false alarms": lambda: plots.false_alarms(false_alarm_rows()),
    "false alarms, one curve": lambda: plots.false_alarms(
        false_alarm_rows(("digits",), (0,), ("likelihood",), (0.05,), (4,)).query("batch_size == 1")
    ),
    "layers": lambda: plots.layer_heat_map(layer_table(glow_layers()), "digits", 5),
    "layers, few": lambda: plots.layer_heat_map(layer_table(glow_layers()[:9], seeds=(0, 1)), "digits", 1, "photos"),
    "layers, one cell": lambda: plots.layer_heat_map(layer_table(["prior"], epochs=(0,)), "digits", 5, "glyphs"),
    "layers, as many as the paper's": lambda: plots.layer_heat_map(
        layer_table(glow_layers(3, 32), ood_datasets=FIVE[:4], epochs=(0, 1)), "digits", 5
    ),
    "dials": lambda: plots.dial_heat_map(dials(), "digits", 5),
    "dials, one cell": lambda: plots.dial_heat_map(
        dials(amounts=(0.5,), names=("blur",), epochs=(0,), detectors=("likelihood",)), "digits", 1
    ),
    "dials, many epochs": lambda: plots.dial_heat_map(dials(epochs=range(12), seeds=(0, 1)), "digits", 5),
    "overlap": lambda: plots.overlap_and_auroc(*overlap_tables()),
    "overlap, one pair, one detector": lambda: plots.overlap_and_auroc(
        *overlap_tables(("digits",), ("photos",), batch_sizes=(1,), detectors=("likelihood",))
    ),
    "overlap, 20 pairs": lambda: plots.overlap_and_auroc(*overlap_tables(FIVE, FIVE, LATE)),
    "samples": lambda: samples(random_images(), {epoch: random_images(16) for epoch in EPOCHS}, "digits"),
    "samples, RGB, few": lambda: samples(random_images(9, 3, 32), {4: random_images(2, 3, 32)}, "digits"),
    "data sets": lambda: dataset_samples({name: random_images() for name in DATASETS}),
}


@pytest.fixture(scope="module", params=FIGURES)
def words(request):
    """What can be read in a figure, each with its (left, bottom, right, top), and the size of the figure in pixels."""
    figure = FIGURES[request.param]()
    assert isinstance(figure, Figure)
    unseen = [
        axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if not (axes.axison and axis.get_visible())
    ]
    hidden = {text for axis in unseen for text in axis.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in hidden]
    boxes = np.array([text.get_window_extent().extents for text in texts])
    return [text.get_text() for text in texts], boxes, figure.bbox.size


def test_no_words_are_cut_off_at_the_edges_of_the_figure(words):
    texts, boxes, size = words
    cut = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > size).any(axis=1)
    assert not [texts[i] for i in np.flatnonzero(cut)]


def test_no_words_run_into_one_another(words):
    texts, boxes, _ = words
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    clash = (high - low > 1).all(axis=2)  # pixels
    assert not [(texts[i], texts[j]) for i, j in np.argwhere(np.triu(clash, 1))]


@pytest.mark.parametrize(("draw", "x"), [(plots.auroc_by_epoch, "epoch"), (plots.auroc_by_cost, "images_seen")])
def test_a_curve_is_the_tables_column_and_its_band_the_interval(draw, x):
    shuffled = auroc_table().sample(frac=1, random_state=0)
    table = pd.concat(
        [rows_of(shuffled, batch_size=b, ood_dataset=ood) for b in (1, 5) for ood in ("photos", "glyphs")]
    )
    axes = draw(table, "digits").axes  # (1, photos), (1, glyphs), (5, photos), (5, glyphs)
    cases = itertools.product((1, 5), ("photos", "glyphs"))
    for (panel, (b, ood)), detector in itertools.product(zip(axes, cases, strict=False), DETECTORS):
        rows = rows_of(table, id_dataset="digits", ood_dataset=ood, batch_size=b, detector=detector)
        rows = rows.sort_values("epoch")
        xs, ys = line_of(panel, detector)
        np.testing.assert_array_equal(xs, rows[x])
        np.testing.assert_array_equal(ys, rows["auroc"])
        corners = {tuple(corner) for corner in band_of(panel, looks_of([detector])[detector].colour)}
        bounds = [*zip(rows[x], rows["auroc_low"], strict=True), *zip(rows[x], rows["auroc_high"], strict=True)]
        assert {*bounds} <= corners


def band_of(axes, colour):
    """The corners of the one area filled with that colour."""
    wanted = matplotlib.colors.to_rgb(colour)
    (area,) = [area for area in axes.collections if tuple(area.get_facecolor()[0, :3]) == wanted]
    return np.concatenate([path.vertices for path in area.get_paths()] or [np.empty((0, 2))])


@pytest.mark.parametrize("without", [EPOCHS, (1, 4)], ids=["none", "some"])
@pytest.mark.parametrize("draw", [plots.auroc_by_epoch, plots.auroc_by_cost])
def test_what_has_no_interval_is_a_curve_without_a_band(draw, without):
    table = auroc_table(("digits",), ("glyphs",), batch_sizes=(1,))
    bounds = ["auroc_low", "auroc_high"]
    table.loc[table["epoch"].isin(without), bounds] = np.nan
    panel = draw(table, "digits").axes[0]
    for detector in DETECTORS:
        rows = rows_of(table, detector=detector)
        np.testing.assert_array_equal(line_of(panel, detector)[1], rows["auroc"])
        corners = band_of(panel, looks_of([detector])[detector].colour)
        drawn = corners[np.isfinite(corners).all(axis=1)][:, 1]
        assert {*np.round(drawn, 9)} == {*np.round(rows[bounds].stack().dropna(), 9)}


def test_several_seeds_are_a_mean_with_a_band_from_the_lowest_to_the_highest():
    table = auroc_table(seeds=(3, 4, 5), batch_sizes=(1,), ood_datasets=("glyphs",))
    figure = plots.auroc_by_epoch(table, "digits")
    of_epoch = rows_of(table, id_dataset="digits", detector="likelihood").groupby("epoch")["auroc"]
    np.testing.assert_allclose(line_of(figure.axes[0], "likelihood")[1], of_epoch.mean())
    corners = {tuple(corner) for corner in band_of(figure.axes[0], looks_of(["likelihood"])["likelihood"].colour)}
    assert {*of_epoch.min().items(), *of_epoch.max().items()} <= corners
    assert "lowest to highest of 3 seeds" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_mean_is_missing_where_a_seed_is():
    table = auroc_table(("digits",), ("glyphs",), seeds=(0, 1), batch_sizes=(1,))
    partial = table[(table["seed"] == 0) | (table["epoch"] != 4)]
    mean = line_of(plots.auroc_by_epoch(partial, "digits").axes[0], "likelihood")[1]
    np.testing.assert_array_equal(np.isnan(mean), [epoch == 4 for epoch in EPOCHS])


@pytest.mark.parametrize("epochs", [EPOCHS, (1, 2)])
def test_the_untrained_control_is_hollow_and_explained(epochs):
    figure = plots.auroc_by_epoch(auroc_table(epochs=epochs), "digits")
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert {x for line in hollow for x in line.get_xdata()} == {0} & {*epochs}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert ("untrained" in legend) == (0 in epochs)


def test_cost_tells_the_time_above():
    figure = plots.auroc_by_cost(auroc_table(), "digits")
    above = figure.axes[4].get_xticklabels()
    assert [label.get_text() for label in above] == ["0", "14 s", "29 s", "57 s", "1.9 min", "3.8 min"]


@pytest.mark.parametrize(
    "draw", [headline, lambda t: plots.auroc_by_epoch(t, "digits"), lambda t: plots.auroc_by_cost(t, "digits")]
)
def test_calibration_rows_are_not_drawn(draw, tmp_path):
    table = auroc_table(DATASETS[:2], DATASETS[:2], epochs=(0, 4), detectors=DETECTORS[:1])
    pairs = table[table["id_dataset"] != table["ood_dataset"]]
    assert len(pairs) < len(table)
    assert saved(draw(table), tmp_path) == saved(draw(pairs), tmp_path)


def test_headline_has_a_panel_a_pair_at_the_largest_b():
    table = auroc_table()
    figure = headline(table)
    pairs = [f"{a} → {b}" for a in DATASETS for b in DATASETS if a != b]
    means = ["b = 1, mean over 6 pairs", "b = 5, mean over 6 pairs"]
    assert sorted(filter(None, (axes.get_title() for axes in figure.axes))) == sorted([*pairs, *means])
    rows = rows_of(table, id_dataset="photos", ood_dataset="glyphs", batch_size=5)
    for detector in DETECTORS:
        drawn = line_of(panel_titled(figure, "photos → glyphs"), detector)[1]
        np.testing.assert_array_equal(drawn, rows_of(rows, detector=detector)["auroc"])


def bars_of(axes, detector):
    """The (x, low, high) of the vertical lines of a detector."""
    (lines,) = [each for each in axes.collections if each.get_label() == f"_{detector}"]
    return [(low[0], low[1], high[1]) for low, high in lines.get_segments()]


def test_the_panels_of_means_are_the_table_of_means_with_its_intervals():
    table = auroc_table(seeds=(0, 1))
    means = means_of(table, seeds=2)
    means.loc[1, ["auroc_pairs_low", "auroc_pairs_high"]] = 0, 1  # as wide as one of two seeds may be
    figure = plots.headline(table, means)
    for b, detector in itertools.product((1, 5), DETECTORS):
        panel = panel_titled(figure, f"b = {b}, mean over 6 pairs and 2 seeds")
        rows = rows_of(means, batch_size=b, detector=detector, over="all")
        xs, ys = line_of(panel, detector)
        np.testing.assert_array_equal(xs, EPOCHS)
        np.testing.assert_array_equal(ys, rows["auroc"])
        bounds = rows[["epoch", "auroc_pairs_low", "auroc_pairs_high"]]
        np.testing.assert_array_equal(bars_of(panel, detector), bounds)
        lowest, highest = panel.get_ylim()
        assert (bounds.iloc[:, 1:] > lowest).all(axis=None)
        assert (bounds.iloc[:, 1:] < highest).all(axis=None)


def test_the_best_control_is_a_line_with_its_interval_and_no_control_is_a_curve():
    table = auroc_table(detectors=(*DETECTORS, *CONTROLS))
    table.loc[table["detector"] == "image_statistics", "auroc"] = 0.8
    table.loc[table["detector"] == "pixel_knn", "auroc"] = 0.9
    figure = headline(table, CONTROLS)
    for heading, within in (("b = 1, mean over 6 pairs", (0.869, 0.917)), ("photos → glyphs", ())):
        panel = panel_titled(figure, heading)
        assert {*line_of(panel, "pixel_knn")[1]} == {0.9}
        assert "image_statistics" not in [line.get_label() for line in panel.get_lines()]
        ends = [end for area in panel.patches for end in (area.get_y(), area.get_y() + area.get_height())]
        np.testing.assert_allclose(ends, within)
    assert "best control: pixel knn" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_of_many_detectors_the_papers_and_the_best_others_are_drawn():
    table = auroc_table(detectors=(*DETECTORS, "a", "b", "c"))
    for name, auroc in {"a": 0.9, "b": 0.99, "c": 0.95}.items():
        table.loc[table["detector"] == name, "auroc"] = auroc
    drawn = [text.get_text() for text in headline(table).legends[0].get_texts()]
    assert drawn[:5] == ["gradient norms", "likelihood", "typicality", "b", "c"]
    assert "a" not in drawn


def test_the_images_seen_stand_above_the_epochs_where_all_trainings_saw_as_many():
    table = auroc_table()
    above = [axes for axes in headline(table).axes if axes.get_xlabel() == "training images seen"]
    assert [[label.get_text() for label in axes.get_xticklabels()] for axes in above] == [
        ["0", "3k", "6k", "12k", "24k", "48k"]
    ] * 2
    table.loc[table["id_dataset"] == "digits", "images_seen"] *= 2
    assert not [axes for axes in headline(table).axes if axes.get_xlabel()]


def test_regret_is_the_tables_filled_for_all_pairs_and_hollow_for_the_unsolved():
    table = epoch_choices()
    panel = panel_titled(plots.regret_by_rule(table), "likelihood, b = 1")
    left = panel_titled(plots.regret_by_rule(table), "gradient norms, b = 1")
    assert [label.get_text() for label in left.get_yticklabels()] == ["always", "at random", "lowest bits per dim"]
    for over in ("all", "unsolved"):
        rows = rows_of(table, detector="likelihood", batch_size=1, over=over)
        xs, ys = line_of(panel, over)
        np.testing.assert_array_equal(xs, rows["regret"])
        assert np.round(ys).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="no row with a regret"):
        plots.regret_by_rule(table.assign(regret=np.nan))


def test_a_table_with_gaps_is_drawn_with_gaps():
    table = auroc_table()
    table = table[(table["id_dataset"] != "digits") | (table["ood_dataset"] != "photos")]
    table = table[(table["id_dataset"] != "photos") | (table["detector"] != "typicality")]
    figure = headline(table)
    assert sum("→" in axes.get_title() for axes in figure.axes) == 5
    assert len(line_of(panel_titled(figure, "photos → glyphs"), "typicality")[0]) == 0


def test_undefined_aurocs_leave_a_gap():
    table = auroc_table(batch_sizes=(1,))
    columns = ["auroc", "auroc_low", "auroc_high"]
    table.loc[(table["epoch"] == 2) & (table["detector"] == "likelihood"), columns] = np.nan
    ys = line_of(plots.auroc_by_epoch(table, "digits").axes[0], "likelihood")[1]
    np.testing.assert_array_equal(np.isnan(ys), [epoch == 2 for epoch in EPOCHS])


@pytest.mark.parametrize(
    "draw",
    [
        headline,
        lambda table: plots.auroc_by_epoch(table, "digits"),
        lambda table: plots.auroc_by_cost(table, "digits"),
        plots.auroc_by_excess,
        lambda table: plots.layer_heat_map(table.assign(layer="prior"), "digits", 1),
    ],
)
def test_models_are_never_averaged(draw):
    table = auroc_table()
    with pytest.raises(ValueError, match="glow, deep: pass the rows of one"):
        draw(pd.concat([table, table.assign(model="deep")]))


def test_an_unknown_id_set_names_those_there_are():
    with pytest.raises(ValueError, match="'digit'; the table has: digits, photos, glyphs"):
        plots.auroc_by_epoch(auroc_table(), "digit")


def test_a_table_of_calibration_alone_cannot_be_drawn():
    with pytest.raises(ValueError, match="nothing to draw"):
        headline(auroc_table(("digits",), ("digits",)))


# Histograms ----------------------------------------------------------------------------------------------------------


def shares_of(axes):
    """The heights of (ID, OOD) bars and their common edges."""
    (ood, ident) = sorted((patch for patch in axes.patches), key=lambda patch: patch.get_fill())
    return ident.get_data().values, ood.get_data().values, ident.get_data().edges


def test_every_score_is_in_a_bar_or_counted_as_outside():
    scores = score_sets()
    panels = plots.score_histograms(scores, "digits", "gradient_norms", 5).axes
    for panel, (name, epoch) in zip(panels, itertools.product(("photos", "glyphs"), EPOCHS), strict=True):
        in_bars = [round(500 * shares.sum()) for shares in shares_of(panel)[:2]]
        note = "".join(text.get_text() for text in panel.texts)
        outside = {word: int(count) for count, word in re.findall(r"(\d+) (ID|OOD)", note)}
        assert in_bars == [500 - outside.get("ID", 0), 500 - outside.get("OOD", 0)]
        assert outside["ID"] >= 1
        assert outside.get("OOD", 0) >= np.isinf(scores[epoch][1][name]).sum()


def test_bars_count_scores_in_spreads_of_the_id_scores():
    test, ood = np.linspace(10, 14, 101), np.linspace(20, 40, 101)  # median 12, interquartile range 2
    panel = plots.score_histograms({1: (test, {"photos": ood})}, "digits", "likelihood", 1).axes[0]
    id_shares, ood_shares, edges = shares_of(panel)
    np.testing.assert_allclose(id_shares, np.histogram((test - 12) / 2, edges)[0] / 101)
    np.testing.assert_allclose(ood_shares, np.histogram((ood - 12) / 2, edges)[0] / 101)
    assert [text.get_text() for text in panel.texts if text.get_text()] == ["AUROC 1.000"]


@pytest.mark.parametrize(("drop_minimum", "auroc"), [(False, "AUROC 0.438"), (True, "AUROC 0.556")])
def test_each_histogram_says_the_auroc_of_its_scores(drop_minimum, auroc):
    test, ood = np.array([-5.0, 0, 1, 2]), np.array([-9.0, -6, 1.5, 3])
    figure = plots.score_histograms({1: (test, {"photos": ood})}, "digits", "likelihood", 1, drop_minimum)
    assert [text.get_text() for text in figure.axes[0].texts if "AUROC" in text.get_text()] == [auroc]


@pytest.mark.parametrize("name", ["test", "fit", "ID", "photos"])
def test_no_name_of_a_data_set_takes_the_place_of_the_id_scores(name):
    test, ood = np.linspace(0, 1, 50), np.linspace(5, 6, 50)
    panel = plots.score_histograms({1: (test, {name: ood})}, "digits", "likelihood", 1).axes[0]
    expected = plots.score_histograms({1: (test, {"other": ood})}, "digits", "likelihood", 1).axes[0]
    assert panel.get_ylabel() == f"OOD {name}"
    for got, right in zip(shares_of(panel), shares_of(expected), strict=True):
        np.testing.assert_array_equal(got, right)


def test_a_detector_that_does_not_score_a_model_is_said_in_its_figure():
    (axes,) = plots.score_histograms({}, "digits", "ratio", 5).axes
    (said,) = [text.get_text() for text in axes.texts]
    assert said.startswith("ID digits: no scores by ratio, b = 5\nIt needs what this model does not give,")


def test_histograms_are_ordered_by_epoch_and_share_their_axis():
    scores = score_sets((8, 0, 2))
    figure = plots.score_histograms(scores, "digits", "gradient_norms", 5)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["untrained", "epoch 2", "epoch 8"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


@pytest.mark.parametrize("test", [np.full(20, np.inf), np.zeros(20), np.full(20, np.nan)], ids=["inf", "equal", "nan"])
@pytest.mark.parametrize("ood", [np.full(20, np.inf), np.zeros(20), np.linspace(-1e12, 1e12, 20)])
def test_degenerate_scores_are_drawn_or_counted(test, ood):
    panel = plots.score_histograms({0: (test, {"photos": ood})}, "digits", "likelihood", 1).axes[0]
    finite = [np.isfinite(scores).sum() for scores in (test, ood)]
    in_bars = [round(20 * shares.sum()) for shares in shares_of(panel)[:2]]
    assert [count <= most for count, most in zip(in_bars, finite, strict=True)] == [True, True]
    assert in_bars == [20, 20] or panel.texts


# Training ------------------------------------------------------------------------------------------------------------


def test_bits_per_dim_are_the_logs_and_kept_epochs_are_marked():
    log = training_log()
    figure = plots.bits_per_dim_by_epoch(log)
    panel = panel_titled(figure, "ID photos")
    rows = rows_of(log, id_dataset="photos")
    for column in ("train_bits_per_dim", "fit_bits_per_dim"):
        xs, ys = line_of(panel, column)
        np.testing.assert_array_equal(xs, rows["epoch"])
        np.testing.assert_array_equal(ys, rows[column])
    xs, ys = line_of(panel, "kept")
    np.testing.assert_array_equal(xs, EPOCHS)
    np.testing.assert_array_equal(ys, rows["fit_bits_per_dim"][rows["epoch"].isin(EPOCHS)])


def test_bits_per_dim_of_several_seeds_are_a_mean_with_a_line_each():
    log = training_log(("digits",), seeds=(0, 1))
    panel = plots.bits_per_dim_by_epoch(log).axes[0]
    np.testing.assert_allclose(
        line_of(panel, "fit_bits_per_dim")[1], log.groupby("epoch")["fit_bits_per_dim"].mean(), rtol=1e-12
    )
    assert sum(line.get_label() == "_seed 1" for line in panel.get_lines()) == 2  # of training and of fit images


def spiked(log, id_dataset, epoch, seed, more=1.9):
    """The log with so many more bits/dim at one place."""
    there = log["id_dataset"].eq(id_dataset) & log["epoch"].eq(epoch) & log["seed"].eq(seed)
    return log.assign(fit_bits_per_dim=log["fit_bits_per_dim"] + more * there)


def test_a_spike_of_millions_does_not_hide_all_else_and_is_crossed_at_the_frame():
    log = training_log(seeds=(0, 1))
    panel = panel_titled(plots.bits_per_dim_by_epoch(spiked(log, "digits", 8, 1, 1e6)), "ID digits")
    lowest, highest = panel.get_ylim()
    values = rows_of(log, id_dataset="digits")[["train_bits_per_dim", "fit_bits_per_dim"]]
    assert lowest < values.min(axis=None)
    assert values.max(axis=None) < highest < 2 * values.max(axis=None)
    ((epoch, at),) = zip(*line_of(panel, "_spike"), strict=True)
    assert (epoch, at) == (8, pytest.approx(highest, rel=0.05))
    assert at < highest


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_checkpoint_that_was_kept_in_a_spike_is_crossed_at_its_own_value_and_explained(seeds):
    last = seeds[-1]
    log = spiked(training_log(seeds=seeds), "digits", 8, last)
    figure = plots.bits_per_dim_by_epoch(log)
    crosses = {panel.get_title(): line_of(panel, "_spike") for panel in figure.axes}
    (right,) = rows_of(log, id_dataset="digits", epoch=8, seed=last)["fit_bits_per_dim"]
    np.testing.assert_array_equal(crosses["ID digits"], ([8], [right]))
    assert [len(crosses[f"ID {name}"][0]) for name in ("photos", "glyphs")] == [0, 0]
    assert "in a spike or past its best" in [text.get_text() for text in figure.legends[0].get_texts()]
    legend = plots.bits_per_dim_by_epoch(training_log(seeds=seeds)).legends[0]
    assert "in a spike or past its best" not in [text.get_text() for text in legend.get_texts()]


def test_figures_of_text_speak_of_its_unit_and_samples():
    words = [
        *plots.bits_per_dim_by_epoch(training_log(), "bits/byte", "windows").findobj(Text),
        *plots.auroc_by_excess(auroc_table(), "bits/byte").findobj(Text),
        *plots.models_by_excess(models_table(), "bits/byte").findobj(Text),
        *plots.auroc_by_cost(auroc_table(), "digits", "windows").findobj(Text),
        *plots.headline(auroc_table(), means_of(auroc_table()), (), "windows").findobj(Text),
        *plots.overlap_and_auroc(*overlap_tables()).findobj(Text),
        *plots.auroc_by_total_cost(detector_rows()).findobj(Text),
        *plots.false_alarms(false_alarm_rows()).findobj(Text),
    ]
    said = "\n".join(word.get_text() for word in words)
    assert said.count("bits/byte") >= 5
    assert "bits/dim" not in said
    assert "image" not in said


def test_models_are_never_averaged_in_the_log():
    with pytest.raises(ValueError, match="glow, deep: pass the rows of one"):
        plots.bits_per_dim_by_epoch(pd.concat([training_log(), training_log().assign(model="deep")]))


# Maturity ------------------------------------------------------------------------------------------------------------


def test_auroc_against_excess_is_the_mean_over_pairs_and_dotted_past_the_lowest():
    table = auroc_table(seeds=(0, 1)).assign(
        excess_bits_per_dim=lambda table: (table["epoch"] - 4).abs() + table["seed"]
    )
    panel = panel_titled(plots.auroc_by_excess(table), "typicality, b = 5")
    rows = rows_of(table[table.id_dataset != table.ood_dataset], detector="typicality", batch_size=5)
    xs, ys = line_of(panel, "mean")
    np.testing.assert_allclose(xs, [4.5, 3.5, 2.5, 0.5])  # epochs 0, 1, 2 and 4
    np.testing.assert_allclose(ys, rows.groupby("epoch")["auroc"].mean()[:4])
    assert sum(line.get_label() == "_pair" for line in panel.get_lines()) == 6
    past = [line for line in panel.get_lines() if line.get_label() == "_past"]
    np.testing.assert_allclose(past[-1].get_xdata(), [0.5, 4.5, 12.5])
    left, right = panel.get_xlim()
    assert left > 12.5 > 0 > right


def test_false_alarms_are_means_over_id_sets_and_seeds_beside_each_and_those_out_of_reach_are_not_drawn():
    table = false_alarm_rows()
    figure = plots.false_alarms(table)
    panel = panel_titled(figure, "typicality, b = 1")
    rows = rows_of(table[table["id_dataset"] == table["ood_dataset"]], detector="typicality", batch_size=1)
    for level in (0.01, 0.05):
        of_level = rows_of(rows, level=level)
        xs, ys = line_of(panel, f"{level:g}")
        np.testing.assert_allclose(xs, EPOCHS)
        np.testing.assert_allclose(ys, of_level.groupby("epoch")["alarms"].mean())
    assert sum(line.get_label() == "_one" for line in panel.get_lines()) == 2 * 3 * 2  # levels, ID sets, seeds
    assert [line.get_ydata()[0] for line in panel.get_lines() if line.get_label() == "_level"] == [0.01, 0.05]
    assert line_of(panel_titled(figure, "typicality, b = 5"), "0.01")[0].size == 0


@pytest.mark.parametrize("rows", [slice(0, 0), slice(1, None, 2)])
def test_a_table_without_rows_of_id_sets_has_no_false_alarms_to_draw(rows):
    with pytest.raises(ValueError, match="no row of false alarms"):
        plots.false_alarms(false_alarm_rows()[rows])


def test_drift_has_a_line_an_epoch_of_means_over_seeds_and_streams_with_ood_images_are_not_drawn():
    table = drift_rows()
    panel, *_ = plots.drift(table, 5).axes
    rows = rows_of(table, drift="darken", ood_dataset="digits", batch_size=5, detector=table["detector"].iloc[0])
    assert [line.get_label() for line in panel.get_lines()] == ["_level", *map(str, EPOCHS)]
    for epoch in EPOCHS:
        xs, ys = line_of(panel, str(epoch))
        np.testing.assert_allclose(xs, [0, 1, 2])
        np.testing.assert_allclose(ys, rows_of(rows, epoch=epoch).groupby("stage")["false_alarms_5"].mean())


@pytest.mark.parametrize(("rows", "b"), [(slice(0, 0), 1), (slice(None), 7)])
def test_a_table_without_streams_of_a_batch_size_has_no_drift_to_draw(rows, b):
    with pytest.raises(ValueError, match=f"no row of streams without OOD images at b = {b}"):
        plots.drift(drift_rows()[rows], b)


def test_a_model_that_is_worse_by_millions_leaves_the_panel_of_excess():
    table = auroc_table()
    last = table["epoch"].eq(table["epoch"].max())
    spoilt = table.assign(excess_bits_per_dim=table["excess_bits_per_dim"] + 1e6 * last)
    usual, left = (plots.auroc_by_excess(each).axes[0].get_xlim()[0] for each in (table, spoilt))
    assert usual <= left <= 2 * usual


def test_models_against_excess_have_a_line_each_where_two_have_the_detector():
    table = models_table()
    figure = plots.models_by_excess(table)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"{detector}, b = {b}" for detector in ("gradient norms", "likelihood") for b in (1, 5)]
    panel = panel_titled(figure, "likelihood, b = 5")
    rows = rows_of(table[table.id_dataset != table.ood_dataset], detector="likelihood", batch_size=5)
    for model in ("glow", "vae"):
        means = rows_of(rows, model=model).groupby("epoch")[["excess_bits_per_dim", "auroc"]].mean()
        xs, ys = line_of(panel, model)
        np.testing.assert_allclose(ys, means["auroc"][: len(xs)])
    with pytest.raises(ValueError, match="no two models have a detector in common"):
        plots.models_by_excess(table[table.model == "vae"])


# Layers --------------------------------------------------------------------------------------------------------------


def test_the_heat_map_is_the_table_with_dead_layers_masked():
    layers = ["top.weight", "blocks.0.bias", "a.scale"]  # neither sorted nor alike
    table = layer_table(layers, seeds=(0, 1)).sort_values("epoch", kind="stable", ascending=False)
    figure = plots.layer_heat_map(table, "digits", 5)
    (mesh,) = panel_titled(figure, "OOD glyphs").collections
    cells = mesh.get_array()
    rows = rows_of(table, ood_dataset="glyphs", batch_size=5)
    for (k, layer), (e, epoch) in itertools.product(enumerate(layers), enumerate(EPOCHS)):
        mean = rows_of(rows, layer=layer, epoch=epoch)["auroc"].mean(skipna=False)
        assert cells.mask[k, e] == np.isnan(mean)
        assert cells.mask[k, e] or cells[k, e] == pytest.approx(mean)
    assert cells.mask.any()
    assert mesh.norm(0.5) == 0.5  # the middle of the diverging colours is chance


def test_a_layer_dead_for_one_seed_is_masked():
    table = layer_table(["a", "b"], seeds=(0, 1), epochs=(1,))
    table.loc[(table["layer"] == "b") & (table["seed"] == 1), "auroc"] = np.nan
    cells = plots.layer_heat_map(table, "digits", 5).axes[0].collections[0].get_array()
    np.testing.assert_array_equal(cells.mask[:, 0], [False, True])


# Dials ---------------------------------------------------------------------------------------------------------------


def test_the_heat_map_of_dials_is_the_table():
    table = dials(seeds=(0, 1))
    figure = plots.dial_heat_map(table, "digits", 5)
    for detector in DETECTORS:
        panel = panel_titled(figure, detector.replace("_", " "))
        cells, texts = panel.images[0].get_array(), {text.get_position(): text.get_text() for text in panel.texts}
        rows = [*itertools.product(("patch_shuffle", "blur", "grey_levels"), (0.25, 0.5, 1))]
        for (k, (dial, amount)), (e, epoch) in itertools.product(enumerate(rows), enumerate(EPOCHS)):
            of_cell = {"dial": dial, "amount": amount, "epoch": epoch, "detector": detector, "batch_size": 5}
            mean = rows_of(table, **of_cell)["auroc"].mean()
            assert cells.mask[k, e] == np.isnan(mean) == ((e, k) not in texts)
            if not cells.mask[k, e]:
                assert cells[k, e] == pytest.approx(mean)
                assert float(texts[e, k]) == pytest.approx(mean, abs=0.00501)
        assert panel.images[0].norm(0.5) == 0.5
    assert shown_labels(figure.axes[0].yaxis)[:2] == ["patch shuffle 0.25", "patch shuffle 0.5"]


def test_numbers_of_dials_fit_into_their_cells():
    figure = plots.dial_heat_map(dials(epochs=range(12)), "digits", 5)
    for panel in (axes for axes in figure.axes if axes.texts):
        width, height = panel.get_window_extent().size / (12, 9)
        assert all(text.get_window_extent().width < width for text in panel.texts)
        assert all(text.get_window_extent().height < height for text in panel.texts)


def test_a_heat_map_of_no_dials_is_refused():
    with pytest.raises(ValueError, match="no rows with b = 3"):
        plots.dial_heat_map(dials(), "digits", 3)


def shown_labels(axis):
    return [label.get_text() for label in axis.get_majorticklabels()]


def test_few_layers_are_all_named_and_many_by_their_kind():
    few = glow_layers()[:20]
    assert shown_labels(plots.layer_heat_map(layer_table(few), "digits", 5).axes[0].yaxis) == few
    figure = plots.layer_heat_map(layer_table(glow_layers(3, 32), epochs=(1,)), "digits", 5)
    labels = shown_labels(figure.axes[0].yaxis)
    assert {"actnorm.bias × 96", "first.weight × 96", "split.weight × 2", "prior.mean"} <= {*labels}
    assert len(labels) == 14 + 2 + 2


def test_the_rows_of_a_kind_are_its_layers_from_the_first_block_to_the_last():
    layers = glow_layers(2, 4)
    table = layer_table(layers, epochs=(1,))
    table["auroc"] = table["layer"].map(layers.index) / len(layers)
    panel = panel_titled(plots.layer_heat_map(table, "digits", 5), "OOD glyphs")
    found = np.rint(panel.collections[0].get_array()[:, 0] * len(layers)).astype(int)
    kinds = [re.sub(r"\.\d+", "", layers[place]) for place in found]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [*dict.fromkeys(kinds)]
    for kind in kinds:
        assert sorted(of := [place for place in found if re.sub(r"\.\d+", "", layers[place]) == kind]) == of
    assert sorted(found) == [*range(len(layers))]


def test_one_ood_set_can_be_chosen():
    figure = plots.layer_heat_map(layer_table(glow_layers()[:5]), "digits", 5, "glyphs")
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["OOD glyphs"]


@pytest.mark.parametrize(("b", "ood_dataset"), [(3, None), (5, "glyph")])
def test_a_heat_map_of_nothing_is_refused(b, ood_dataset):
    with pytest.raises(ValueError, match=r"ID digits has: b = \[1, 5\], OOD \['photos', 'glyphs'\]"):
        plots.layer_heat_map(layer_table(["prior"]), "digits", b, ood_dataset)


# Images --------------------------------------------------------------------------------------------------------------


def strips_of(figure):
    return {axes.get_ylabel(): np.asarray(axes.images[0].get_array()) for axes in figure.axes}


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_shown_as_they_are(channels):
    real, drawn = random_images(20, channels, 32), random_images(20, channels, 32)[::-1]
    strips = strips_of(samples(real, {4: drawn[:3], 0: drawn[3:5]}, "digits"))
    assert [*strips] == ["training", "untrained", "epoch 4"]
    for name, images in {"training": real, "untrained": drawn[3:5], "epoch 4": drawn[:3]}.items():
        for i, image in enumerate(images[: min(len(images), 3)]):
            shown = strips[name][:, i * (32 + 2) : i * (32 + 2) + 32]
            np.testing.assert_array_equal(shown, np.broadcast_to(image.transpose(1, 2, 0), (32, 32, 3)))


def test_dark_images_are_brightened_by_a_gamma_that_is_said():
    dark, light = random_images() // 4, random_images()
    strips = strips_of(dataset_samples({"night": dark, "day": light}))
    assert [*strips] == ["night\nγ = 0.5", "day"]
    shown = strips["night\nγ = 0.5"][:, :28, 0]
    np.testing.assert_allclose(shown, 255 * np.sqrt(dark[0, 0] / 255), atol=0.51)
    np.testing.assert_array_equal(strips["day"][:, :28, 0], light[0, 0])


def test_what_is_drawn_from_a_model_of_dark_images_is_brightened_as_they_are():
    strips = strips_of(samples(random_images() // 4, {0: random_images(2), 1: random_images(2)}, "night"))
    assert [*strips] == ["training\nγ = 0.5", "untrained\nγ = 0.5", "epoch 1\nγ = 0.5"]


def test_epochs_without_samples_are_left_out():
    strips = strips_of(samples(random_images(), {0: random_images(0), 1: random_images(2)}, "digits"))
    assert [*strips] == ["training", "epoch 1"]


def test_data_sets_are_in_the_order_given():
    assert [*strips_of(dataset_samples({"b": random_images(), "a": random_images(1)}))] == ["b", "a"]


@pytest.mark.parametrize(
    "images", [np.zeros((2, 1, 4, 4)), np.zeros((2, 2, 4, 4), np.uint8), np.zeros((4, 4), np.uint8)]
)
def test_what_are_no_images_is_refused(images):
    with pytest.raises(ValueError, match=r"faces: images must be uint8 \(N, 1, 4, 4\)"):
        plots.dataset_samples(ImageConfig(side=4), {"faces": images})


def test_no_images_at_all_are_refused():
    with pytest.raises(ValueError, match="no images"):
        dataset_samples({"faces": random_images(0)})


# Style and files -----------------------------------------------------------------------------------------------------


def test_detectors_look_different():
    """Those of a study that names none, and the next four, in each of colour, line and marker, for grey print."""
    looks = looks_of([*registry.names("detectors"), *(f"other{place}" for place in range(20))])
    assert len({*looks.values()}) == len(looks)
    for part in ("colour", "line", "marker"):
        assert len({getattr(look, part) for look in [*looks.values()][: len(DETECTORS) + 4]}) == len(DETECTORS) + 4


@pytest.mark.parametrize("detector", registry.names("detectors"))
def test_a_registered_detector_looks_alike_in_all_figures(detector):
    assert looks_of([detector])[detector] == looks_of([*registry.names("detectors")])[detector]


def test_the_order_of_the_detectors_does_not_matter():
    others = ["waic", "complexity", "regret", "ratio", "background", "ensemble"]
    assert [*looks_of([*others, *DETECTORS])] == [*DETECTORS, *sorted(others)]
    assert looks_of(others) == looks_of(others[::-1])


START = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.mark.parametrize("suffix", START)
@pytest.mark.parametrize("name", ["headline, one pair", "histograms, one panel", "layers, one cell"])
def test_equal_figures_are_equal_files(name, suffix, tmp_path):
    first = FIGURES[name]()
    content = saved(first, tmp_path, suffix)
    assert content.startswith(START[suffix])
    assert saved(first, tmp_path, suffix) == content
    assert saved(FIGURES[name](), tmp_path, suffix) == content
    assert b"CreationDate" not in content  # equal only within a second
    assert b"dc:date" not in content
    assert [path.name for path in tmp_path.iterdir()] == [f"figure{suffix}"]


def test_a_png_has_300_pixels_an_inch(tmp_path):
    figure = dataset_samples({"digits": random_images()})
    content = saved(figure, tmp_path, ".png")
    assert int.from_bytes(content[16:20]) == 6.75 * 300


def streams_of(pdf):
    """All streams of a PDF, inflated."""
    for found in re.finditer(rb"stream\r?\n(.*?)\nendstream", pdf, re.DOTALL):
        try:
            yield zlib.decompress(found[1])
        except zlib.error:
            yield found[1]


def sizes_of_type(pdf):
    """The sizes in points that a PDF of matplotlib sets text in."""
    return {float(size) for stream in streams_of(pdf) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", stream)}


@pytest.mark.parametrize("name", FIGURES)
def test_a_pdf_has_the_width_of_a_column_or_two_and_type_that_can_be_read(name, tmp_path):
    pdf = saved(FIGURES[name](), tmp_path, ".pdf")
    assert float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", pdf)[1]) / 72 in (3.25, 6.75)
    sizes = sizes_of_type(pdf)
    assert 7 in sizes
    assert sizes <= {6, 7, 4.9}  # 4.9: exponents, which are no more than marks of ticks


@pytest.mark.parametrize("name", ["headline", "histograms", "total cost", "layers"])
def test_the_fonts_of_a_pdf_are_embedded_as_truetype(name, tmp_path):
    pdf = saved(FIGURES[name](), tmp_path, ".pdf")
    assert b"/FontFile2" in pdf
    kinds = {*re.findall(rb"/Subtype /(Type\w+|TrueType|CIDFontType\d)", pdf)}
    assert kinds <= {b"Type0", b"CIDFontType2", b"TrueType"}


@pytest.mark.parametrize("name", ["headline", "layers", "samples"])
def test_a_pdf_is_cut_below_the_title_and_the_figure_keeps_it(name, tmp_path):
    figure = FIGURES[name]()
    before = saved(figure, tmp_path, ".png")
    pdf = saved(figure, tmp_path, ".pdf")
    height = float(re.search(rb"/MediaBox \[ 0 0 [\d.]+ ([\d.]+) \]", pdf)[1]) / 72
    (said,) = [text for text in figure.texts if text.get_gid() == "title"]
    assert height == pytest.approx(said.get_window_extent().y0 / figure.dpi)
    assert height < figure.get_figheight() - 0.1
    assert saved(figure, tmp_path, ".png") == before


def test_several_paths_are_the_same_figure(tmp_path):
    figure = FIGURES["headline, one pair"]()
    plots.save(figure, tmp_path / "a.png", tmp_path / "b.pdf")
    assert (tmp_path / "a.png").read_bytes() == saved(figure, tmp_path, ".png")
    assert (tmp_path / "b.pdf").read_bytes() == saved(figure, tmp_path, ".pdf")


def test_the_users_settings_are_neither_used_nor_changed(tmp_path):
    plain = saved(FIGURES["cost, untrained only"](), tmp_path)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        before = dict(matplotlib.rcParams)
        assert saved(FIGURES["cost, untrained only"](), tmp_path) == plain
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["figure.jpg", "figure"])
def test_an_unsupported_suffix_names_the_supported_ones(name, tmp_path):
    figure = dataset_samples({"digits": random_images(2)})
    with pytest.raises(ValueError, match=r"figure.*: figures are saved as \.png, \.pdf, \.svg"):
        plots.save(figure, tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    (tmp_path / "figure.png").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*figure\.png"):
        plots.save(dataset_samples({"digits": random_images(2)}), tmp_path / "figure.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


FULL = """
import resource, signal, sys
import numpy as np
from immature_ood import plots
from immature_ood.kinds.images import Config
from immature_ood.storage import StorageError
figure = plots.dataset_samples(Config(side=8), {"a": np.zeros((2, 1, 8, 8), np.uint8)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    plots.save(figure, sys.argv[1])
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", START)
def test_a_full_disk_is_one_line_that_names_the_figure(tmp_path, suffix):
    """A limit on the size of files is what a full disk is to the process that writes."""
    path = tmp_path / f"figure{suffix}"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}: File too large (after 1,000 bytes); free space")
    assert not [*tmp_path.iterdir()]


PROGRAM = """
import hashlib, json, sys
import numpy as np
from immature_ood import plots
from immature_ood.kinds.images import Config
heavy = sorted({"torch", "matplotlib.pyplot", "sklearn"} & set(sys.modules))
plots.save(plots.dataset_samples(Config(side=8), {"a": np.zeros((2, 1, 8, 8), np.uint8)}), sys.argv[1])
print(json.dumps([heavy, hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()]))
"""


def test_another_process_writes_the_same_bytes_and_needs_no_torch(tmp_path):
    path = tmp_path / "figure.svg"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    here = saved(dataset_samples({"a": np.zeros((2, 1, 8, 8), np.uint8)}), tmp_path)
    assert json.loads(done.stdout) == [[], hashlib.sha256(here).hexdigest()]


def test_the_marks_of_the_overlap_are_the_tables_and_each_pair_has_its_own():
    overlap, auroc, correlation = overlap_tables()
    figure = plots.overlap_and_auroc(overlap, auroc, correlation)
    panel = figure.axes[0]
    rows = overlap.merge(rows_of(auroc, detector="gradient_norms", batch_size=1), on=[*overlap.columns[:5]])
    looks = set()
    for (own, other), pair in rows.groupby(["id_dataset", "ood_dataset"]):
        np.testing.assert_array_equal(
            line_of(panel, f"{own} → {other}"), pair.sort_values("epoch")[["overlap", "auroc"]].T
        )
        (line,) = [each for each in panel.get_lines() if each.get_label() == f"{own} → {other}"]
        looks.add((line.get_color(), line.get_marker()))
    assert len(looks) == 6
    assert panel.get_title().startswith("gradient norms, b = 1\nρ = ")


def test_a_correlation_without_an_interval_is_said_without_one():
    overlap, auroc, correlation = overlap_tables()
    correlation[["correlation_low", "correlation_high"]] = np.nan
    title = plots.overlap_and_auroc(overlap, auroc, correlation).axes[0].get_title()
    assert re.search(r"ρ = [+−]\d\.\d\d$", title)
