from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from immature_ood.audit import AUDIT_COLUMNS, SUMMARY_COLUMNS, audit_rows, audit_summary, audit_text, compared
from immature_ood.checkpoint_id import CheckpointId
from immature_ood.intervals import auroc_difference
from immature_ood.scores import ScoreKey, Scores
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
SETS = ("digits", "photos", "glyphs")


def make_scores(
    epoch=1, shift=1.0, id_dataset="digits", detectors=("gradient_norms",), groups=60, seed=0, model="glow", sets=SETS
):
    """Toy scores in which all OOD sets are shifted; the same groups whatever the shift, other ones of each detector."""
    generator = np.random.default_rng(1)
    values = {
        ScoreKey(detector, b, dataset, "test"): generator.normal(0 if dataset == id_dataset else shift, size=groups)
        for detector in detectors
        for b in (1, 5)
        for dataset in sets
    }
    checkpoint = CheckpointId(id_dataset, model, seed, epoch, 0, "key")
    units = {(b, dataset, "test"): np.arange(groups) for b in (1, 5) for dataset in sets}
    return Scores(checkpoint, 3.0, {(detector, b): () for detector in detectors for b in (1, 5)}, values, units)


def rows_of(choice, base, changed, datasets=None, baselines=None):
    return audit_rows(choice, compared(choice, base, changed, datasets or {}, baselines or {}), CONFIG)


def test_the_same_scores_do_not_differ():
    table = rows_of("nothing", [make_scores()], [make_scores()])
    assert tuple(table.columns) == AUDIT_COLUMNS
    assert len(table) == 2 * 2
    assert {*table["choice"]} == {"nothing"}
    assert {*table["verdict"]} == {"equivalent"}
    assert (table["difference"] == 0).all()
    assert (table["auroc"] == table["auroc_changed"]).all()


def test_a_difference_is_the_paired_one():
    base, changed = make_scores(shift=1.0), make_scores(shift=2.0)
    row = rows_of("shift", [base], [changed]).query("batch_size == 5 and ood_dataset == 'photos'").iloc[0]
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
    units = {(b, new if name == old else name, split): v for (b, name, split), v in scores.units.items()}
    checkpoint = scores.checkpoint
    if checkpoint.id_dataset == old:
        checkpoint = replace(checkpoint, id_dataset=new)
    return replace(scores, values=values, units=units, checkpoint=checkpoint)


@pytest.mark.parametrize("old", ["digits", "photos"])
def test_a_data_set_may_be_called_otherwise(old):
    changed = renamed(make_scores(shift=2.0), old, f"{old}_jpeg")
    found = rows_of("jpeg", [make_scores()], [changed], {f"{old}_jpeg": old})
    pd.testing.assert_frame_equal(found, rows_of("jpeg", [make_scores()], [make_scores(shift=2.0)]))


BOTH = ("gradient_norms", "gradient_norms_epsilon")


def test_a_study_against_itself_is_0_for_every_detector_and_model():
    study = [make_scores(detectors=BOTH, model=model, shift=shift) for model, shift in (("glow", 1.0), ("other", 2.0))]
    table = rows_of("itself", study, study)
    assert {*zip(table["model"], table["detector"], strict=True)} == {(m, d) for m in ("glow", "other") for d in BOTH}
    assert (table["difference"] == 0).all()


def test_a_detector_is_set_against_the_one_that_is_named_and_no_other():
    base, changed = make_scores(detectors=BOTH), make_scores(shift=2.0, detectors=BOTH[1:])
    exact = rows_of("epsilon", [base], [changed])
    assert {*exact["detector"]} == {"gradient_norms_epsilon"}
    assert exact["auroc"].tolist() == rows_of("", [base], [base]).query("detector == @BOTH[1]")["auroc"].tolist()
    named = rows_of("epsilon", [base], [changed], baselines={BOTH[1]: BOTH[0]})
    assert named["auroc"].tolist() == rows_of("", [base], [base]).query("detector == @BOTH[0]")["auroc"].tolist()
    with pytest.raises(ValueError, match="epsilon: no ID data set, model"):
        rows_of("epsilon", [make_scores()], [make_scores(detectors=BOTH[1:], model="other")])


def test_a_model_is_set_against_the_one_that_is_named():
    base = [make_scores(model="glow"), make_scores(model="wide", shift=2.0)]
    changed = [make_scores(model="tied_flow", shift=2.0)]
    table = rows_of("tied", base, changed, baselines={"tied_flow": "wide"})
    assert {*table["model"]} == {"tied_flow"}
    assert (table["difference"] == 0).all()
    assert (rows_of("tied", base, changed, baselines={"tied_flow": "glow"})["difference"] > 0).all()


