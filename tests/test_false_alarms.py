"""Scores of calibration images, and the table of false alarms: against sums by hand and simulated sets."""

import math
from dataclasses import replace

import numpy as np
import pytest
from test_detectors import detectors
from test_maturity import make_chains
from test_scores import CHECKPOINT, make_features

from immature_ood.calibration import CALIBRATION, score_calibration
from immature_ood.detectors import Fitted, fit_all, save_fitted
from immature_ood.false_alarms import (
    ABOVE,
    COLUMNS,
    OUT_OF_REACH,
    TOO_FEW,
    WITHIN,
    Familiar,
    false_alarm_summary,
    false_alarm_table,
    familiar,
)
from immature_ood.features import save_features
from immature_ood.scores import ScoreKey, Scores, load_scores, save_scores
from immature_ood.storage import StorageError

CHAINS = make_chains({0: 6.0, 4: 4.0}, seeds=[0])
STRANGE, ALIKE = Familiar(0.9, 0.0), Familiar(0.0, 0.0)
EARLIER = replace(CHECKPOINT, epoch=1, run_key="earlier")


@pytest.fixture
def files(tmp_path):
    """Fitted detectors, of which one reads two checkpoints, and features of calibration images."""
    fitted, features = tmp_path / "fitted.safetensors", tmp_path / "calibration.safetensors"
    fit = {b: make_features(split="fit", b=b, seed=b) for b in (1, 5)}
    configs = detectors("likelihood", "typicality")
    found = fit_all(CHECKPOINT, configs, {CHECKPOINT: fit})
    reads = found.reads | {"typicality": (CHECKPOINT, EARLIER)}
    save_fitted(fitted, Fitted(found.checkpoint, found.detectors, found.files, reads))
    save_features(features, CHECKPOINT, [make_features(split=CALIBRATION, b=b, seed=7) for b in (1, 5)])
    return fitted, features


def test_calibration_images_are_scored_by_detectors_of_one_checkpoint(files, tmp_path):
    save_scores(tmp_path / "scores.safetensors", score_calibration(*files))
    scores = load_scores(tmp_path / "scores.safetensors")
    assert scores.checkpoint == CHECKPOINT
    assert {*scores.dead_layers} == {("likelihood", 1), ("likelihood", 5)}
    for b in (1, 5):
        expected = make_features(split=CALIBRATION, b=b, seed=7)
        np.testing.assert_array_equal(scores.of("likelihood", b, "digits", CALIBRATION), -expected.log_prob)
        np.testing.assert_array_equal(scores.units_of(b, "digits", CALIBRATION), expected.units)


@pytest.mark.parametrize(
    ("checkpoint", "split", "sizes", "said"),
    [
        (EARLIER, CALIBRATION, (1, 5), "is not of the calibration images under"),
        (CHECKPOINT, "test", (1, 5), "is not of the calibration images under"),
        (CHECKPOINT, CALIBRATION, (1,), "has no groups of b=5"),
    ],
)
def test_features_of_anything_else_are_refused(files, checkpoint, split, sizes, said):
    save_features(files[1], checkpoint, [make_features(split=split, b=b) for b in sizes])
    with pytest.raises(StorageError, match=said):
        score_calibration(*files)


