from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from immature_ood.detectors.gradient_norms import GradientNorms
from immature_ood.detectors.likelihood import Likelihood
from immature_ood.evaluation import (
    AUROC_COLUMNS,
    IMMATURE_COLUMNS,
    LAYER_COLUMNS,
    Estimate,
    auroc_difference,
    auroc_table,
    calibration_rows,
    evaluate,
    immature_summary,
    immature_table,
    layer_auroc_table,
    metrics,
    verdict,
    without_calibration,
)
from immature_ood.features import Features
from immature_ood.provenance import CheckpointId
from immature_ood.scores import ScoreKey, Scores
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig(resamples=200)
# Few distinct values, so that ties within and between ID and OOD are the rule.
TIED = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12).map(np.array)
DISTINCT_OR_TIED = st.lists(st.floats(-1e6, 1e6) | st.just(np.inf), min_size=1, max_size=12).map(np.array)


def once(id_scores, ood_scores):
    """The metrics with each group counted once."""
    found = metrics(id_scores, ood_scores, np.ones((len(id_scores), 1), int), np.ones((len(ood_scores), 1), int))
    return {name: value[0] for name, value in vars(found).items()}


def oracle(id_scores, ood_scores, id_weights, ood_weights):
    """The same by scikit-learn, which wants finite scores: ranks will do."""
    labels = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    ranks = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)[1]
    weights = np.concatenate([id_weights, ood_weights])
    false_rate, true_rate, _ = roc_curve(labels, ranks, sample_weight=weights, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, ranks, sample_weight=weights),
        "aupr": average_precision_score(labels, ranks, sample_weight=weights),
        "fpr95": false_rate[true_rate >= 0.95].min(),
    }


# Metrics


@given(TIED | DISTINCT_OR_TIED, TIED | DISTINCT_OR_TIED, st.data())
def test_metrics_equal_scikit_learn(id_scores, ood_scores, data):
    def weights(groups):
        column = st.lists(st.integers(0, 4), min_size=groups, max_size=groups).filter(any)
        return np.array(data.draw(st.lists(column, min_size=1, max_size=3))).T

    id_weights, ood_weights = weights(len(id_scores)), weights(len(ood_scores))
    columns = min(id_weights.shape[1], ood_weights.shape[1])
    id_weights, ood_weights = id_weights[:, :columns], ood_weights[:, :columns]
    found = metrics(id_scores, ood_scores, id_weights, ood_weights)
    for column in range(columns):
        expected = oracle(id_scores, ood_scores, id_weights[:, column], ood_weights[:, column])
        for name, value in expected.items():
            assert getattr(found, name)[column] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("groups", [19, 20, 100, 500])
def test_fpr95_counts_as_scikit_learn_at_sizes_where_95_percent_is_a_whole_number(groups):
    generator = np.random.default_rng(groups)
    id_scores, ood_scores = generator.normal(size=groups), generator.normal(1, size=groups)
    expected = oracle(id_scores, ood_scores, np.ones(groups), np.ones(groups))
    assert once(id_scores, ood_scores) == pytest.approx(expected, abs=1e-12)


@given(TIED, TIED)
def test_auroc_depends_on_the_order_alone(id_scores, ood_scores):
    assert once(np.exp(id_scores), np.exp(ood_scores)) == once(id_scores, ood_scores)


@given(TIED | DISTINCT_OR_TIED, TIED | DISTINCT_OR_TIED)
def test_swapping_id_and_ood_gives_the_complement(id_scores, ood_scores):
    assert once(ood_scores, id_scores)["auroc"] == pytest.approx(1 - once(id_scores, ood_scores)["auroc"])


def test_infinite_scores_rank_last_and_tie():
    found = once(np.array([0.0, np.inf]), np.array([np.inf, 1.0]))
    assert found["auroc"] == (1 + 0.5 + 1 + 0) / 4


@pytest.mark.parametrize("place", [0, 1])
def test_nan_scores_are_refused(place):
    scores = [np.zeros(3), np.zeros(3)]
    scores[place][1] = np.nan
    with pytest.raises(ValueError, match="NaN scores"):
        evaluate(*scores, CONFIG)


