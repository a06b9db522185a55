"""Streams of changing images: what they are made of, and what the table says of drift, of OOD images and of neither."""

import math
from dataclasses import replace

import numpy as np
import pytest
from test_scores import CHECKPOINT

from immature_ood.calibration import CALIBRATION
from immature_ood.drift import DRIFT_COLUMNS, REFIT, SHARE, STREAMS, drift_table, one_of_each, streams
from immature_ood.scores import ScoreKey, Scores
from immature_ood.study import DriftConfig

DRIFT = {"brighter": DriftConfig(of="digits", through=["bright", "brightest"])}


def made_up(shifts=(0.0, 0.0, 0.0), groups=600, calibration=400, seed=0, of_unit=1, epoch=4):
    """Normal scores of one detector at b = 1: of three stages of an ID set, of which the first is the set; of OOD 5."""
    generator = np.random.default_rng([seed, epoch])
    levels = dict(zip(("digits", "bright", "brightest"), shifts, strict=True)) | {"glyphs": 5.0}
    values = {
        ScoreKey("likelihood", 1, name, "test"): generator.normal(level, 1, groups) for name, level in levels.items()
    }
    units = {(1, name, "test"): np.arange(groups) // of_unit for name in levels}
    own = {ScoreKey("likelihood", 1, "digits", CALIBRATION): generator.normal(size=calibration)}
    of_own = {(1, "digits", CALIBRATION): np.arange(calibration) // of_unit}
    dead, checkpoint = {("likelihood", 1): ()}, replace(CHECKPOINT, epoch=epoch)
    return Scores(checkpoint, 4.0, dead, values, units), Scores(checkpoint, 4.0, dead, own, of_own)


def test_a_stream_takes_each_unit_once_and_its_stages_in_order():
    units = np.repeat(np.arange(60), 4)
    made = streams("a", [units, units, units], np.repeat(np.arange(9), 2), 0.3)
    assert len(made) == STREAMS
    for stream in made:
        assert (np.diff(stream.stage) >= 0).all()
        assert np.bincount(stream.stage).tolist() == [20, 20, 20]
        kept = units[stream.place[~stream.is_ood]]
        assert len({*kept}) == len(kept)
        assert 0 < stream.is_ood.sum() <= 9
        assert len({*(stream.place[stream.is_ood] // 2)}) == stream.is_ood.sum()
    assert len({tuple(stream.place) for stream in made}) == STREAMS
    again, other = (streams(name, [units] * 3, np.repeat(np.arange(9), 2), 0.3) for name in ("a", "b"))
    assert np.array_equal(again[0].place, made[0].place)
    assert not np.array_equal(other[0].place, made[0].place)


def test_scores_are_those_of_the_place():
    stages, ood = [np.arange(50), 100 + np.arange(50)], 1000 + np.arange(50)
    (stream, *_) = streams("a", [np.arange(50)] * 2, np.arange(50), 0.5)
    expected = np.where(stream.is_ood, 1000 + stream.place, 100 * stream.stage + stream.place)
    np.testing.assert_array_equal(stream.scores(stages, ood), expected)


def test_any_group_of_a_unit_may_be_the_one():
    units, generator = np.array([3, 3, 3, 8]), np.random.default_rng(0)
    drawn = [sorted(one_of_each(units, generator).tolist()) for _ in range(60)]
    assert {*map(tuple, drawn)} == {(0, 3), (1, 3), (2, 3)}


def test_drift_raises_false_alarms_and_asks_to_refit_and_detections_are_of_ood_groups():
    table = drift_table([made_up((0.0, 1.0, 3.0))], DRIFT)
    assert [*table.columns] == [*DRIFT_COLUMNS]
    assert [*table["dataset"]] == ["digits", "bright", "brightest"] * 2
    alone, mixed = table[table["ood_dataset"] == "digits"], table[table["ood_dataset"] == "glyphs"]
    for rows in (alone, mixed):
        assert rows["false_alarms_5"].is_monotonic_increasing
        assert rows["false_alarms_5"].iloc[0] < 0.1 < 0.85 < rows["false_alarms_5"].iloc[-1]
        assert rows["refit"].iloc[-1] == 1
        assert rows["refit"].is_monotonic_increasing
    assert alone[["detections_1", "detections_5"]].isna().all(axis=None)
    assert (mixed["detections_5"] > 0.97).all()
    assert alone["refit"].iloc[0] <= 0.1
    assert alone["groups"].tolist() == [200, 200, 200]


def test_ood_images_alone_are_told_by_the_capital_too():
    table = drift_table([made_up()], DRIFT).set_index(["ood_dataset", "stage"])
    assert table.loc[("glyphs", 2), "log10_capital"] > table.loc[("digits", 2), "log10_capital"]
    assert SHARE == 0.1


def test_without_drift_few_streams_ask_to_refit_and_false_alarms_keep_their_level():
    """Over calibration sets, which streams of one table share: their mean is what the guarantee is about."""
    tables = [drift_table([made_up(seed=seed, groups=240, calibration=200)], DRIFT) for seed in range(25)]
    ends = [table.query("ood_dataset == 'digits' and stage == 2").iloc[0] for table in tables]
    refits = np.array([row["refit"] for row in ends])
    assert refits.mean() <= REFIT + 4 * max(refits.std(), 0.05) / math.sqrt(len(refits))
    rates = np.array([row["false_alarms_5"] for row in ends])
    assert abs(rates.mean() - 0.05) < 4 * rates.std() / math.sqrt(len(rates))


def test_rows_are_of_the_checkpoints_of_the_id_set():
    table = drift_table([made_up(), made_up(epoch=1)], DRIFT)
    assert [*table["epoch"]] == [1, 1, 1, 4, 4, 4] * 2
    other = {"font": DriftConfig(of="glyphs", through=["digits"])}
    assert drift_table([made_up()], other).empty


def test_units_of_several_groups_give_one():
    table = drift_table([made_up(of_unit=3)], DRIFT)
    assert table["groups"].sum() == pytest.approx(2 * 200)
