from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_detectors import detectors
from test_maturity import BITS, make_chains

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.detectors import fit_all
from immature_ood.evaluation import (
    AUROC_COLUMNS,
    IMMATURE_COLUMNS,
    LAYER_COLUMNS,
    Estimate,
    auroc,
    auroc_table,
    calibration_rows,
    evaluate,
    holm,
    immature_table,
    layer_auroc_table,
    spikes,
    verdict,
    without_calibration,
)
from immature_ood.features import Features
from immature_ood.intervals import Units
from immature_ood.maturity import Chains
from immature_ood.scores import ScoreKey, Scores
from immature_ood.sidecars import Trained
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()

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


@pytest.mark.parametrize(
    ("difference", "aurocs", "expected"),
    [
        (Estimate(0.01, 0.001, 0.03), (0.99, 0.98), "saturated"),
        (Estimate(0.0, 0.0, 0.0), (1.0, 1.0), "saturated"),
        (Estimate(0.02, 0.001, 0.03), (0.9999, 0.9799), "better"),
        (Estimate(0.0, np.nan, np.nan), (1.0, 1.0), "undecided"),  # too few units
        (Estimate(0.5, np.nan, np.nan), (1.0, 0.5), "undecided"),
    ],
)
def test_verdicts_where_both_are_near_1_and_where_there_is_no_interval(difference, aurocs, expected):
    assert verdict(difference, 0.02, aurocs) == expected


def test_holm_is_the_textbook_example_and_leaves_the_order_of_rows():
    corrected = holm(pd.Series([0.04, 0.01, 0.03, 0.005], index=[7, 3, 5, 1]))
    assert corrected.to_dict() == pytest.approx({7: 0.06, 3: 0.03, 5: 0.06, 1: 0.02})
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1, 1]
    assert holm(pd.Series([], dtype=float)).empty


def test_without_a_margin_only_identity_is_equivalent():
    assert verdict(Estimate(0, 0, 0), margin=0) == "equivalent"
    assert verdict(Estimate(0.1, 0.05, 0.15), margin=0) == "better"


# Tables


def make_checkpoint(epoch=1, seed=0, id_dataset="digits"):
    return CheckpointId(id_dataset, "glow", seed, epoch, images_seen=3000 * epoch, run_key="abc")


