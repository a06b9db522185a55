"""What choosing an epoch costs: regret by hand and in expectation, and one epoch for all by brute force."""

import itertools

import numpy as np
import pandas as pd
import pytest
from test_means import make_scores

from immature_ood.epoch_choice import EPOCH_CHOICE_COLUMNS, epoch_choice_summary, epoch_choice_table, regret
from immature_ood.evaluation import auroc
from immature_ood.means import term
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
SETS, SEEDS, EPOCHS = ("a", "b", "c"), (0, 1), (0, 1, 2, 4)
SHIFTS = {"a": (0.2, 2.0, 0.8, 0.5), "b": (0.1, 0.6, 1.2, 0.4), "c": (0.3, 0.5, 0.9, 1.1)}  # by ID set and epoch
SOLVED = pd.DataFrame(
    [("a", "c", 1, "pixels", 0.99, 0.98)],
    columns=["id_dataset", "ood_dataset", "batch_size", "control", "auroc", "auroc_low"],
)


def scores():
    return [
        make_scores(own, epoch, seed, shift, SETS)
        for own in SETS
        for seed in SEEDS
        for epoch, shift in zip(EPOCHS, SHIFTS[own], strict=True)
    ]


def choices(choose, rule="mine"):
    """choose: the probabilities of epochs, by ID set and seed."""
    rows = [
        (own, "glow", seed, rule, "likelihood", 1, epoch, probability, 4)
        for own in SETS
        for seed in SEEDS
        for epoch, probability in choose(own, seed).items()
    ]
    columns = ["id_dataset", "model", "seed", "rule", "detector", "batch_size", "epoch", "probability", "trained_to"]
    return pd.DataFrame(rows, columns=columns)


def table_of(choose, solved=SOLVED.iloc[:0]):
    return epoch_choice_table(scores(), choices(choose), {}, CONFIG, solved)


def by_hand():
    """(own, other, seed, epoch) → AUROC on all, on the even and on the odd test images."""
    found = {}
    for one in scores():
        own, place = one.checkpoint.id_dataset, (one.checkpoint.seed, one.checkpoint.epoch)
        for other in one.ood_datasets:
            both = one.of("likelihood", 1, own), one.of("likelihood", 1, other)
            parts = [both, *(tuple(side[start::2] for side in both) for start in (0, 1))]
            found[own, other, *place] = [auroc(*part) for part in parts]
    return found


def regret_by_hand(choose):
    values, found = by_hand(), []
    for own, other in itertools.permutations(SETS, 2):
        for seed in SEEDS:
            _, first, second = zip(*(values[own, other, seed, epoch] for epoch in EPOCHS), strict=True)
            for chosen_on, read_on in ((first, second), (second, first)):
                rule = sum(share * read_on[EPOCHS.index(epoch)] for epoch, share in choose(own, seed).items())
                found.append(read_on[int(np.argmax(chosen_on))] - rule)
    return np.mean(found)


@pytest.mark.parametrize(
    "choose",
    [
        lambda own, seed: {1: 1.0},
        lambda own, seed: {2: 1.0} if seed else {4: 1.0},
        lambda own, seed: dict.fromkeys(EPOCHS, 0.25),
    ],
    ids=["one", "by seed", "at random"],
)
def test_regret_is_that_of_each_half_by_the_other(choose):
    (row,) = table_of(choose).to_dict("records")
    assert row["regret"] == pytest.approx(regret_by_hand(choose))
    assert row["regret_pairs_low"] < row["regret"] < row["regret_pairs_high"]
    assert (row["pairs"], row["sets"], row["seeds"]) == (6, 3, 2)


def test_the_expectation_at_random_is_the_mean_of_all_epochs():
    every = [table_of(lambda own, seed, epoch=epoch: {epoch: 1.0}).iloc[0] for epoch in EPOCHS]
    at_random = table_of(lambda own, seed: dict.fromkeys(EPOCHS, 0.25)).iloc[0]
    for column in ("auroc", "regret", "difference"):
        assert at_random[column] == pytest.approx(np.mean([row[column] for row in every]))
    assert at_random["saved"] == pytest.approx(1 - np.mean(EPOCHS) / 4)


def by_epoch(draw, shifts, size=60):
    """AUROC by epoch of one half."""
    ids = draw.normal(size=size)
    units = np.arange(size), np.arange(size)
    return {
        epoch: term(("a", "b"), 0, (ids + draw.normal(0, 0.5, size), draw.normal(shift, 1, size)), units)
        for epoch, shift in enumerate(shifts)
    }


def test_who_chooses_the_best_epoch_has_no_regret():
    for seed in range(20):
        halves = [by_epoch(np.random.default_rng((seed, side)), (0.0, 2.5, 0.5)) for side in (0, 1)]
        assert {max(half, key=lambda epoch, half=half: half[epoch].value) for half in halves} == {1}
        found = regret({1: 1.0}, *halves)
        assert (found.value, *{each for values in found.of_units.values() for each in values}) == (0, 0)
        assert regret({0: 1.0}, *halves).value > 0


