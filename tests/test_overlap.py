import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.overlap import (
    CORRELATION_COLUMNS,
    OVERLAP_COLUMNS,
    correlation_table,
    fixed_bandwidth,
    overlap_coefficient,
    overlap_table,
    scott_bandwidth,
)
from immature_ood.scores import ScoreKey, Scores
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
SIZE = 784


def normal(mean, deviation=1.0, count=2000, seed=0):
    return np.random.default_rng(seed).normal(mean, deviation, count)


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_of_two_gaussians_it_is_the_closed_form(distance):
    """OVL of N(0, 1) and N(d, 1) is 2 Φ(−d / 2); a kernel of width h makes it that of deviation √(1 + h²)."""
    first, second = normal(0, count=5000), normal(distance, count=5000, seed=1)
    broad = math.hypot(1, fixed_bandwidth(first))
    assert overlap_coefficient(first, second, fixed_bandwidth) == pytest.approx(
        2 * stats.norm.cdf(-distance / 2 / broad), abs=0.03
    )
    assert overlap_coefficient(first, second) == pytest.approx(2 * stats.norm.cdf(-distance / 2), abs=0.04)


def test_the_densities_are_scipys():
    first, second = normal(0, count=300), normal(1, 2, count=200, seed=1)
    grid = np.linspace(-15, 20, 20_001)
    densities = [stats.gaussian_kde(sample)(grid) for sample in (first, second)]
    assert overlap_coefficient(first, second) == pytest.approx(np.trapezoid(np.minimum(*densities), grid), abs=1e-4)


samples = st.lists(st.floats(-50, 50), min_size=3, max_size=30).map(np.array)


@settings(max_examples=60, deadline=None)
@given(samples, samples, st.floats(-100, 100))
def test_it_is_symmetric_between_0_and_1_and_does_not_move_with_the_data(first, second, shift):
    found = overlap_coefficient(first, second, fixed_bandwidth)
    assert 0 <= found <= 1
    assert overlap_coefficient(second, first, fixed_bandwidth) == pytest.approx(found, abs=1e-9)
    assert overlap_coefficient(first + shift, second + shift, fixed_bandwidth) == pytest.approx(found, abs=1e-6)
    assert overlap_coefficient(first, first, fixed_bandwidth) == pytest.approx(1, abs=1e-6)


def test_values_far_apart_do_not_overlap():
    assert overlap_coefficient(normal(0), normal(50), fixed_bandwidth) < 1e-6


@pytest.mark.parametrize("broken", [np.array([1.0, np.nan, 2.0]), np.array([1.0, np.inf, 2.0]), np.ones(5)])
def test_what_has_no_density_is_refused(broken):
    with pytest.raises(ValueError, match="finite values that differ"):
        overlap_coefficient(broken, normal(0), scott_bandwidth)


def make_scores(epoch, shift, id_dataset="digits", detectors=("likelihood",), seed=0):
    """Log-likelihoods in nats of ID images around 3 bits/dim, of two OOD sets `shift` and 2 bits/dim above."""
    nats = SIZE * math.log(2)
    bits = {id_dataset: normal(3, 0.3, 100), "photos": normal(3 + shift, 0.3, 90), "glyphs": normal(5, 0.3, 80)}
    values = {
        ScoreKey(detector, b, dataset, "test"): values * nats
        for detector in detectors
        for b in (5, 1)
        for dataset, values in bits.items()
    }
    checkpoint = CheckpointId(id_dataset, "glow", seed, epoch, 0, "key")
    return Scores(checkpoint, 3.0, {(detector, b): () for detector in detectors for b in (5, 1)}, values)


def test_a_row_a_pair_checkpoint_and_bandwidth_of_the_smallest_groups():
    table = overlap_table([make_scores(1, 0.0), make_scores(2, 0.6)], SIZE)
    assert tuple(table.columns) == OVERLAP_COLUMNS
    assert len(table) == 2 * 2 * 2
    photos = table.query("ood_dataset == 'photos' and bandwidth == 'scott'").set_index("epoch")
    assert photos.loc[1, "overlap"] > 0.9
    assert photos.loc[2, "overlap"] == pytest.approx(2 * stats.norm.cdf(-1), abs=0.1)
    assert photos.loc[2, "id_bits_per_dim"] == pytest.approx(3, abs=0.1)
    assert photos.loc[2, "ood_bits_per_dim"] == pytest.approx(3.6, abs=0.1)


def test_without_likelihoods_it_says_what_to_add():
    with pytest.raises(ValueError, match="add likelihood to the study's detectors"):
        overlap_table([make_scores(1, 0.0, detectors=("typicality",))], SIZE)


def tables(auroc_of, pairs=8, epochs=(0, 1, 2, 4, 8)):
    """An overlap that rises with the epoch by another amount in each pair, and AUROC as a function of (pair, rise)."""
    rows = []
    for pair in range(pairs):
        for place, epoch in enumerate(epochs):
            overlap = 0.05 * pair + 0.1 * place
            rows.append(
                {"id_dataset": "digits", "ood_dataset": f"set{pair}", "model": "glow", "seed": 0, "epoch": epoch}
                | {"overlap": overlap, "auroc": auroc_of(pair, overlap)}
            )
    table = pd.DataFrame(rows)
    overlap = table.drop(columns="auroc").assign(bandwidth="scott")
    auroc = table.drop(columns="overlap").assign(detector="gradient_norms", batch_size=1)
    calibration = auroc.assign(ood_dataset="digits", auroc=0.5)
    return overlap, pd.concat([auroc, calibration])