def make_scores(shift=1.0, groups=60, of_unit=1, **checkpoint):
    """Toy scores in which photos are OOD by a shift and glyphs are just like digits."""
    generator = np.random.default_rng(0)  # the same groups for each epoch: only the shift changes
    shifts = {("digits", "fit"): 0.0, ("digits", "test"): 0.0, ("photos", "test"): shift, ("glyphs", "test"): 0.0}
    keys = [ScoreKey(name, b, *split) for name in ("typicality", "likelihood") for b in (5, 1) for split in shifts]
    values = {key: generator.normal(shifts[key.dataset, key.split], size=groups) for key in keys}
    dead = {(key.detector, key.batch_size): ("bias",) * (key.detector == "typicality") for key in keys}
    units = {(b, *split): np.arange(groups) // of_unit for b in (5, 1) for split in shifts}
    return Scores(make_checkpoint(**checkpoint), bits_per_dim=2.5, dead_layers=dead, values=values, units=units)


def trained(*scores):
    """As a sidecar says: 10 s an epoch."""
    return {one.checkpoint: Trained(one.checkpoint, 10.0 * one.checkpoint.epoch) for one in scores}


CHAINS = make_chains()


def test_auroc_table():
    scores = [make_scores(epoch=epoch) for epoch in (2, 0)]
    table = auroc_table(scores, trained(*scores), CHAINS, CONFIG)
    assert tuple(table.columns) == AUROC_COLUMNS
    assert len(table) == 2 * 2 * 2 * 3
    assert table.equals(table.sort_values([*AUROC_COLUMNS[:7]], ignore_index=True))
    assert not table.isna().any().any()
    row = table[table.ood_dataset.eq("photos") & table.batch_size.eq(5) & table.detector.eq("typicality")].iloc[1]
    expected = evaluate(scores[0].of("typicality", 5, "digits"), scores[0].of("typicality", 5, "photos"), CONFIG)
    for name, estimate in expected.items():
        assert tuple(row[[name, f"{name}_low", f"{name}_high"]]) == (estimate.value, estimate.low, estimate.high)
    described = row[["epoch", "bits_per_dim", "maturity", "dead_layers", "images_seen", "train_seconds"]]
    assert [*described] == [2, 2.5, "immature", 1, 6000, 20.0]
    assert row.excess_bits_per_dim == pytest.approx(0.1)


def test_intervals_are_by_unit():
    scores = make_scores(of_unit=3)
    row = auroc_table([scores], trained(scores), CHAINS, CONFIG).iloc[-1]
    assert (row.ood_dataset, row.detector) == ("photos", "typicality")
    pair = scores.of("typicality", 5, "digits"), scores.of("typicality", 5, "photos")
    by_unit = evaluate(*pair, CONFIG, Units.numbered(np.arange(60) // 3, np.arange(60) // 3))["auroc"]
    assert (row.auroc_low, row.auroc_high) == (by_unit.low, by_unit.high)
    assert by_unit != evaluate(*pair, CONFIG)["auroc"]


def test_with_few_units_there_is_no_interval_and_the_verdict_is_undecided():
    scores = [make_scores(shift, of_unit=7, epoch=epoch) for epoch, shift in ((1, 9.0), (2, 0.0))]  # 9 units
    table = auroc_table(scores, trained(*scores), CHAINS, CONFIG)
    bounds = [f"{metric}_{end}" for metric in ("auroc", "aupr", "fpr95") for end in ("low", "high")]
    assert table[bounds].isna().all(axis=None)
    assert not table.drop(columns=bounds).isna().any(axis=None)
    claim = immature_table(scores, CHAINS, CONFIG)
    assert {*claim.verdict} == {*claim.corrected} == {"undecided"}
    assert claim[["difference_low", "difference_high", "p_difference", "p_equivalence"]].isna().all(axis=None)


def test_the_option_that_drops_the_smallest_score_reaches_both_tables():
    scores = [make_scores(epoch=1), make_scores(2.0, epoch=2)]
    config = EvaluationConfig(drop_minimum=True)
    pair = scores[0].of("typicality", 1, "digits"), scores[0].of("typicality", 1, "photos")
    expected = auroc(*(np.sort(side)[1:] for side in pair))
    table = auroc_table(scores, trained(*scores), CHAINS, config).query("batch_size == 1 and epoch == 1")
    assert expected != pytest.approx(auroc(*pair))
    assert table.auroc.iloc[-1] == pytest.approx(expected)
    assert immature_table(scores, CHAINS, config).query("batch_size == 1").auroc.iloc[-1] == pytest.approx(expected)


def test_calibration_rows_set_the_test_set_against_the_fit_set():
    scores = make_scores()
    table = auroc_table([scores], trained(scores), CHAINS, CONFIG)
    calibration = calibration_rows(table)
    assert set(calibration.ood_dataset) == {"digits"}
    assert set(without_calibration(table).ood_dataset) == {"photos", "glyphs"}
    assert len(calibration) + len(without_calibration(table)) == len(table)
    row = calibration[calibration.batch_size.eq(1) & calibration.detector.eq("likelihood")].iloc[0]
    fit, test = (scores.of("likelihood", 1, "digits", split) for split in ("fit", "test"))
    assert row.auroc == auroc(fit, test)


def test_a_missing_training_time_is_named():
    with pytest.raises(ValueError, match=r"no training time for .*epoch=1"):
        auroc_table([make_scores()], {}, CHAINS, CONFIG)


def test_no_scores_give_empty_tables():
    assert tuple(auroc_table([], {}, CHAINS, CONFIG).columns) == AUROC_COLUMNS
    assert tuple(immature_table([make_scores()], CHAINS, CONFIG).columns) == IMMATURE_COLUMNS
    assert immature_table([make_scores()], CHAINS, CONFIG).empty


def test_immature_table_sets_each_epoch_against_the_lowest_held_out_bits_of_its_training():
    """The last epoch is past it; seed 1 was still falling, to another epoch."""
    shifts = {0: -2.0, 1: 3.0, 2: 1.001, 3: 1.0, 16: -1.0}
    scores = [make_scores(shift, 300, epoch=epoch, seed=seed) for epoch, shift in shifts.items() for seed in (1, 0)]
    bits = {**BITS, 3: 3.5, 16: 3.95}
    logs = make_chains(bits, [0], epoch_3="mature", epoch_16="overfitting"), make_chains(seeds=[1])
    table = immature_table(scores, Chains(pd.concat([each.training for each in logs])), CONFIG)
    assert tuple(table.columns) == IMMATURE_COLUMNS
    assert len(table) == 2 * 4 * 2 * 2 * 2
    assert not table.id_dataset.eq(table.ood_dataset).any()
    np.testing.assert_allclose(table.difference, table.auroc - table.auroc_reference)
    described = table.groupby("seed")[["reference_epoch", "reference_maturity"]].agg(set)
    assert described.values.tolist() == [[{3}, {"mature"}], [{16}, {"still falling"}]]
    photos = table[table.ood_dataset.eq("photos") & table.seed.eq(0)]
    assert photos.groupby("epoch").verdict.unique().map(list).to_dict() == {
        0: ["worse"],
        1: ["better"],
        2: ["equivalent"],
        16: ["worse"],
    }
    assert photos.groupby("epoch").maturity.first()[16] == "overfitting"
    np.testing.assert_allclose(photos.groupby("epoch").excess_bits_per_dim.first(), [2.5, 1.5, 0.5, 0.45])
    assert set(table[table.ood_dataset.eq("glyphs")].verdict) == {"equivalent"}


def test_without_the_log_of_a_training_it_is_named():
    with pytest.raises(ValueError, match="no training log of digits, glow, seed 99"):
        immature_table([make_scores(seed=99)], CHAINS, CONFIG)


def test_what_is_past_the_reference_is_corrected_apart():
    """One comparison just beyond chance is left although there are 24 others before the reference."""
    shifts = {1: 1.0, 2: 1.0, 3: 1.25}
    scores = [make_scores(shift, epoch=epoch, seed=seed) for epoch, shift in shifts.items() for seed in range(12)]
    table = immature_table(
        [one for one in scores if one.checkpoint.seed == 0 or one.checkpoint.epoch < 3], CHAINS, CONFIG
    )
    past = table.query("epoch == 3 and batch_size == 1 and detector == 'likelihood' and ood_dataset == 'photos'")
    assert past[["verdict", "corrected"]].values.tolist() == [["better", "better"]]


def test_verdicts_are_corrected_for_how_many_there_are_and_the_untrained_apart():
    """One comparison just beyond chance is left where it is the only one, and not among 24."""
    few, many = [0], range(12)
    for seeds, corrected in ((few, "better"), (many, "undecided")):
        scores = [make_scores(shift, epoch=e, seed=s) for e, shift in ((0, 1.25), (1, 1.25), (2, 1.0)) for s in seeds]
        table = immature_table(scores, CHAINS, CONFIG).query("batch_size == 1 and detector == 'likelihood'")
        photos, glyphs = (table[table.ood_dataset.eq(name)] for name in ("photos", "glyphs"))
        assert set(photos.verdict) == {"better"}
        assert 0.05 / 24 < photos.p_difference.min() == photos.p_difference.max() < 0.05 / 2
        assert set(photos.corrected) == {corrected}
        assert set(glyphs.p_difference) == {1.0}
        assert set(glyphs.p_equivalence) == {0.0}
        assert set(glyphs.corrected) == {"equivalent"}


def test_a_detector_without_scores_at_the_lowest_epoch_is_compared_with_the_nearest_that_it_has():
    scores = [make_scores(shift, epoch=epoch) for epoch, shift in {0: -2.0, 1: 3.0, 2: 1.0}.items()]
    gone = [
        replace(one, dead_layers={k: v for k, v in one.dead_layers.items() if k[0] == "likelihood"})
        for one in scores[2:]
    ]
    table = immature_table([*scores[:2], *gone], CHAINS, CONFIG)
    references = table.groupby("detector")["reference_epoch"].unique().map(list).to_dict()
    assert references.pop("likelihood") == [2]
    assert {*map(tuple, references.values())} == {(1,)}


def test_checkpoints_in_a_spike_are_named_once():
    """Of the kept ones; not the untrained, nor what is a tenth above."""
    bits, kept = {0: 6.0, 1: 6.5, 2: 4.0, 3: 4.1, 4: 5.994, 5: 4.2, 6: 3.0}, {0, 2, 3, 4, 6}
    table = make_chains(bits, [1]).training
    table.loc[~table["epoch"].isin(kept), "maturity"] = ""
    falls = make_chains({0: 6.0, 1: 5.0}, [2]).training
    assert spikes(pd.concat([table, falls], ignore_index=True)) == [
        "training was in a spike or past its best at digits, glow, seed 1, epoch 4: "
        "1.99 bits/dim above the lowest so far"
    ]


# Layers


def make_features(dataset, shift=0.0, b=1, split="test", groups=40):
    generator = np.random.default_rng([len(dataset), len(split), b])
    norms = generator.normal([0.0, 0.0, shift], size=(groups, 3)).astype(np.float32)
    norms[:, 1] = -np.inf
    layers = ("weight", "bias", "prior")
    statistics = {"log_norms": norms, "log_prob": np.zeros(groups)}
    return Features(dataset, split, statistics, np.arange(groups * b).reshape(-1, b), layers, 784, np.arange(groups))


def test_layer_auroc_table():
    fits = {b: make_features("digits", b=b, split="fit") for b in (1, 5)}
    checkpoint = make_checkpoint()
    fitted = fit_all(checkpoint, detectors("gradient_norms", "likelihood"), {checkpoint: fits})
    tests = [make_features(name, shift, b) for b in (5, 1) for name, shift in (("photos", 9.0), ("digits", 0.0))]
    table = layer_auroc_table(checkpoint, fitted, [*tests, *fits.values()])
    assert tuple(table.columns) == LAYER_COLUMNS
    assert [*table.layer] == ["weight", "bias", "prior"] * 2
    assert [*table.batch_size] == [1] * 3 + [5] * 3
    assert set(table.ood_dataset) == {"photos"}
    assert [*table.auroc.isna()] == [False, True, False] * 2
    by_layer = table[table.batch_size.eq(5)].set_index("layer").auroc
    ood_terms, id_terms = (fitted.detectors["gradient_norms", 5].terms(features)[:, 0] for features in tests[:2])
    assert by_layer["weight"] == auroc(id_terms, ood_terms)
    assert by_layer["prior"] == 1.0


def test_layers_need_gradient_norms():
    features = make_features("digits")
    checkpoint = make_checkpoint()
    fitted = fit_all(checkpoint, detectors("likelihood"), {checkpoint: {1: features}})
    table = layer_auroc_table(checkpoint, fitted, [features, replace(features, dataset="photos")])
    assert table.empty
    assert tuple(table.columns) == LAYER_COLUMNS