def test_what_is_in_one_study_only_is_left_out_and_nothing_in_common_is_an_error():
    base = [make_scores(epoch) for epoch in (1, 2)]
    assert {*rows_of("few", base, [make_scores(2)])["epoch"]} == {2}
    with pytest.raises(ValueError, match="other: no ID data set, model, seed and epoch in both"):
        rows_of("other", base, [make_scores(3)])
    with pytest.raises(ValueError, match="not the same test groups"):
        rows_of("fewer", base, [make_scores(1, groups=50)])


def test_other_seeds_stand_beside_each_other_in_their_order():
    base = [make_scores(seed=seed) for seed in (0, 1)]
    changed = [make_scores(seed=seed, shift=shift) for seed, shift in ((7, 2.0), (3, 1.0))]
    table = rows_of("seeds", base, changed)
    assert (table.query("seed == 0")["difference"] == 0).all()
    assert (table.query("seed == 1")["difference"] > 0).all()


MANY = ("digits", "photos", "glyphs", "textures", "letters")


def summed_up(base_shifts, changed_shifts, seeds=(0,), sets=SETS):
    """Summary and rows of a choice that changes the shift of the OOD sets at epochs 0, 1 and 16; all sets are ID."""

    def study(shifts):
        return [
            make_scores(epoch, shift, name, seed=seed, sets=sets)
            for name in sets
            for seed in seeds
            for epoch, shift in zip((0, 1, 16), shifts, strict=True)
        ]

    comparisons = compared("choice", study(base_shifts), study(changed_shifts), {}, {})
    rows = audit_rows("choice", comparisons, CONFIG)
    return audit_summary({"choice": comparisons}, rows, CONFIG), rows


def test_a_choice_that_does_nothing_changes_nothing():
    summary, rows = summed_up((9, 1, 2), (9, 1, 2))
    assert tuple(summary.columns) == SUMMARY_COLUMNS
    assert len(summary) == 2
    assert summary[["pairs", "sets", "seeds"]].values.tolist() == [[6, 3, 1]] * 2
    assert (summary[["difference", "difference_pairs_low", "difference_pairs_high"]] == 0).all(axis=None)
    assert (summary["equivalent"] + summary["saturated"] == 2 * 6).all()  # the untrained epoch is left out
    assert not summary["changes_claim"].any()
    said = "Nothing moves in: choice gradient_norms, glow, b=1; choice gradient_norms, glow, b=5."
    assert said in audit_text(summary, rows)


def test_a_choice_that_turns_the_claim_is_said_to():
    """Without the choice the first epoch is worse than the last, with it better."""
    summary, rows = summed_up((0, 0.2, 2), (0, 2, 0.2))
    assert (summary["claim"] < -0.1).all()
    assert (summary["claim_changed"] > 0.1).all()
    assert (summary["claim_difference_pairs_low"] > 0).all()
    assert summary["changes_claim"].all()
    assert [line.split()[-1] for line in audit_text(summary, rows).splitlines()[2:4]] == ["yes", "yes"]


def test_a_choice_that_lowers_all_alike_moves_auroc_and_not_the_claim():
    summary, rows = summed_up((0, 2, 2), (0, 1, 1))
    assert (summary["difference_pairs_high"] < 0).all()
    assert not summary["changes_claim"].any()
    line = audit_text(summary, rows).splitlines()[2]
    assert line.split()[:4] == ["choice", "gradient_norms,", "glow", "1"]
    assert "yes" not in line


def test_of_few_data_sets_the_pairs_are_printed_and_nothing_is_said_of_new_ones():
    summary, rows = summed_up((0, 2, 2), (0, 1, 1))
    assert summary["difference_sets_low"].isna().all()
    text = audit_text(summary, rows)
    assert "with fewer than 5 ID or OOD sets nothing is said of new ones" in text
    assert "other seeds are not covered" in text
    values = rows.query("epoch >= 1 and batch_size == 1").groupby(["id_dataset", "ood_dataset"])["difference"].mean()
    of_pairs = " ".join(f"{value:+.3f}" for value in sorted(values))
    assert f"  choice gradient_norms, glow, b=1: {of_pairs}" in text.splitlines()


def test_of_five_data_sets_and_two_seeds_both_intervals_stand_beside_each_other():
    summary, rows = summed_up((0, 2, 2), (0, 1, 1), seeds=(0, 1), sets=MANY)
    assert summary[["pairs", "sets", "seeds"]].values.tolist() == [[20, 5, 2]] * 2
    assert summary["difference_sets_low"].notna().all()
    assert "nothing is said of new ones" not in audit_text(summary, rows)
    assert "not covered" not in audit_text(summary, rows)