def by_scope(table):
    return table[table["scope"] != "one pair"].set_index("scope")["correlation"].to_dict()


def test_a_perfect_fall_is_minus_one_in_both_scopes_without_the_untrained():
    table = correlation_table(*tables(lambda pair, overlap: 1 - overlap), CONFIG)
    assert tuple(table.columns) == CORRELATION_COLUMNS
    assert by_scope(table) == {"pairs and epochs": pytest.approx(-1), "within a pair": pytest.approx(-1)}
    means = table[table["scope"] != "one pair"]
    assert means[["pairs", "undefined", "sets", "seeds", "rows"]].values.tolist() == [[8, 0, 9, 1, 8 * 4]] * 2
    pairs = table[table["scope"] == "one pair"]
    assert [*pairs["ood_dataset"]] == [f"set{place}" for place in range(8)]
    assert pairs["correlation"].tolist() == pytest.approx([-1] * 8)


def test_the_scopes_tell_hard_pairs_from_pairs_that_become_hard():
    """AUROC is lower where a pair overlaps more, but within each pair it rises with training."""
    found = by_scope(correlation_table(*tables(lambda pair, overlap: 1 - 0.1 * pair + 0.01 * overlap), CONFIG))
    assert found["within a pair"] == pytest.approx(1)
    assert found["pairs and epochs"] < 0


def test_pairs_in_which_nothing_varies_are_counted_apart():
    table = correlation_table(*tables(lambda pair, overlap: 1.0 if pair < 3 else 1 - overlap), CONFIG)
    row = table.set_index("scope").loc["within a pair"]
    assert (row["pairs"], row["undefined"], row["correlation"]) == (5, 3, pytest.approx(-1))
    assert table[table["scope"] == "one pair"]["correlation"].isna().sum() == 3


def everywhere(auroc_of, sets, seeds=1):
    """As tables(), of all pairs of some sets that are in-distribution in turn."""
    noise = np.random.default_rng(0)
    parts = [tables(auroc_of, pairs=1) for _ in range(sets * (sets - 1) * seeds)]
    places = [(i, o, s) for i in range(sets) for o in range(sets) if i != o for s in range(seeds)]
    named = []
    for place, (overlap, auroc) in zip(places, parts, strict=True):
        names = {"id_dataset": f"set{place[0]}", "ood_dataset": f"set{place[1]}", "seed": place[2]}
        shift = noise.normal(0, 0.1)
        named.append((overlap.assign(**names), auroc.query("ood_dataset != 'digits'").assign(**names)))
        named[-1][1]["auroc"] += shift
    return tuple(pd.concat(each) for each in zip(*named, strict=True))


def test_the_pooled_correlation_is_scipys_and_its_interval_leaves_out_a_set_at_a_time():
    overlap, auroc = everywhere(lambda pair, overlap: 1 - overlap, sets=5)
    row = correlation_table(overlap, auroc, CONFIG).set_index("scope").loc["pairs and epochs"]
    joined = overlap.merge(auroc.query("epoch > 0"), on=["id_dataset", "ood_dataset", "epoch"])
    assert row["correlation"] == pytest.approx(stats.spearmanr(joined["overlap"], joined["auroc"]).statistic)
    without = [
        stats.spearmanr(kept["overlap"], kept["auroc"]).statistic
        for name in (f"set{place}" for place in range(5))
        for kept in [joined[(joined["id_dataset"] != name) & (joined["ood_dataset"] != name)]]
    ]
    reach = stats.t.ppf(0.975, 4) * math.sqrt(4 * np.var(without))
    assert row["correlation_high"] - row["correlation"] == pytest.approx(reach)


def test_no_correlation_reaches_beyond_one():
    """Without one set the pairs say the opposite, so that the jackknife's error is large."""
    overlap, auroc = everywhere(lambda pair, overlap: 1 - overlap, sets=5)
    of_one = (auroc["id_dataset"] == "set0") | (auroc["ood_dataset"] == "set0")
    auroc.loc[of_one, "auroc"] = 1 - 5 * auroc.loc[of_one, "auroc"]
    row = correlation_table(overlap, auroc, CONFIG).set_index("scope").loc["pairs and epochs"]
    assert -1 <= row["correlation_low"] <= row["correlation"] <= row["correlation_high"] <= 1
    assert row["correlation_low"] == -1 or row["correlation_high"] == 1


@pytest.mark.parametrize(("sets", "interval"), [(4, False), (5, True)])
def test_of_few_sets_there_is_no_interval_and_seeds_are_no_more_pairs(sets, interval):
    table = correlation_table(*everywhere(lambda pair, overlap: 1 - overlap, sets, seeds=2), CONFIG)
    row = table.set_index("scope").loc["pairs and epochs"]
    assert np.isfinite(row["correlation_low"]) == interval
    assert (row["pairs"], row["sets"], row["seeds"]) == (sets * (sets - 1), sets, 2)


def test_sets_that_stand_for_one_are_one():
    overlap, auroc = everywhere(lambda pair, overlap: 1 - overlap, sets=5)
    row = correlation_table(overlap, auroc, CONFIG, {"set4": "set3"}).set_index("scope").loc["pairs and epochs"]
    assert row["sets"] == 4
    assert np.isnan(row["correlation_low"])


def test_one_epoch_has_no_correlation():
    table = correlation_table(*tables(lambda pair, overlap: 1 - overlap, pairs=2, epochs=(0, 1)), CONFIG)
    assert table["correlation"].isna().all()
    assert table.set_index("scope").loc["within a pair", ["pairs", "undefined"]].tolist() == [0, 2]
