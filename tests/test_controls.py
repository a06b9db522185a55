"""Pairs that a control solves."""

import pandas as pd
import pytest

from immature_ood.controls import ALL, NONE_SOLVED, UNSOLVED, is_solved, overs, solved_note, solved_pairs

COLUMNS = ["id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "detector", "auroc", "auroc_low"]


def table(*rows):
    return pd.DataFrame([("a", *row) for row in rows], columns=COLUMNS)


AUROC = table(
    ("a", "glow", 0, 0, 1, "pixels", 0.99, 0.98),  # calibration
    ("b", "glow", 0, 0, 1, "pixels", 0.97, 0.95),
    ("b", "glow", 0, 0, 1, "spread", 0.99, 0.96),
    ("b", "glow", 0, 0, 5, "pixels", 0.97, 0.949),
    ("b", "glow", 0, 0, 5, "likelihood", 1.0, 0.99),  # no control
    ("c", "glow", 0, 0, 1, "pixels", 0.90, 0.85),
    ("c", "glow", 0, 4, 1, "pixels", 0.99, 0.98),  # a later epoch does not count
    ("c", "glow", 1, 0, 1, "pixels", 0.99, 0.98),  # nor another seed
)


def test_a_pair_is_solved_by_the_first_row_of_a_control():
    found = solved_pairs(AUROC, ["pixels", "spread"])
    assert found.values.tolist() == [["a", "b", 1, "spread", 0.99, 0.96]]
    assert solved_pairs(AUROC, ["pixels"])["control"].tolist() == ["pixels"]
    assert solved_pairs(AUROC, []).empty


def test_rows_of_a_solved_pair_are_those_of_its_b():
    solved = solved_pairs(AUROC, ["pixels"])
    assert is_solved(AUROC, solved).tolist() == [False, True, True, False, False, False, False, False]
    assert not is_solved(AUROC, NONE_SOLVED).any()


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["ab", "ac"], {ALL: ["ab", "ac"], UNSOLVED: ["ac"]}),
        (["ac"], {ALL: ["ac"]}),  # none is solved
        (["ab"], {ALL: ["ab"]}),  # all are
    ],
)
def test_means_are_over_all_and_where_some_are_solved_over_the_others(pairs, expected):
    solved = solved_pairs(AUROC, ["pixels"])
    assert dict(overs(pairs, lambda pair: (*pair, 1), solved)) == expected


def test_the_note_names_pair_b_and_control():
    note = solved_note(solved_pairs(AUROC, ["pixels", "spread"]))
    assert note.startswith("Solved by a control at b=1 (the lower end of its AUROC's interval is 0.95 or more): ")
    assert note.endswith(": a → b (spread 0.990).")
    assert solved_note(NONE_SOLVED) == ""
