"""How far trainings have come: made-up ones of each state, and what noise makes of equal ones."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from immature_ood.maturity import (
    MOMENTS,
    STATES,
    STILL_FALLING,
    Chains,
    HeldOut,
    chains_of,
    check_held_out,
    maturity_summary,
    with_maturity,
)

BITS = {0: 6.0, 1: 5.0, 2: 4.0, 3: 4.3, 16: 3.9}
PLATEAU = [8, 4, 3.4, 3.08, 3.015, 3.0, 3.01, 3.0105, 3.011]  # by epoch; then it is trained further, or is not


def make_chains(bits=BITS, seeds=range(12), id_datasets=("digits",), **states):
    """Trainings of these held-out bits/dim by kept epoch; a state of "epoch_2" and so on, by default immature."""
    low = min(bits.values())
    rows = [
        {"id_dataset": id_dataset, "model": "glow", "seed": seed, "epoch": epoch, "fit_bits_per_dim": value}
        | {"excess_bits_per_dim": value - low, "maturity": states.get(f"epoch_{epoch}", "immature")}
        for id_dataset in id_datasets
        for seed in seeds
        for epoch, value in bits.items()
    ]
    return Chains(pd.DataFrame(rows))


def log_of(bits):
    return pd.DataFrame({"epoch": range(len(bits)), "fit_bits_per_dim": bits})


def held_out_of(means, deviation=0.0, size=400, of_unit=1):
    """Groups whose differences between epochs are normal, of this deviation, and exactly as far apart in the mean."""
    generator, held = np.random.default_rng(0), {}
    base = generator.normal(0, 1, size)
    for epoch, mean in means.items():
        noise = np.repeat(generator.normal(0, deviation, size // of_unit), of_unit)
        held[epoch] = HeldOut(base - base.mean() + mean + noise - noise.mean(), np.arange(size) // of_unit)
    return held


def judged(bits, kept, deviation=0.0, **options):
    """A log with the maturity of its kept epochs."""
    return with_maturity(log_of(bits), held_out_of({epoch: bits[epoch] for epoch in kept}, deviation, **options))


def states_of(bits, kept, deviation=0.0, **options):
    table = judged(bits, kept, deviation, **options).set_index("epoch")
    assert set(table["maturity"]) <= {"", *STATES}
    return table["maturity"][table["maturity"] != ""].to_dict()


def test_a_training_past_its_minimum_goes_through_all_states():
    bits = [*PLATEAU, 3.05, 3.2, 3.5]
    assert states_of(bits, [0, 1, 3, 4, 5, 6, 9, 10, 11]) == {
        0: "untrained",
        1: "immature",
        3: "near-mature",
        4: "mature",
        5: "mature",
        6: "mature",
        9: "overfitting",
        10: "overfitting",
        11: "overfitting",
    }


@pytest.mark.parametrize(("excess", "state"), [(0.1, "near-mature"), (0.1001, "immature"), (0.02, "mature")])
def test_the_bounds_belong_to_the_more_mature(excess, state):
    bits = [1.0, excess, 0.0, *[0.0] * 8]
    assert states_of(bits, [1, 2])[1] == state


def test_what_noise_does_not_tell_from_the_lowest_is_mature_however_far_it_looks():
    bits = [*PLATEAU, 3.05, 3.2, 3.5]
    states = states_of(bits, [3, 5, 9], deviation=1.0)  # 400 images: errors of 0.07 bits/dim
    assert states == {3: "mature", 5: "mature", 9: "mature"}
    assert states_of(bits, [3, 5, 9], deviation=0.1) == {3: "near-mature", 5: "mature", 9: "overfitting"}
    few_units = states_of(bits, [3, 5, 9], deviation=0.3, of_unit=40)  # as many images, of 10 units
    assert (few_units[9], states_of(bits, [3, 5, 9], deviation=0.3)[9]) == ("mature", "overfitting")


def test_with_few_units_the_bounds_alone_decide_and_noise_is_unknown():
    bits = [*PLATEAU, 3.05, 3.2]
    held_out = held_out_of({3: 3.08, 5: 3.0, 9: 3.05}, 1.0, 90, of_unit=10)
    table = with_maturity(log_of(bits), held_out).set_index("epoch")
    assert table["maturity"][[3, 5, 9]].tolist() == ["near-mature", "mature", "overfitting"]
    assert table["noise_bits_per_dim"][[3, 5, 9]].isna().tolist() == [True, False, True]


def test_where_the_minimum_was_not_kept_noise_makes_nothing_mature():
    bits = [8, 4, 3.4, 3.08, 3.015, 3.0, 3.03, 3.05, 3.05, 3.06, 3.06, 3.07]
    assert states_of(bits, [2, 3, 9], deviation=10.0) == {2: "immature", 3: "near-mature", 9: "overfitting"}


def test_a_training_that_still_falls_is_in_a_spike_and_does_not_overfit():
    bits = [8, 7, 6, 5, 4, 3.5, 3.2, 3.0, 3.15]
    assert states_of(bits, [4, 6, 8]) == {4: "immature", 6: "immature", 8: "immature"}
    falling = [8, 7, 6, 5, 4, 3.5, 3.05, 3.0, 2.94]  # nothing here is known to be mature
    assert states_of(falling, [0, 5, 7, 8]) == {0: "untrained", 5: "immature", 7: STILL_FALLING, 8: STILL_FALLING}
    chain = chains_of([judged(bits, [4, 6, 8]).assign(id_dataset="a", model="m", seed=0)])
    assert chain.of("a", "m", 0).still_falling
    assert chain.of("a", "m", 0).described(8) == "still falling"


@pytest.mark.parametrize(
    ("bits", "falling"),
    [
        ([8, 4, 3, 2], True),  # its last is its lowest
        ([8, 2, 2.5, 3], False),
        ([8, 4, 3, 2.5, 2.4, 2.3, 2.2, 2.1, 2.15], True),  # 0.1 in the last quarter
        ([8, 4, 3, 2.5, 2.4, 2.3, 2.11, 2.1, 2.15], False),  # 0.01
        ([8], True),
    ],
)
def test_whether_a_training_reached_its_minimum(bits, falling):
    rows = judged(bits, [len(bits) - 1]).assign(id_dataset="a", model="m", seed=0)
    assert Chains(rows).of("a", "m", 0).still_falling == falling
    assert ("did not reach" in maturity_summary(rows)) == falling


def test_the_reach_of_noise_is_a_one_sided_paired_t_interval_by_unit():
    one, other = (held_out_of({0: 3.0, 1: 3.2}, 0.5, size=60, of_unit=3)[epoch] for epoch in (1, 0))
    of_units = (one.bits - other.bits).reshape(20, 3).mean(axis=1)
    error = of_units.std(ddof=1) / np.sqrt(20)
    assert one.above(other) == pytest.approx(0.2)
    assert one.reach(other, 0.95) == pytest.approx(stats.t.ppf(0.95, 19) * error)
    assert one.reach(other, 0.95, 5) == pytest.approx(stats.t.ppf(0.99, 19) * error)
    low, high = stats.ttest_1samp(of_units, 0, alternative="greater").confidence_interval(0.95)
    assert (one.above(other) - one.reach(other, 0.95), high) == (pytest.approx(low), np.inf)


@pytest.mark.parametrize(("epochs", "least", "most"), [(2, 0.035, 0.065), (5, 0.02, 0.05), (12, 0.01, 0.05)])
@pytest.mark.parametrize("of_unit", [1, 4])
def test_an_epoch_as_good_as_the_lowest_is_told_from_it_as_seldom_as_is_said(epochs, least, most, of_unit):
    """1,500 trainings whose kept epochs are equal but for noise; 2.5 standard errors of the simulation are 0.014."""
    generator, told = np.random.default_rng(0), 0
    units = np.arange(120) // of_unit
    for _ in range(1500):
        bits = generator.normal(3, 1, 120) + generator.normal(0, 0.2, (epochs, 120 // of_unit))[:, units]
        held = [HeldOut(each, units) for each in bits]
        lowest = int(np.argmin(bits.mean(axis=1)))
        told += held[0].above(held[lowest]) > held[0].reach(held[lowest], 0.95, epochs - 1) and lowest != 0
    assert least <= told / 1500 <= most


def test_what_lies_beside_a_checkpoint_are_bits_of_the_first_images():
    held = HeldOut.of(np.array([1.0, 2.0]), [7, 7, 8])
    assert held.units.tolist() == [7, 7]
    check_held_out(held.bits)
    for wrong in (held.bits[None], held.bits.astype(np.float32)):
        with pytest.raises(ValueError, match=r"must be \(n,\) float64"):
            check_held_out(wrong)


def test_moments_are_the_first_kept_epochs_within_an_excess():
    chain = make_chains({0: 9.0, 1: 3.0, 2: 2.5, 4: 2.15, 8: 2.0, 16: 2.3}).of("digits", "glow", 3)
    assert chain.moments([0, 1, 2, 4, 8, 16]) == {
        "untrained": 0,
        "one pass": 1,
        "excess 0.5": 2,
        "excess 0.2": 4,
        "excess 0.1": 8,
    }
    assert {*MOMENTS} == {*chain.moments([0, 1, 2, 4, 8, 16])}
    assert chain.moments([0, 1, 16]) == {"untrained": 0, "one pass": 1, "excess 0.5": 16}
    assert chain.moments([4, 8], one_pass=4)["one pass"] == 4
    assert (chain.reference([0, 1, 4, 8, 16]), chain.reference([0, 16]), chain.reference([0])) == (8, 16, 0)


def test_an_untrained_model_is_no_reference_even_if_training_made_it_worse():
    assert make_chains({0: 3.0, 1: 5.0, 2: 4.0}).of("digits", "glow", 0).reference([0, 1, 2]) == 2


def test_all_seeds_together_have_the_mean_excess_and_one_state_or_none():
    first = make_chains({1: 3.0, 2: 2.0, 4: 2.5}, [0], epoch_1="immature", epoch_2="mature", epoch_4="overfitting")
    second = make_chains({1: 4.0, 2: 2.5, 4: 2.0}, [1], epoch_1="immature", epoch_2="immature", epoch_4="mature")
    chains = chains_of([first.training, second.training])
    together = chains.of("digits", "glow", "all")
    assert together.excess == {1: 1.5, 2: 0.25, 4: 0.25}
    assert together.states == {1: "immature", 2: "mixed", 4: "mixed"}
    assert together.still_falling
    assert chains.of("digits", "glow", 1).reference([1, 2, 4]) == 4
    with pytest.raises(ValueError, match="no training log of photos, glow, seed 0"):
        chains.of("photos", "glow", 0)


def test_the_summary_says_in_words_which_trainings_did_not_reach_their_minimum():
    falls, turns = [8, 4, 3, 2.5], [8, 2, 2.06, 3, 4]
    tables = [
        judged(bits, kept).assign(id_dataset=name, model="glow", seed=seed)
        for name, seed, bits, kept in (
            ("a", 0, falls, [1, 3]),
            ("a", 1, [*falls[:3], 2.4], [1, 3]),
            ("b", 0, turns, [1]),
            ("b", 1, turns, [0, 2]),
        )
    ]
    assert maturity_summary(pd.concat(tables)).splitlines() == [
        "2 of 4 trainings did not reach the minimum of their held-out bits/dim, so that the claim is set against",
        "models that are immature themselves. What the last quarter of the epochs brought:",
        "  a, glow, 2 of 2 seeds: it fell by 0.500 to 0.600 bits/dim, to 2.400 to 2.500 at epoch 3 of 3",
        "  b, glow, 1 of 2 seeds: no mature epoch was kept; the lowest kept, 2, is 0.060 above the minimum at 1",
    ]
    assert maturity_summary(tables[2]) == "All 1 trainings reached the minimum of their held-out bits/dim."
