"""All detectors in one table, against a few independent lines."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_maturity import make_chains

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import POOLED
from immature_ood.controls import solved_pairs
from immature_ood.costs import FeatureCost, ScoreCosts
from immature_ood.detector_table import (
    DETECTOR_COLUMNS,
    Asked,
    Spent,
    detector_summary,
    detector_table,
    total_seconds,
)
from immature_ood.evaluation import auroc, auroc_table
from immature_ood.means import means_table
from immature_ood.metrics import fpr95
from immature_ood.scores import ScoreKey, Scores
from immature_ood.sidecars import Trained
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
SETS = ("a", "b", "c")
CHAINS = make_chains({0: 3.0, 1: 2.0, 4: 1.0}, id_datasets=SETS)
SHIFTS = {"gradient_norms": 1.0, "likelihood": 0.2, "neighbours": 1.6, "pixels": 1.2}


def checkpoint(id_dataset, seed, epoch):
    return CheckpointId(id_dataset, "glow", seed, epoch, 0, f"{id_dataset}{seed}")


def make_scores(id_dataset, seed, epoch, detectors, size=40):
    """Normal scores whose distance is a detector's own; a control's are the same always, and solve c."""
    values = {}
    for detector in detectors:
        fixed = detector == "pixels"
        for place, name in enumerate(SETS):
            for split in ("fit", "test"):
                key = [place, *map(ord, detector), *([] if fixed else [seed if seed != POOLED else 9, epoch])]
                shift = 0 if name == id_dataset else SHIFTS[detector] + (9 if fixed and name == "c" else 0)
                values[ScoreKey(detector, 1, name, split)] = np.random.default_rng(key).normal(shift, size=size)
    units = {(1, name, split): np.arange(size) for name in SETS for split in ("fit", "test")}
    dead = dict.fromkeys([(detector, 1) for detector in detectors], ())
    return Scores(checkpoint(id_dataset, seed, epoch), 3.0, dead, values, units)


def study(seeds=(0,), epochs=(0, 1, 4), detectors=tuple(SHIFTS), size=40):
    return [make_scores(name, seed, epoch, detectors, size) for name in SETS for seed in seeds for epoch in epochs]


def spent(scores, reads=lambda one, detector: [one.checkpoint]):
    trained = {
        each: Trained(each, 10.0 * each.epoch)
        for one in scores
        for detector, _ in one.dead_layers
        for each in reads(one, detector)
    }
    features = {("glow", name): FeatureCost(2.0, 100.0, 8.0) for name in SHIFTS}
    features["glow", "pixels"] = FeatureCost(0.0)
    costs = [
        ScoreCosts(
            one.checkpoint,
            dict.fromkeys(one.dead_layers, 0.5),
            {detector: tuple(reads(one, detector)) for detector, _ in one.dead_layers},
        )
        for one in scores
    ]
    return Spent(trained, features, costs)


def table_of(scores, **asked):
    return detector_table(scores, Asked(CONFIG, "gradient_norms", **asked), spent(scores))


def of(scores, detector, id_dataset, ood):
    return scores.of(detector, 1, id_dataset), scores.of(detector, 1, ood)


def test_means_and_ranks_are_those_of_the_pairs():
    scores = study()
    table = table_of(scores)
    assert tuple(table.columns) == DETECTOR_COLUMNS
    assert len(table) == 4 * 3
    at_one = [one for one in scores if one.checkpoint.epoch == 1]
    pairs = [(one, one.checkpoint.id_dataset, ood) for one in at_one for ood in one.ood_datasets]
    aurocs = np.array([[auroc(*of(one, name, own, ood)) for name in SHIFTS] for one, own, ood in pairs])
    ranks = stats.rankdata(-aurocs, axis=1).mean(axis=0)
    found = table[table["epoch"] == 1].set_index("detector").loc[[*SHIFTS]]
    np.testing.assert_allclose(found["auroc"].astype(float), aurocs.mean(axis=0))
    np.testing.assert_allclose(found["rank"].astype(float), ranks)
    rates = [np.mean([fpr95(*of(one, name, own, ood)) for one, own, ood in pairs]) for name in SHIFTS]
    np.testing.assert_allclose(found["fpr95"].astype(float), rates)
    assert found[["pairs", "sets", "seeds"]].values.tolist() == [[6, 3, 1]] * 4


def test_the_difference_is_that_of_the_means_with_an_interval_for_these_pairs():
    table = table_of(study(seeds=(0, 1))).set_index(["detector", "epoch"])
    for detector in ("likelihood", "neighbours"):
        row = table.loc[(detector, 1)]
        assert row["difference"] == pytest.approx(row["auroc"] - table.loc[("gradient_norms", 1), "auroc"])
        assert row["difference_pairs_low"] < row["difference"] < row["difference_pairs_high"]
        assert np.isnan(row["difference_sets_low"])  # of three sets nothing is said of new ones
    assert pd.isna(table.loc[("gradient_norms", 1), ["difference", "wins"]]).all()


def test_wins_and_losses_are_sure_comparisons_one_a_pair_and_seed():
    table = table_of(study(seeds=(0, 1))).set_index(["detector", "epoch"])
    rows = table.drop("gradient_norms")
    assert (rows["comparisons"] <= 12).all()
    assert (rows["wins"] + rows["losses"] <= rows["comparisons"]).all()
    assert table.loc[("likelihood", 1), "wins"] == table.loc[("neighbours", 1), "losses"] == 0
    assert table.loc["likelihood"]["losses"].sum() > 0


def test_pairs_that_a_control_solves_are_left_out_of_a_second_mean():
    scores = study(size=200)
    trained = {one.checkpoint: Trained(one.checkpoint, 0.0) for one in scores}
    solved = solved_pairs(auroc_table(scores, trained, CHAINS, CONFIG), ["pixels"])
    assert [*zip(solved["id_dataset"], solved["ood_dataset"], strict=True)] == [("a", "c"), ("b", "c")]
    table = table_of(scores, controls=["pixels"], solved=solved)
    assert table.groupby("over")["pairs"].unique().map(list).to_dict() == {"all": [6], "unsolved": [4]}
    last = [one for one in scores if one.checkpoint.epoch == 4]
    left = [(one, ood) for one in last for ood in one.ood_datasets if ood != "c"]
    expected = np.mean([auroc(*of(one, "neighbours", one.checkpoint.id_dataset, ood)) for one, ood in left])
    for found in (table, means_table(scores, {}, CHAINS, CONFIG, solved)):
        row = found.query("detector == 'neighbours' and epoch == 4 and over == 'unsolved'").iloc[0]
        assert row["auroc"] == pytest.approx(expected)
    text = detector_summary(table, solved)
    assert "glow, b=1: over 6 pairs pixels 0." in text
    assert "2 solved by a control; over the other 4 pixels 0." in text
    assert "neighbours" in text


def test_costs_are_of_what_is_read_and_of_the_longest_of_each_training():
    scores = study()

    def reads(one, detector):
        epochs = [1, 4] if detector == "neighbours" else [one.checkpoint.epoch]
        return [checkpoint(one.checkpoint.id_dataset, 0, epoch) for epoch in epochs]

    asked = Asked(CONFIG, "gradient_norms", ["pixels"])
    table = detector_table(scores, asked, spent(scores, reads)).set_index(["detector", "epoch"])
    costs = ["train_seconds", "feature_seconds", "score_seconds", "memory_mib"]
    assert table.loc[("gradient_norms", 4), costs].tolist() == [40.0, 2.0, 0.5, 100.0]
    assert table.loc[("neighbours", 1), costs].tolist() == [40.0, 4.0, 0.5, 100.0]
    assert table.loc[("pixels", 4), costs[:3]].tolist() == [0.0, 0.0, 0.5]
    assert total_seconds(table).loc[("gradient_norms", 4)] == 40 + 10 * 2.5
    assert total_seconds(table, "loop_seconds").loc[("gradient_norms", 4)] == 40 + 10 * 8.5
    assert table.loc[("pixels", 4), "control"] == "yes"


def test_the_trainings_of_two_sets_models_are_two():
    scores = study(epochs=(4,), detectors=("gradient_norms",))
    found = spent(scores, lambda one, detector: [checkpoint(name, 0, 4) for name in ("a", "b")])
    assert detector_table(scores, Asked(CONFIG), found)["train_seconds"].tolist() == [80.0]


def test_a_detector_of_all_seeds_is_compared_under_each_seed_of_the_reference():
    alone = study(seeds=(0, 1), detectors=("gradient_norms",), epochs=(1,))
    pooled = study(seeds=(POOLED,), detectors=("neighbours",), epochs=(1,))
    scores = [*pooled, *alone]
    reads = {POOLED: lambda one: [checkpoint(one.checkpoint.id_dataset, seed, 1) for seed in (0, 1)]}
    found = spent(scores, lambda one, detector: reads.get(one.checkpoint.seed, lambda one: [one.checkpoint])(one))
    table = detector_table(scores, Asked(CONFIG, "gradient_norms"), found).set_index("detector")
    assert table.loc["neighbours", "train_seconds"] == 20.0
    assert table.loc["neighbours", "comparisons"] <= 12
    expected = table.loc["neighbours", "auroc"] - table.loc["gradient_norms", "auroc"]
    assert table.loc["neighbours", "difference"] == pytest.approx(expected)
    assert table["rank"].sum() == pytest.approx(3)


def test_without_a_reference_or_controls_nothing_is_compared():
    scores = study(epochs=(1,))
    table = detector_table(scores, Asked(CONFIG), spent(scores))
    assert table[["reference", "wins", "difference"]].isna().all(axis=None)
    assert detector_summary(table) == ""
