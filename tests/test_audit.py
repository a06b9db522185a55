from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from immature_ood.audit import AUDIT_COLUMNS, SUMMARY_COLUMNS, audit_rows, audit_summary, summary_text
from immature_ood.evaluation import auroc_difference
from immature_ood.provenance import CheckpointId
from immature_ood.scores import ScoreKey, Scores
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig(resamples=200)
SETS = ("digits", "photos", "glyphs")


def make_scores(epoch=1, shift=1.0, id_dataset="digits", detector="gradient_norms", groups=60, seed=0):
    """Toy scores in which both OOD sets are shifted; the same groups whatever the shift."""
    generator = np.random.default_rng(1)
    values = {
        ScoreKey(detector, b, dataset, "test"): generator.normal(0 if dataset == id_dataset else shift, size=groups)
        for b in (1, 5)
        for dataset in SETS
    }
    checkpoint = CheckpointId(id_dataset, "glow", seed, epoch, 0, "key")
    return Scores(checkpoint, 3.0, {(detector, 1): (), (detector, 5): ()}, values)


def test_the_same_scores_do_not_differ():
    table = audit_rows("nothing", [make_scores()], [make_scores()], {}, CONFIG)
    assert tuple(table.columns) == AUDIT_COLUMNS
    assert len(table) == 2 * 2
    assert {*table["choice"]} == {"nothing"}
    assert {*table["verdict"]} == {"equivalent"}
    assert (table["difference"] == 0).all()
    assert (table["auroc"] == table["auroc_changed"]).all()


def test_a_difference_is_the_paired_one():
    base, changed = make_scores(shift=1.0), make_scores(shift=2.0)
    row = (
        audit_rows("shift", [base], [changed], {}, CONFIG).query("batch_size == 5 and ood_dataset == 'photos'").iloc[0]
    )
    pair = [(one.of("gradient_norms", 5, "digits"), one.of("gradient_norms", 5, "photos")) for one in (changed, base)]
    expected = auroc_difference(*pair, CONFIG)
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (
        expected.value,
        expected.low,
        expected.high,
    )
    assert row["auroc_changed"] - row["auroc"] == pytest.approx(row["difference"])
    assert row["verdict"] == "better"


def renamed(scores, old, new):
    """The scores with a data set called otherwise, as the ID set too."""
    values = {replace(key, dataset=new if key.dataset == old else key.dataset): v for key, v in scores.values.items()}
    checkpoint = scores.checkpoint
    if checkpoint.id_dataset == old:
        checkpoint = replace(checkpoint, id_dataset=new)
    return replace(scores, values=values, checkpoint=checkpoint)


@pytest.mark.parametrize("old", ["digits", "photos"])
def test_a_data_set_may_be_called_otherwise(old):
    changed = renamed(make_scores(shift=2.0), old, f"{old}_jpeg")
    found = audit_rows("jpeg", [make_scores()], [changed], {f"{old}_jpeg": old}, CONFIG)
    pd.testing.assert_frame_equal(found, audit_rows("jpeg", [make_scores()], [make_scores(shift=2.0)], {}, CONFIG))


def test_a_variant_of_a_detector_is_set_against_the_detector():
    changed = make_scores(shift=2.0, detector="gradient_norms_epsilon")
    table = audit_rows("epsilon", [make_scores()], [changed], {}, CONFIG)
    assert {*table["detector"]} == {"gradient_norms_epsilon"}
    assert (table["difference"] > 0).all()


def test_what_is_in_one_study_only_is_left_out_and_nothing_in_common_is_an_error():
    base = [make_scores(epoch) for epoch in (1, 2)]
    assert {*audit_rows("few", base, [make_scores(2)], {}, CONFIG)["epoch"]} == {2}
    with pytest.raises(ValueError, match="other: no ID data set, seed and epoch in both"):
        audit_rows("other", base, [make_scores(3)], {}, CONFIG)
    with pytest.raises(ValueError, match="not the same test groups"):
        audit_rows("fewer", base, [make_scores(1, groups=50)], {}, CONFIG)


def test_other_seeds_stand_beside_each_other_in_their_order():
    base = [make_scores(seed=seed) for seed in (0, 1)]
    changed = [make_scores(seed=seed, shift=shift) for seed, shift in ((7, 2.0), (3, 1.0))]
    table = audit_rows("seeds", base, changed, {}, CONFIG)
    assert (table.query("seed == 0")["difference"] == 0).all()
    assert (table.query("seed == 1")["difference"] > 0).all()


def summed_up(base_shifts, changed_shifts):
    """The summary of a choice that changes the shift of the OOD sets at epochs 0, 1 and 16, three ID sets."""

    def study(shifts):
        return [
            make_scores(epoch, shift, name) for name in SETS for epoch, shift in zip((0, 1, 16), shifts, strict=True)
        ]

    audit = audit_rows("choice", study(base_shifts), study(changed_shifts), {}, CONFIG)
    return audit_summary(audit, CONFIG)


def test_a_choice_that_does_nothing_changes_nothing():
    summary = summed_up((9, 1, 2), (9, 1, 2))
    assert tuple(summary.columns) == SUMMARY_COLUMNS
    assert len(summary) == 2
    assert {*summary["pairs"]} == {6}
    assert (summary["difference"] == 0).all()
    assert {*summary["equivalent"]} == {2 * 6}  # the untrained epoch is left out
    assert not summary["changes_claim"].any()
    assert "Nothing moves in: choice gradient_norms b=1, choice gradient_norms b=5." in summary_text(summary)


def test_a_choice_that_turns_the_claim_is_said_to():
    """Without the choice the first epoch is worse than the last, with it better."""
    summary = summed_up((0, 0.2, 2), (0, 2, 0.2))
    assert (summary["claim"] < -0.1).all()
    assert (summary["claim_changed"] > 0.1).all()
    assert (summary["claim_difference_low"] > 0).all()
    assert summary["changes_claim"].all()
    assert [line.split()[-1] for line in summary_text(summary).splitlines()[2:4]] == ["yes", "yes"]


def test_a_choice_that_lowers_all_alike_moves_auroc_and_not_the_claim():
    summary = summed_up((0, 2, 2), (0, 1, 1))
    assert (summary["difference_high"] < 0).all()
    assert not summary["changes_claim"].any()
    line = summary_text(summary).splitlines()[2]
    assert line.split()[:3] == ["choice", "gradient_norms", "1"]
    assert "0/0/12/0" in line
    assert "yes" not in line