def test_regret_is_the_true_difference_in_expectation_and_not_the_highest_of_noise():
    """Where all epochs are alike there is nothing to lose; the best of the same images would be ahead by .02."""
    draws = [[by_epoch(np.random.default_rng((seed, side)), (1.0,) * 4) for side in (0, 1)] for seed in range(300)]
    found = [regret({2: 1.0}, *halves).value for halves in draws]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    naive = [max(each.value for each in half.values()) - half[2].value for halves in draws for half in halves]
    assert np.mean(naive) > 0.02 > 5 * abs(np.mean(found))


def one_for_all_by_hand(own, pairs):
    """The epoch of the highest mean over the pairs of the other ID sets."""
    values = by_hand()
    means = [
        np.mean([values[*pair, seed, epoch][0] for pair in pairs if pair[0] != own for seed in SEEDS])
        for epoch in EPOCHS
    ]
    return EPOCHS[int(np.argmax(means))]


@pytest.mark.parametrize("solved", [SOLVED.iloc[:0], SOLVED], ids=["none solved", "one solved"])
def test_the_one_epoch_for_all_is_chosen_on_the_other_id_sets(solved):
    values = by_hand()
    table = table_of(lambda own, seed: {2: 1.0}, solved).set_index("over")
    every = [*itertools.permutations(SETS, 2)]
    parts = {"all": every} | ({"unsolved": [pair for pair in every if pair != ("a", "c")]} if len(solved) else {})
    assert {*table.index} == {*parts}
    for over, pairs in parts.items():
        taken = {own: one_for_all_by_hand(own, pairs) for own in SETS}
        expected = np.mean(
            [values[*pair, seed, 2][0] - values[*pair, seed, taken[pair[0]]][0] for pair in pairs for seed in SEEDS]
        )
        assert table.loc[over, "difference"] == pytest.approx(expected)
        assert {*table.loc[over, "one_for_all"].split("/")} == {str(epoch) for epoch in taken.values()}
    assert len({one_for_all_by_hand(own, every) for own in SETS}) > 1  # or leaving one out would be nothing


def test_of_one_id_set_there_is_no_epoch_for_all():
    of_a = choices(lambda own, seed: {1: 1.0}).query("id_dataset == 'a'")
    (row,) = epoch_choice_table(scores(), of_a, {}, CONFIG).to_dict("records")
    assert np.isnan(row["difference"])
    assert "no interval, so that no rule is told" in epoch_choice_summary(pd.DataFrame([row]))


def test_a_set_of_one_unit_has_no_regret_and_the_others_have():
    changed = [
        one.__class__(**{**vars(one), "units": {**one.units, (1, "c", "test"): np.zeros(40, int)}}) for one in scores()
    ]
    (row,) = epoch_choice_table(changed, choices(lambda own, seed: {1: 1.0}), {}, CONFIG).to_dict("records")
    assert row["pairs"] == 6
    assert np.isfinite(row["regret"])


def test_what_is_saved_is_by_the_epoch_and_by_what_the_rule_must_see():
    row = table_of(lambda own, seed: {1: 1.0} if own == "a" else {2: 1.0}).iloc[0]
    assert row["saved"] == pytest.approx((3 / 4 + 2 / 4 + 2 / 4) / 3)
    assert row["saved_by_rule"] == 0
    assert row["epochs"] == "1/2"


def test_the_table_has_its_columns_in_any_order_of_the_scores():
    choose = choices(lambda own, seed: {1: 1.0})
    table = epoch_choice_table(scores(), choose, {}, CONFIG)
    assert tuple(table.columns) == EPOCH_CHOICE_COLUMNS
    shuffled = epoch_choice_table(scores()[::-1], choose.sample(frac=1, random_state=0), {}, CONFIG)
    pd.testing.assert_frame_equal(shuffled, table)


def test_the_summary_says_whether_any_rule_beats_one_epoch_for_all():
    row = table_of(lambda own, seed: {0: 1.0}).iloc[0].to_dict()
    won = row | {"rule": "better", "difference": 0.05, "difference_p": 0.01}
    lost = row | {"difference": -0.05, "difference_p": 0.06}
    said = epoch_choice_summary(pd.DataFrame([lost]))
    assert "of 1 comparisons, corrected for how many they are (Holm), 0 are behind; none is ahead" in said
    assert "no rule beats always taking the epoch that does best on other ID sets" in said
    said = epoch_choice_summary(pd.DataFrame([lost, won]))
    assert "ahead: better (likelihood, glow, b=1)." in said
    assert "none is ahead" in epoch_choice_summary(pd.DataFrame([lost, won]), controls=["better"])
    assert "1 are behind" in epoch_choice_summary(pd.DataFrame([lost | {"difference_p": 0.02}, won]))
    assert "none is ahead" in epoch_choice_summary(pd.DataFrame([won | {"difference_p": 0.03}] * 2))


def test_the_p_value_is_of_the_interval_of_the_difference():
    found = table_of(lambda own, seed: {0: 1.0}).iloc[0]
    assert (found["difference_p"] < 0.05) == (found["difference_pairs_high"] < 0)
    assert found["difference_p"] < 0.05