# Bootstrap


def gaussian(groups, shift, seed):
    generator = np.random.default_rng(seed)
    return generator.normal(size=groups), generator.normal(shift, size=groups)


def test_intervals_hold_the_estimate_and_are_reproducible():
    scores = gaussian(200, 1.0, seed=0)
    estimates = evaluate(*scores, CONFIG)
    assert estimates == evaluate(*scores, CONFIG)
    for name, estimate in estimates.items():
        assert estimate.low < estimate.value < estimate.high, name
        assert estimate.value == once(*scores)[name]
    assert estimates != evaluate(*scores, EvaluationConfig(resamples=200, seed=1))


def test_the_interval_is_that_of_a_plain_bootstrap():
    """Groups drawn with replacement one resample at a time: the same distribution, another stream."""
    id_scores, ood_scores = gaussian(60, 1.0, seed=3)
    generator = np.random.default_rng(7)
    drawn = [once(generator.choice(id_scores, 60), generator.choice(ood_scores, 60))["auroc"] for _ in range(3000)]
    estimate = evaluate(id_scores, ood_scores, EvaluationConfig(resamples=3000))["auroc"]
    np.testing.assert_allclose([estimate.low, estimate.high], np.quantile(drawn, [0.025, 0.975]), atol=0.006)


def test_work_in_chunks_gives_the_same(monkeypatch):
    scores = gaussian(50, 1.0, seed=1)
    whole = evaluate(*scores, CONFIG)
    for elements in (1, 1000, 1300):
        monkeypatch.setattr("immature_ood.evaluation.CHUNK_ELEMENTS", elements)
        for name, estimate in evaluate(*scores, CONFIG).items():
            assert vars(estimate) == pytest.approx(vars(whole[name]), abs=1e-12), name


def test_perfect_separation_has_an_interval_of_no_width():
    estimates = evaluate(np.arange(30.0), np.arange(30.0) + 100, CONFIG)
    assert estimates["auroc"] == estimates["aupr"] == Estimate(1, 1, 1)
    assert estimates["fpr95"] == Estimate(0, 0, 0)


def test_coverage_on_gaussians_is_about_95_percent():
    truth = 0.7602499389065233  # Φ(1/√2), the AUROC of N(1, 1) against N(0, 1)
    estimates = [evaluate(*gaussian(100, 1.0, seed), CONFIG)["auroc"] for seed in range(300)]
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.91 <= covered <= 0.98  # three standard errors of 300 trials, and the small-sample bias


def test_more_confidence_is_wider():
    scores = gaussian(100, 1.0, seed=0)
    widths = [
        estimate.high - estimate.low
        for confidence in (0.5, 0.8, 0.95)
        for estimate in [evaluate(*scores, EvaluationConfig(resamples=200, confidence=confidence))["auroc"]]
    ]
    assert all(narrow < wide for narrow, wide in pairwise(widths))


def test_pairing_narrows_the_interval_of_correlated_scores():
    scores = gaussian(200, 1.0, seed=0)
    noise = gaussian(200, 0.0, seed=1)
    reference = tuple(s + 0.1 * n for s, n in zip(scores, noise, strict=True))
    paired = auroc_difference(scores, reference, CONFIG)
    alone = evaluate(*scores, CONFIG)["auroc"]
    assert paired.value == pytest.approx(alone.value - evaluate(*reference, CONFIG)["auroc"].value)
    assert paired.low <= paired.value <= paired.high
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_the_same_order_differs_by_exactly_nothing():
    scores = gaussian(100, 1.0, seed=0)
    assert auroc_difference(scores, tuple(map(np.exp, scores)), CONFIG) == Estimate(0, 0, 0)


def test_other_groups_cannot_be_paired():
    with pytest.raises(ValueError, match=r"not the same test groups: \[20, 20\] against \[20, 19\]"):
        auroc_difference((np.zeros(20), np.zeros(20)), (np.zeros(20), np.zeros(19)), CONFIG)


