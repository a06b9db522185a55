"""What detectors add to the best control: on pairs that a control solves, on near pairs, on the others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_maturity import make_chains
from test_means import make_scores

from immature_ood.config import POOLED
from immature_ood.evaluation import auroc
from immature_ood.means import combined, mean_of_these_pairs, term
from immature_ood.scores import ScoreKey
from immature_ood.study import EvaluationConfig
from immature_ood.tiers import TIERS_COLUMNS, Asked, tiers_summary, tiers_table

CONFIG = EvaluationConfig()
SETS = ("a", "b", "c")
BITS = {0: 9.0, 1: 2.4, 2: 2.0, 4: 2.3}
SOLVED = pd.DataFrame(
    [("a", "c", 1, "good", 0.99, 0.98)],
    columns=["id_dataset", "ood_dataset", "batch_size", "control", "auroc", "auroc_low"],
)
ASKED = Asked(CONFIG, ("poor", "good"), SOLVED, [("a", "b"), ("b", "a"), ("a", "c")])


def control(seed, dataset, own, shift):
    """The same at every epoch, as it reads no model."""
    place = SETS.index(dataset)
    return np.random.default_rng((7, place, seed)).normal(0 if dataset == own else shift, size=40)


def with_controls(scores):
    own, seed = scores.checkpoint.id_dataset, scores.checkpoint.seed
    shifts = {"poor": 0.1, "good": 0.9}
    values = {
        ScoreKey(name, 1, dataset, "test"): control(seed, dataset, own, shift)
        for name, shift in shifts.items()
        for dataset in SETS
    }
    dead = dict.fromkeys(((name, 1) for name in shifts), ())
    return replace(scores, values={**scores.values, **values}, dead_layers={**scores.dead_layers, **dead})


def study(seeds=(0, 1), shift=lambda epoch: 1 + epoch / 8):
    return [
        with_controls(make_scores(name, epoch, seed, shift(epoch), SETS))
        for name in SETS
        for seed in seeds
        for epoch in BITS
    ]


def table_of(scores, asked=ASKED):
    return tiers_table(scores, make_chains(BITS, id_datasets=SETS), asked)


@pytest.fixture(scope="module")
def table():
    return table_of(study())


def test_tiers_share_the_pairs_out(table):
    """A near pair that a control solves is solved."""
    assert tuple(table.columns) == TIERS_COLUMNS
    assert {*table["detector"]} == {"likelihood"}
    assert table.groupby("tier")["pairs"].unique().map(list).to_dict() == {"solved": [1], "near": [2], "unsolved": [3]}
    assert table[table["tier"] == "near"]["moment"].tolist() == [
        *("untrained", "one pass", "excess 0.5", "reference"),
    ]
    assert table.set_index("moment").loc["reference", "epochs"].tolist() == ["2"] * 3


def test_what_is_added_is_the_paired_difference_to_the_best_control(table):
    row = table.set_index(["tier", "moment"]).loc[("near", "one pass")]
    assert row["control"] == "good"
    scores = {(one.checkpoint.id_dataset, one.checkpoint.seed, one.checkpoint.epoch): one for one in study()}
    terms, controls = [], []
    for own, other in (("a", "b"), ("b", "a")):
        for seed in (0, 1):
            one = scores[own, seed, 1]
            units = one.units_of(1, own), one.units_of(1, other)
            for detector, found in (("likelihood", terms), ("good", controls)):
                values = one.of(detector, 1, own), one.of(detector, 1, other)
                found.append(term((own, other), seed, values, units))
                assert found[-1].value == pytest.approx(auroc(*values))
    expected = mean_of_these_pairs([combined((1, -1), both) for both in zip(terms, controls, strict=True)])
    assert row[["added", "added_pairs_low", "added_pairs_high"]].tolist() == pytest.approx(
        [expected.value, expected.low, expected.high]
    )
    assert row["auroc_control"] == pytest.approx(np.mean([one.value for one in controls]))
    assert row["auroc"] == pytest.approx(row["auroc_control"] + row["added"])
    assert row["auroc_pairs_low"] < row["auroc"] < row["auroc_pairs_high"]


def test_the_difference_is_to_the_reference(table):
    rows = table[table["tier"] == "unsolved"].set_index("moment")
    for moment in ("untrained", "one pass"):
        assert rows.loc[moment, "difference"] == pytest.approx(
            rows.loc[moment, "auroc"] - rows.loc["reference", "auroc"]
        )
    assert rows.loc["reference", "difference"] == 0


def test_a_control_of_other_seeds_is_compared_under_each():
    """Some are of all seeds together, or of the first alone."""
    scores = [one for one in study() if one.checkpoint.seed == 0]
    without = [replace(one, dead_layers={("likelihood", 1): ()}) for one in study() if one.checkpoint.seed == 1]
    pooled = [replace(one, checkpoint=replace(one.checkpoint, seed=POOLED)) for one in scores]
    pooled = [replace(one, dead_layers={("good", 1): ()}) for one in pooled]
    likely = [replace(one, dead_layers={("likelihood", 1): ()}) for one in scores]
    for given in (scores + without, likely + without + pooled):
        row = table_of(given).set_index(["tier", "moment"]).loc[("near", "one pass")]
        values = [
            auroc(*(control(0, dataset, own, 0.9) for dataset in (own, other)))
            for own, other in (("a", "b"), ("b", "a"))
        ]
        assert row["auroc_control"] == pytest.approx(np.mean(values))
        assert row["seeds"] == 2


def test_without_controls_nothing_is_added():
    table = table_of(study(), replace(ASKED, controls=()))
    assert table["added"].isna().all()
    assert {*table["detector"]} == {"likelihood", "poor", "good"}
    assert tiers_summary(table) == ""
    assert "no control" in tiers_summary(table, always=True)


def test_the_summary_says_by_tier_what_is_added():
    strong, weak = (
        table_of(study(shift=shift)) for shift in (lambda epoch: 3.0 - 4 * (epoch == 1), lambda epoch: -0.5)
    )
    text = tiers_summary(strong)
    near = text[text.index("near pairs") :].splitlines()
    assert near[1].startswith("    glow, b=1, 2 pairs: good 0.")
    assert near[2].startswith("      one pass: behind it 1 (likelihood -")
    assert near[3].startswith("      reference: ahead of it 1 (likelihood +")
    assert near[4] == "    Some detector adds to the control: at the reference alone."
    assert "No detector is shown to add to the control, neither" in tiers_summary(weak)
    assert max(map(len, text.splitlines())) <= 118


def test_one_tier_is_not_told_apart_unless_asked_for():
    table = table_of(study(), Asked(CONFIG, ("good",)))
    assert tiers_summary(table) == ""
    assert "pairs that no control solves\n    glow, b=1, 6 pairs: good" in tiers_summary(table, always=True)


def test_few_units_give_no_interval_and_no_verdict(table):
    few = table.assign(added_pairs_low=np.nan, added_pairs_high=np.nan)
    assert "without an interval 1 (likelihood" in tiers_summary(few)