def made_up(calibration=199, tested=400, shift=0.0, fit_shift=0.0, of_unit=1, epoch=4, seed=0):
    """Scores of one detector at b = 1: normal, of test images raised by a shift, of fit images lowered by another."""
    generator = np.random.default_rng([seed, epoch])
    checkpoint = replace(CHECKPOINT, epoch=epoch)
    sizes = {("digits", "fit"): 1000, ("digits", "test"): tested, ("glyphs", "test"): 100}
    levels = {("digits", "fit"): -fit_shift, ("digits", "test"): shift, ("glyphs", "test"): 4.0}
    values = {ScoreKey("likelihood", 1, *of): levels[of] + generator.normal(size=size) for of, size in sizes.items()}
    units = {(1, *of): np.arange(size) // of_unit for of, size in sizes.items()}
    dead = {("likelihood", 1): ()}
    own = {ScoreKey("likelihood", 1, "digits", CALIBRATION): generator.normal(size=calibration)}
    of_calibration = {(1, "digits", CALIBRATION): np.arange(calibration) // of_unit}
    return Scores(checkpoint, 4.0, dead, values, units), Scores(checkpoint, 4.0, dead, own, of_calibration)


def table_of(*scores, known=ALIKE):
    return false_alarm_table(scores, CHAINS, {"digits": known}, 0.95)


def row_of(table, level, ood_dataset="digits"):
    (row,) = table.query("level == @level and ood_dataset == @ood_dataset").to_dict("records")
    return row


def test_rates_are_counts_of_ranks():
    tested, calibration = made_up(fit_shift=1.0)
    table = table_of((tested, calibration))
    assert [*table.columns] == [*COLUMNS]
    assert len(table) == 2 * 2
    own = np.sort(calibration.of("likelihood", 1, "digits", CALIBRATION))
    fit = np.sort(tested.of("likelihood", 1, "digits", "fit"))
    for level in (0.01, 0.05):
        for dataset in ("digits", "glyphs"):
            row, scores = row_of(table, level, dataset), tested.of("likelihood", 1, dataset)
            threshold = own[-math.floor(200 * level + 1e-9)]  # as many calibration scores as that may be above
            assert row["alarms"] == (scores > threshold).mean()
            assert row["alarms_of_fit_images"] == (scores > fit[-math.floor(1001 * level)]).mean()
            assert row["alarms_low"] <= row["alarms"] <= row["alarms_high"]
            assert (row["calibration_units"], row["excess_bits_per_dim"]) == (199, 0)
    assert row_of(table, 0.05)["alarms_of_fit_images"] > 0.15
    assert row_of(table, 0.05)["verdict"] == WITHIN
    assert row_of(table, 0.05, "glyphs")["verdict"] == ""
    assert row_of(table, 0.05, "glyphs")["alarms"] > 0.9


@pytest.mark.parametrize(
    ("options", "verdicts"),
    [
        ({"shift": 1.0}, {0.01: ABOVE, 0.05: ABOVE}),
        ({"calibration": 98}, {0.01: OUT_OF_REACH, 0.05: WITHIN}),
        ({"calibration": 99}, {0.01: WITHIN, 0.05: WITHIN}),
        ({"calibration": 18}, {0.01: OUT_OF_REACH, 0.05: OUT_OF_REACH}),
        ({"calibration": 190, "of_unit": 10}, {0.01: OUT_OF_REACH, 0.05: WITHIN}),  # 19 units
        ({"tested": 9}, {0.01: TOO_FEW, 0.05: TOO_FEW}),
    ],
)
def test_verdicts(options, verdicts):
    table = table_of(made_up(**options))
    assert {level: row_of(table, level)["verdict"] for level in verdicts} == verdicts
    for level, verdict in verdicts.items():
        assert (row_of(table, level, "glyphs")["verdict"] == OUT_OF_REACH) == (verdict == OUT_OF_REACH)
        assert verdict != OUT_OF_REACH or row_of(table, level)["alarms"] == 0


def test_valid_p_values_are_seldom_called_above():
    """Of 200 calibration and test sets at each level; the rate is above its bound in about one of forty at most."""
    tables = [table_of(made_up(seed=seed, tested=300)) for seed in range(200)]
    for level in (0.01, 0.05):
        above = np.mean([row_of(table, level)["verdict"] == ABOVE for table in tables])
        assert above <= 0.05
        rates = [row_of(table, level)["alarms"] for table in tables]
        assert abs(np.mean(rates) - level) < 4 * np.std(rates) / math.sqrt(len(rates))


def test_the_summary_says_rates_by_epoch_and_maturity_and_what_cannot_be_told():
    table = table_of(made_up(epoch=0, shift=1.0), made_up(epoch=4, calibration=98), known=STRANGE)
    text = false_alarm_summary(table)
    assert "glow, b=1: false alarms at p ≤ 0.05" in text
    rate, of_fit = (row_of(table.query("epoch == 0"), 0.05)[name] for name in ("alarms", "alarms_of_fit_images"))
    assert f"{rate:.3f} ({of_fit:.3f})" in text
    assert "digits, b=1: p ≤ 0.01 is out of reach of 98 calibration units" in text
    assert "digits: 90% of the calibration images are of units that detectors were fitted on" in text
    assert "1 of 1" in text
    assert "0.000" not in text  # what is out of reach is not shown as 0
    assert "nothing is promised" not in false_alarm_summary(table_of(made_up()))


def test_how_familiar_images_are_is_told_by_their_units():
    splits = {"fit": {"origins": ["a1", "a2", "b1", "b2", "c1", "a3"]}, "test": {"origins": ["c2", "d1", "a9"]}}
    found = familiar(splits, lambda origin: origin[0], fit_images=3, calibration_images=2, test_images=2)
    assert (found.calibration, found.test) == (0.5, 0.0)  # of b2, c1 and of c2, d1; known are a and b
    assert not found.alike
    assert Familiar(0.9, 1.0).alike