# The claim


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.02, 0.02, "equivalent"),
        (0.001, 0.019, "equivalent"),  # beyond chance, yet too small to matter
        (-0.019, -0.001, "equivalent"),
        (0.0, 0.0, "equivalent"),
        (0.001, 0.021, "better"),
        (0.03, 0.05, "better"),
        (-0.021, -0.001, "worse"),
        (-0.05, -0.03, "worse"),
        (0.0, 0.03, "undecided"),
        (-0.03, 0.0, "undecided"),
        (-0.03, 0.03, "undecided"),
        (-0.01, 0.03, "undecided"),
        (-0.03, 0.01, "undecided"),
    ],
)
def test_verdicts(low, high, expected):
    assert verdict(Estimate((low + high) / 2, low, high), margin=0.02) == expected


def test_without_a_margin_only_identity_is_equivalent():
    assert verdict(Estimate(0, 0, 0), margin=0) == "equivalent"
    assert verdict(Estimate(0.1, 0.05, 0.15), margin=0) == "better"


# Tables


def make_checkpoint(epoch=1, seed=0, id_dataset="digits"):
    return CheckpointId(id_dataset, "glow", seed, epoch, images_seen=3000 * epoch, run_key="abc")


def make_scores(shift=1.0, groups=60, **checkpoint):
    """Toy scores in which photos are OOD by a shift and glyphs are just like digits."""
    generator = np.random.default_rng(0)  # the same groups for each epoch: only the shift changes
    shifts = {("digits", "fit"): 0.0, ("digits", "test"): 0.0, ("photos", "test"): shift, ("glyphs", "test"): 0.0}
    keys = [ScoreKey(name, b, *split) for name in ("typicality", "likelihood") for b in (5, 1) for split in shifts]
    values = {key: generator.normal(shifts[key.dataset, key.split], size=groups) for key in keys}
    dead = {(key.detector, key.batch_size): ("bias",) * (key.detector == "typicality") for key in keys}
    return Scores(make_checkpoint(**checkpoint), bits_per_dim=2.5, dead_layers=dead, values=values)


def test_auroc_table():
    scores = [make_scores(epoch=epoch) for epoch in (2, 0)]
    table = auroc_table(scores, {one.checkpoint: 10.0 * one.checkpoint.epoch for one in scores}, CONFIG)
    assert tuple(table.columns) == AUROC_COLUMNS
    assert len(table) == 2 * 2 * 2 * 3
    assert table.equals(table.sort_values([*AUROC_COLUMNS[:7]], ignore_index=True))
    assert not table.isna().any().any()
    row = table[table.ood_dataset.eq("photos") & table.batch_size.eq(5) & table.detector.eq("typicality")].iloc[1]
    expected = evaluate(scores[0].of("typicality", 5, "digits"), scores[0].of("typicality", 5, "photos"), CONFIG)
    for name, estimate in expected.items():
        assert tuple(row[[name, f"{name}_low", f"{name}_high"]]) == (estimate.value, estimate.low, estimate.high)
    described = row[["epoch", "bits_per_dim", "dead_layers", "images_seen", "train_seconds"]]
    assert [*described] == [2, 2.5, 1, 6000, 20.0]


def test_calibration_rows_set_the_test_set_against_the_fit_set():
    scores = make_scores()
    table = auroc_table([scores], {scores.checkpoint: 1.0}, CONFIG)
    calibration = calibration_rows(table)
    assert set(calibration.ood_dataset) == {"digits"}
    assert set(without_calibration(table).ood_dataset) == {"photos", "glyphs"}
    assert len(calibration) + len(without_calibration(table)) == len(table)
    row = calibration[calibration.batch_size.eq(1) & calibration.detector.eq("likelihood")].iloc[0]
    fit, test = (scores.of("likelihood", 1, "digits", split) for split in ("fit", "test"))
    assert row.auroc == once(fit, test)["auroc"]


def test_a_missing_training_time_is_named():
    with pytest.raises(ValueError, match=r"no training time for .*epoch=1"):
        auroc_table([make_scores()], {}, CONFIG)


