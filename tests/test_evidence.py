"""What epoch rules are shown: halves that share no unit, changed images of the half that no detector saw."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immature_ood import registry
from immature_ood.detectors import fit
from immature_ood.evidence import Training, choices, evidence_of, is_in_other_half, stand_in_places, trained_to
from immature_ood.features import Features
from immature_ood.grouping import group

EPOCHS, LAYERS = (0, 1, 4), ("a", "b", "c")
LOG = pd.DataFrame({"epoch": [0, 1, 2, 4], "fit_bits_per_dim": [8.0, 3.0, 2.5, 2.4], "noise_bits_per_dim": np.nan})
LOG.loc[[0, 1, 3], "noise_bits_per_dim"] = [0.5, 0.25, 0.0]
GAUSSIANS = registry.parse("detectors", {"detector": "gradient_norms"})


def features(units, sizes, seed=0, places=None, shift=0.0, split="fit"):
    """Of images of these units, in groups of these sizes; places: of the images in the fit set."""
    grouping, found = group(np.asarray(units), sizes), {}
    for b in sizes:
        images, cells = grouping.images(b), grouping.cells(b)
        norms = np.random.default_rng((seed, b)).normal(shift, size=(len(images), 3)).astype(np.float32)
        there = images if places is None else np.asarray(places)[images]
        found[b] = Features("digits", split, {"log_norms": norms}, there, LAYERS, 4, cells)
    return found


def training(units=range(40), sizes=(1, 5), most=10):
    units = np.asarray(units)
    places = stand_in_places(units.tolist(), sizes, most)
    return Training(
        LOG,
        {epoch: features(units, sizes, epoch) for epoch in EPOCHS},
        {epoch: {"blur=0.5": features(units[places], sizes, 9, places, shift=3, split="blur=0.5")} for epoch in EPOCHS},
    )


UNITS = st.lists(st.integers(0, 25), min_size=20, max_size=120)


@given(UNITS, st.sampled_from([(1,), (1, 5), (2, 3)]), st.integers(6, 40))
def test_changed_images_are_of_the_other_half_and_make_its_groups(units, sizes, most):
    """Whatever belongs together: the changed images' own groups are groups of the other half of the fit set."""
    together = int(np.lcm.reduce(sizes))
    if len({*units}) < 2 * together:
        with pytest.raises(ValueError, match="units leave none to change"):
            stand_in_places(units, sizes, most)
        return
    places = stand_in_places(units, sizes, most)
    assert 0 < len(places) <= most
    assert len({*places.tolist()}) == len(places)
    whole, changed = features(units, sizes), features(np.asarray(units)[places], sizes, places=places)
    for b in sizes:
        other = is_in_other_half(whole[b], together)
        there = {tuple(sorted(each)) for each in whole[b].images[other].tolist()}
        assert {tuple(sorted(each)) for each in changed[b].images.tolist()} <= there


@given(UNITS, st.sampled_from([(1, 5), (2, 3)]))
def test_no_unit_and_no_image_is_in_both_halves_whatever_b(units, sizes):
    together, of_image = int(np.lcm.reduce(sizes)), {}
    for each in features(units, sizes).values():
        if len({*units}) < 2 * together:
            return
        for images, other in zip(each.images, is_in_other_half(each, together), strict=True):
            for image in images.tolist():
                assert of_image.setdefault(units[image], bool(other)) == other


def test_too_few_units_make_no_halves():
    with pytest.raises(ValueError, match=r"digits/fit: 1 groups of b=5 are of too few units for two halves"):
        is_in_other_half(features(range(5), (5,))[5], 5)


def test_evidence_is_what_the_detector_of_one_half_says_of_the_other():
    found, b = evidence_of(training(), 5, {1: [1], 4: [4]}, GAUSSIANS), 5
    assert found.epochs == (1, 4)
    assert found.bits_per_dim == {0: 8.0, 1: 3.0, 2: 2.5, 4: 2.4}
    assert found.noise == {0: 0.5, 1: 0.25, 4: 0.0}
    for epoch in found.epochs:
        whole = training().fit[epoch][b]
        other = np.arange(len(whole.units)) % 2 == 1  # groups of five, all of them sets
        detector = fit(GAUSSIANS, whole.taken(~other))
        np.testing.assert_array_equal(found.log_norms[epoch], whole.log_norms)
        np.testing.assert_array_equal(found.halves[epoch].fitted, detector.score(whole.taken(~other)))
        np.testing.assert_array_equal(found.halves[epoch].others, detector.score(whole.taken(other)))
        changed = training().changed[epoch]["blur=0.5"][b]
        np.testing.assert_array_equal(found.changed[epoch]["blur=0.5"], detector.score(changed))


def test_without_a_rule_that_asks_for_scores_no_detector_is_fitted():
    found = evidence_of(training(), 1, {epoch: [epoch] for epoch in EPOCHS})
    assert (found.halves, found.changed) == ({}, {})


def test_a_detector_of_several_epochs_is_given_them_all():
    several = registry.parse("detectors", {"detector": "over_epochs", "of": {"detector": "gradient_norms"}})
    found = evidence_of(training(), 1, {4: [4, 0, 1]}, several)
    fitted = fit(several, *(training().fit[epoch][1].taken(np.arange(40) // 5 % 2 == 0) for epoch in (4, 0, 1)))
    changed = [training().changed[epoch]["blur=0.5"][1] for epoch in (4, 0, 1)]
    np.testing.assert_array_equal(found.changed[4]["blur=0.5"], fitted.score(*changed))


def test_a_row_a_rule_detector_b_and_epoch():
    rules = {name: registry.parse("epoch_rules", {"rule": name}) for name in ("always", "at_random", "stand_ins")}
    rules["stand_ins"] = registry.parse("epoch_rules", {"rule": "stand_ins", "dials": {"blur": 0.5}})
    table = choices(training(), rules, {"gauss": GAUSSIANS}, {"gauss": {epoch: [epoch] for epoch in EPOCHS}})
    by_rule = table[table["batch_size"] == 5].groupby("rule", sort=False)
    assert {*table["batch_size"]} == {1, 5}
    assert by_rule["epoch"].agg(list).to_dict() == {
        "always": [1],
        "at_random": [0, 1, 4],
        "stand_ins": [table.iloc[-1].epoch],
    }
    assert by_rule["probability"].sum().tolist() == pytest.approx([1, 1, 1])
    assert by_rule["trained_to"].agg(list).to_dict() == {"always": [1], "at_random": [0, 1, 4], "stand_ins": [4]}
    rules = {"stand_ins": registry.parse("epoch_rules", {"rule": "stand_ins", "dials": {"noise": 1.0}})}
    with pytest.raises(ValueError, match=r"epoch_rules\.stand_ins: nothing is known of images changed by noise=1"):
        choices(training(), rules, {"gauss": GAUSSIANS}, {"gauss": {0: [0]}})


@pytest.mark.parametrize(
    ("rule", "epoch", "expected"), [("always", 1, 1), ("norms_stability", 1, 4), ("calibration", 0, 4)]
)
def test_a_rule_must_see_as_much_as_it_looks_ahead(rule, epoch, expected):
    options = registry.parse("epoch_rules", {"rule": rule})
    assert trained_to(options, epoch, EPOCHS) == expected
    assert trained_to(options, 4, EPOCHS) == 4
