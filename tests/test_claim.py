"""The claim at matched maturity: moments of training against the minimum, over pairs and seeds."""

import numpy as np
import pandas as pd
import pytest
from test_maturity import make_chains
from test_means import make_scores

from immature_ood.claim import CLAIM_COLUMNS, claim_summary, claim_table
from immature_ood.evaluation import auroc, immature_table
from immature_ood.maturity import chains_of
from immature_ood.means import means_table
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
SETS = ("a", "b", "c")
EPOCHS = (0, 1, 2, 4, 8)
FAST, SLOW = {0: 9.0, 1: 2.4, 2: 2.0, 4: 2.3, 8: 2.9}, {0: 9.0, 1: 5.0, 2: 3.0, 4: 2.15, 8: 2.0}
SOLVED = pd.DataFrame(
    [("a", "c", 1, "pixels", 0.99, 0.98)],
    columns=["id_dataset", "ood_dataset", "batch_size", "control", "auroc", "auroc_low"],
)


def study(seeds=(0, 1), shift=lambda epoch: 1 + epoch / 8):
    return [make_scores(name, epoch, seed, shift(epoch), SETS) for name in SETS for seed in seeds for epoch in EPOCHS]


def chains():
    """Seed 0 has its minimum at epoch 2, seed 1 was still falling at 8."""
    both = make_chains(FAST, [0], SETS, epoch_2="mature"), make_chains(SLOW, [1], SETS, epoch_8="mature")
    return chains_of([each.training for each in both])


def claim_of(scores, solved=SOLVED.iloc[:0], **options):
    immature = immature_table(scores, chains(), CONFIG)
    return claim_table(scores, immature, chains(), CONFIG, {}, solved, **options), immature


def auroc_of(scores, own, other, seed, epoch):
    (one,) = [
        each
        for each in scores
        if (each.checkpoint.id_dataset, each.checkpoint.seed, each.checkpoint.epoch) == (own, seed, epoch)
    ]
    return auroc(one.of("likelihood", 1, own), one.of("likelihood", 1, other))


def test_each_training_has_moments_and_a_reference_of_its_own():
    scores = study()
    table, immature = claim_of(scores)
    assert tuple(table.columns) == CLAIM_COLUMNS
    rows = table.set_index("moment")
    assert rows["epochs"].to_dict() == {
        "untrained": "0",
        "one pass": "1",
        "excess 0.5": "1/4",
        "excess 0.2": "2/4",
    }
    assert set(rows["reference_epochs"]) == {"2/8"}
    assert rows["trainings"].tolist() == [6] * len(rows)
    assert rows["still_falling"].tolist() == [3] * len(rows)
    places = [(own, other, seed) for own in SETS for other in SETS if own != other for seed in (0, 1)]
    found = [
        auroc_of(scores, *place, (1, 4)[place[2]]) - auroc_of(scores, *place, (2, 8)[place[2]]) for place in places
    ]
    row = rows.loc["excess 0.5"]
    assert row["difference"] == pytest.approx(np.mean(found)) == pytest.approx(row["auroc"] - row["auroc_reference"])
    assert row["difference_pairs_low"] < row["difference"] < row["difference_pairs_high"]
    assert row["excess"] == pytest.approx((0.4 + 0.15) / 2)
    chosen = immature[immature.epoch.eq(immature.seed.map({0: 1, 1: 4}))]
    words = ["better", "equivalent", "worse", "undecided", "saturated"]
    assert row[words].tolist() == [chosen.corrected.eq(word).sum() for word in words]
    assert row[words].sum() == 12
    assert row["same"] == 0


def test_where_the_moment_is_the_reference_there_is_nothing_to_compare():
    """Seed 0 is at its minimum when it comes within 0.2; at 0.1 both seeds are, and the row is left out."""
    rows = claim_of(study())[0].set_index("moment")
    assert rows.loc["excess 0.2", ["same", "better", "equivalent", "worse", "undecided", "saturated"]].sum() == 12
    assert rows.loc["excess 0.2", "same"] == 6
    assert "excess 0.1" not in rows.index


def test_pairs_that_no_control_solves_have_a_row_of_their_own():
    table = claim_of(study(), SOLVED)[0]
    assert table.groupby("over")["pairs"].unique().map(list).to_dict() == {"all": [6], "unsolved": [5]}


def test_one_pass_may_be_several_epochs():
    table = claim_of(study(), one_pass=4)[0].set_index("moment")
    assert table.loc["one pass", "epochs"] == "4"
    assert "one pass" not in claim_of(study(), one_pass=3)[0]["moment"].tolist()


def test_a_detector_at_one_epoch_alone_has_no_row():
    scores = [one for one in study() if one.checkpoint.epoch == 8]
    table, _ = claim_of(scores)
    assert table.empty
    assert "nothing to compare" in claim_summary(table)


def test_the_means_are_against_the_same_references():
    scores = study()
    table, _ = claim_of(scores)
    means = means_table(scores, {}, chains(), CONFIG).set_index("epoch")
    first = table.set_index("moment").loc["one pass"]
    assert means.loc[1, "difference"] == pytest.approx(first["difference"])
    assert means.loc[1, "difference_pairs_high"] == pytest.approx(first["difference_pairs_high"])
    assert means.loc[1, "reference_epochs"] == first["reference_epochs"]


def test_the_summary_has_a_line_for_each_moment_and_none_for_controls():
    table = claim_of(study(), SOLVED)[0]
    lines = claim_summary(table).splitlines()
    assert lines[3].split() == ["likelihood,", "glow,", "b=1"]
    names = [re_named(line) for line in lines[4:-3]]
    moments = ["untrained", "one pass", "excess 0.5", "excess 0.2"]
    assert names == [*moments, "pairs that no control solves", *moments]
    assert "nothing to compare" in claim_summary(table, ["likelihood"])
    alike = pd.concat([table, table.query("moment == 'excess 0.2'").assign(moment="excess 0.1")])
    assert sum("  excess 0.2, 0.1  " in line for line in claim_summary(alike).splitlines()) == 2
    assert max(map(len, lines)) <= 112


def re_named(line):
    """What stands before the numbers."""
    return line.strip().split("   ")[0]