def test_no_scores_give_empty_tables():
    assert tuple(auroc_table([], {}, CONFIG).columns) == AUROC_COLUMNS
    assert tuple(immature_table([make_scores()], CONFIG).columns) == IMMATURE_COLUMNS
    assert immature_table([make_scores()], CONFIG).empty
    assert "One epoch only" in immature_summary(immature_table([], CONFIG))


def test_immature_table_sets_each_epoch_against_the_last_of_its_training():
    shifts = {0: -2.0, 1: 3.0, 2: 1.001, 16: 1.0}
    scores = [make_scores(shift, epoch=epoch, seed=seed) for epoch, shift in shifts.items() for seed in (1, 0)]
    table = immature_table(scores, CONFIG)
    assert tuple(table.columns) == IMMATURE_COLUMNS
    assert len(table) == 2 * 3 * 2 * 2 * 2
    assert set(table.last_epoch) == {16}
    assert not table.id_dataset.eq(table.ood_dataset).any()
    np.testing.assert_allclose(table.difference, table.auroc - table.auroc_last)
    photos = table[table.ood_dataset.eq("photos")]
    assert photos.groupby("epoch").verdict.unique().map(list).to_dict() == {
        0: ["worse"],
        1: ["better"],
        2: ["equivalent"],
    }
    assert set(table[table.ood_dataset.eq("glyphs")].verdict) == {"equivalent"}


def test_immature_summary_counts_verdicts_and_the_untrained_apart():
    verdicts = {0: "worse", 1: "better", 2: "better", 4: "undecided"}
    table = pd.DataFrame({"detector": "typicality", "epoch": verdicts.keys(), "verdict": verdicts.values()})
    lines = immature_summary(table).splitlines()
    assert lines[1:] == [
        "  typicality: 2 better, 0 equivalent, 0 worse, 1 undecided; "
        "untrained: 0 better, 0 equivalent, 1 worse, 0 undecided"
    ]
    assert "untrained" not in immature_summary(table[table.epoch > 0])


# Layers


def make_features(dataset, shift=0.0, b=1, split="test", groups=40):
    generator = np.random.default_rng([len(dataset), len(split), b])
    norms = generator.normal([0.0, 0.0, shift], size=(groups, 3)).astype(np.float32)
    norms[:, 1] = -np.inf
    layers = ("weight", "bias", "prior")
    return Features(
        dataset, split, norms, np.zeros(groups), np.arange(groups * b).reshape(-1, b), layers, 784, np.arange(groups)
    )


def test_layer_auroc_table():
    fits = {b: make_features("digits", b=b, split="fit") for b in (1, 5)}
    fitted = {("gradient_norms", b): GradientNorms.fit(fit) for b, fit in fits.items()}
    fitted["likelihood", 1] = Likelihood.fit(fits[1])
    tests = [make_features(name, shift, b) for b in (5, 1) for name, shift in (("photos", 9.0), ("digits", 0.0))]
    table = layer_auroc_table(make_checkpoint(), fitted, [*tests, *fits.values()])
    assert tuple(table.columns) == LAYER_COLUMNS
    assert [*table.layer] == ["weight", "bias", "prior"] * 2
    assert [*table.batch_size] == [1] * 3 + [5] * 3
    assert set(table.ood_dataset) == {"photos"}
    assert [*table.auroc.isna()] == [False, True, False] * 2
    by_layer = table[table.batch_size.eq(5)].set_index("layer").auroc
    ood_terms, id_terms = (fitted["gradient_norms", 5].terms(features)[:, 0] for features in tests[:2])
    assert by_layer["weight"] == once(id_terms, ood_terms)["auroc"]
    assert by_layer["prior"] == 1.0


def test_layers_need_gradient_norms():
    features = make_features("digits")
    fitted = {("likelihood", 1): Likelihood.fit(features)}
    table = layer_auroc_table(make_checkpoint(), fitted, [features, replace(features, dataset="photos")])
    assert table.empty
    assert tuple(table.columns) == LAYER_COLUMNS
