"""Rules that choose an epoch by ID data alone: what each chooses where the right answer is known; what all promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from immature_ood import registry
from immature_ood.config import Kept
from immature_ood.dials import DIALS
from immature_ood.epoch_rules import Evidence, Halves, choose, first_extreme
from immature_ood.epoch_rules.calibration import distance
from immature_ood.epoch_rules.effective_rank import effective_rank
from immature_ood.epoch_rules.norms_stability import stability
from immature_ood.epoch_rules.stand_ins import Config as StandIns
from immature_ood.study import Study, StudyError

EPOCHS = (0, 1, 2, 4, 8)
BITS = {0: 8.0, 1: 4.0, 2: 3.0, 4: 2.97, 8: 3.2}
CHANGES = StandIns().changes()
every_rule = pytest.mark.parametrize("rule", registry.names("epoch_rules"))


def config(rule, **options):
    return registry.parse("epoch_rules", {"rule": rule, **options})


def chosen(rule, evidence, **options):
    """The one epoch that a rule chooses."""
    ((epoch, probability),) = choose(config(rule, **options), evidence).items()
    assert probability == 1
    return epoch


def make_evidence(seed=0, groups=40, epochs=EPOCHS, changes=CHANGES):
    """Some training, in which every number is another."""
    draw = np.random.default_rng(seed)
    return Evidence(
        epochs,
        {epoch: float(bits) for epoch, bits in zip(epochs, draw.uniform(2, 9, len(epochs)), strict=True)},
        dict.fromkeys(epochs, 0.1),
        {epoch: draw.normal(size=(groups, 6)) for epoch in epochs},
        {epoch: Halves(*draw.normal(size=(2, groups // 2))) for epoch in epochs},
        {epoch: {change.name: draw.normal(size=groups // 4) for change in changes} for epoch in epochs},
    )


def until(evidence, epoch):
    """What was known when the training had come to an epoch."""

    def cut(part):
        return {each: value for each, value in part.items() if each <= epoch}

    parts = (evidence.bits_per_dim, evidence.noise, evidence.log_norms, evidence.halves, evidence.changed)
    return Evidence(tuple(each for each in evidence.epochs if each <= epoch), *map(cut, parts))


# What all promise ----------------------------------------------------------------------------------------------------


@every_rule
@pytest.mark.parametrize("seed", range(5))
def test_a_rule_chooses_among_the_kept_epochs_and_does_so_again(rule, seed):
    evidence = make_evidence(seed)
    found = choose(config(rule), evidence)
    assert {*found} <= {*EPOCHS}
    assert sum(found.values()) == pytest.approx(1)
    assert choose(config(rule), evidence) == found


@every_rule
def test_the_order_of_the_images_does_not_matter(rule):
    one, order = make_evidence(), np.random.default_rng(1)

    def shuffled(each):
        return each[order.permutation(len(each))]

    groups = order.permutation(40)  # the same at every epoch, as the images are
    other = Evidence(
        one.epochs,
        one.bits_per_dim,
        one.noise,
        {epoch: each[groups] for epoch, each in one.log_norms.items()},
        {epoch: Halves(shuffled(each.fitted), shuffled(each.others)) for epoch, each in one.halves.items()},
        {epoch: {name: shuffled(each) for name, each in by.items()} for epoch, by in one.changed.items()},
    )
    assert choose(config(rule), other) == choose(config(rule), one)


@every_rule
def test_a_rule_needs_what_it_says_and_no_more(rule):
    whole, needs = make_evidence(), {*config(rule).needs()}
    there = {name: getattr(whole, name) for name in needs}
    enough = Evidence(whole.epochs, whole.bits_per_dim, whole.noise, **there)
    assert choose(config(rule), enough) == choose(config(rule), whole)
    for name in needs:
        with pytest.raises(ValueError, match=f"nothing is known of {name} at epoch 0"):
            choose(config(rule), Evidence(**{**vars(enough), name: {}}))


@pytest.mark.parametrize("rule", [name for name in registry.names("epoch_rules") if config(name).ahead is not None])
@pytest.mark.parametrize("seed", range(5))
def test_a_rule_looks_no_further_than_it_says(rule, seed):
    whole, options = make_evidence(seed), config(rule)
    for epoch in choose(options, whole):
        last = EPOCHS[min(EPOCHS.index(epoch) + options.ahead, len(EPOCHS) - 1)]
        assert epoch in choose(options, until(whole, last))


@every_rule
def test_of_one_kept_epoch_there_is_nothing_to_choose(rule):
    assert choose(config(rule), make_evidence(epochs=(3,))) == {3: 1}


def test_a_rule_of_ones_own_is_held_to_the_kept_epochs(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def choose(config, evidence):\n    return 3\n")
    with pytest.raises(ValueError, match="chose 3, but the kept epochs are 0, 1, 2, 4, 8"):
        choose(config(str(file)), make_evidence())
    with pytest.raises(ValueError, match="no epoch is kept at which the detector has scores"):
        choose(config(str(file)), make_evidence(epochs=()))


# What each chooses ---------------------------------------------------------------------------------------------------


def test_the_controls():
    evidence = Evidence(EPOCHS)
    assert chosen("always", evidence) == 1
    assert chosen("always", evidence, place="last") == 8
    assert chosen("always", evidence, epoch=0) == 0
    assert chosen("always", Evidence((2, 8)), epoch=4) == 8  # a detector without scores at 4
    assert choose(config("at_random"), evidence) == dict.fromkeys(EPOCHS, 0.2)


@pytest.mark.parametrize(
    ("options", "epoch"),
    [({}, 2), ({"tolerance": 0.016}, 4), ({"tolerance": 1.5}, 1), ({"by": "epoch", "tolerance": 0.016}, 2)],
)
def test_the_slope_is_by_doubling_or_by_epoch(options, epoch):
    """From 2 to 4 the bits fall by .03, a doubling and two epochs; from 4 to 8 they rise."""
    assert chosen("bits_per_dim_slope", Evidence(EPOCHS, BITS), **options) == epoch


def test_bits_that_go_on_falling_leave_the_last():
    assert chosen("bits_per_dim_slope", Evidence(EPOCHS, {epoch: 9.0 - i for i, epoch in enumerate(EPOCHS)})) == 8


def test_the_lowest_is_a_trained_one():
    assert chosen("lowest_bits_per_dim", Evidence(EPOCHS, BITS)) == 4
    assert chosen("lowest_bits_per_dim", Evidence(EPOCHS, {**BITS, 0: 1.0})) == 4
    noise = {0: 9.0, 1: 0.5, 2: 0.05, 4: 0.0, 8: 0.1}
    assert chosen("lowest_bits_per_dim", Evidence(EPOCHS, BITS, noise), within_noise=True) == 2


def stable_from(epoch, monotone=False):
    """Norms that are drawn anew up to an epoch, and from there on only moved alike."""
    draw, last, found = np.random.default_rng(0), None, {}
    for each in EPOCHS:
        last = draw.normal(size=(60, 5)) if each <= epoch else last
        found[each] = np.exp(3 * last) if monotone and each > epoch else 2 * last + each
    return found


@pytest.mark.parametrize("epoch", [0, 2, 4])
def test_norms_are_stable_from_where_they_only_move_alike(epoch):
    for correlation in ("rank", "linear"):
        evidence = Evidence(EPOCHS, log_norms=stable_from(epoch))
        assert chosen("norms_stability", evidence, correlation=correlation) == epoch


def test_ranks_do_not_mind_how_norms_are_stretched():
    evidence = Evidence((0, 1), log_norms={e: each for e, each in stable_from(0, monotone=True).items() if e < 2})
    one, other = evidence.log_norms.values()
    assert stability(one, other, "rank") == pytest.approx(1)
    assert stability(one, other, "linear") < 0.8


def test_stability_is_the_median_correlation_of_live_layers():
    one, other = np.random.default_rng(0).normal(size=(2, 30, 4))
    other = other + one
    by_layer = [stats.spearmanr(one[:, k], other[:, k]).statistic for k in range(3)]
    one[:, 3] = 1.0  # dead at one of the two
    assert stability(one, other, "rank") == pytest.approx(np.median(by_layer))
    one[0, 0], expected = -np.inf, np.median(by_layer[1:])
    assert stability(one, other, "rank") == pytest.approx(expected)
    assert np.isnan(stability(np.zeros((30, 4)), other, "linear"))


def test_calibration_takes_the_epoch_at_which_both_halves_are_alike():
    same = np.arange(20.0)
    halves = {epoch: Halves(same, same + abs(i - 2) * 3) for i, epoch in enumerate(EPOCHS)}
    assert chosen("calibration", Evidence(EPOCHS, halves=halves)) == 2


@given(*[st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.inf]), min_size=2, max_size=12)] * 2)
def test_the_distance_is_kolmogorovs_and_smirnovs(fitted, others):
    finite = [np.minimum(each, 99.0) for each in (fitted, others)]  # the order is the same
    expected = stats.ks_2samp(*finite, method="asymp").statistic
    assert distance(Halves(np.array(fitted), np.array(others))) == pytest.approx(expected)


def test_stand_ins_take_the_epoch_that_separates_most_on_average():
    ids, far, near = np.arange(20.0), np.full(10, 99.0), np.full(10, 9.5)
    changed = {
        0: {"blur=0.5": near, "noise=1": near},
        1: {"blur=0.5": far, "noise=1": near},
        2: {"blur=0.5": far, "noise=1": -far},
    }
    evidence = Evidence((0, 1, 2), halves=dict.fromkeys(changed, Halves(ids, ids)), changed=changed)
    assert chosen("stand_ins", evidence, dials={"blur": 0.5, "noise": 1.0}) == 1
    with pytest.raises(ValueError, match=r"nothing is known of images changed by blur=0\.25"):
        choose(config("stand_ins", dials={"blur": 0.25}), evidence)


def test_stand_ins_know_every_dial():
    for dial in DIALS:
        assert [change.dial for change in config("stand_ins", dials={dial: 0.5}).changes()] == [dial]


@pytest.mark.parametrize("rank", [1, 3])
def test_the_effective_rank_of_equal_directions_is_their_number(rank):
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][:, :rank]
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * rank)).reshape(rank, -1).T
    assert effective_rank(signs @ directions.T) == pytest.approx(rank)


def test_a_layer_of_large_norms_counts_more_in_the_covariance_alone():
    two = np.random.default_rng(0).normal(size=(400, 2)) * (100, 1)
    assert effective_rank(two) == pytest.approx(1, abs=0.01)
    assert effective_rank(two, "correlation") == pytest.approx(2, abs=0.01)
    with_dead = np.column_stack([two, np.full(400, -np.inf), np.ones(400)])
    assert effective_rank(with_dead) == effective_rank(two)
    assert np.isnan(effective_rank(np.zeros((5, 2))))


def test_the_largest_rank_is_chosen():
    draw = np.random.default_rng(0)
    norms = {epoch: draw.normal(size=(50, 6)) @ np.diag([1, 1, 1, 0.1, 0.1, 0.1]) for epoch in EPOCHS}
    norms[4] = draw.normal(size=(50, 6))
    assert chosen("effective_rank", Evidence(EPOCHS, log_norms=norms)) == 4


def test_the_first_of_equals_is_taken_and_no_number_passed_over():
    assert first_extreme({0: np.nan, 1: 2.0, 2: 3.0, 4: 3.0}, max) == 2
    with pytest.raises(ValueError, match="no number by which to choose"):
        first_extreme({0: np.nan}, min)


# In a study ----------------------------------------------------------------------------------------------------------


def study(**changed):
    sets = {"digits": None, "glyphs": None}
    return Study.parse({"name": "x", "datasets": sets, "epochs": [0, 1], "epoch_rules": ["stand_ins"], **changed})


def test_a_study_has_no_rules_unless_it_names_some():
    assert (
        study(epoch_rules={}).epoch_rules == Study.parse(study().model_dump() | {"epoch_rules": {}}).epoch_rules == {}
    )
    assert study(epoch_rules=[]).changes == []


def test_each_change_is_made_once():
    rules = {"one": {"rule": "stand_ins", "dials": {"blur": 0.5}}, "two": {"rule": "stand_ins", "dials": {"blur": 0.5}}}
    assert [change.name for change in study(epoch_rules=rules).changes] == ["blur=0.5"]


def test_epochs_are_chosen_for_scores_of_one_training():
    detectors = {
        "gradient_norms": None,
        "over_epochs": {"of": {"detector": "gradient_norms"}},
        "image_statistics": None,
        "waic": None,
        "trained_elsewhere": None,
    }
    assert [*study(seeds=[0, 1], detectors=detectors).choosable("glow")] == ["gradient_norms", "over_epochs"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"epoch_rules": ["stand_in"]},
            "epoch_rules.stand_in.rule: unknown name 'stand_in'; did you mean 'stand_ins'?",
        ),
        ({"epoch_rules": {"always": {"epoch": 7}}}, "epoch_rules.always.epoch: 7 is not kept; add it to epochs, or "),
        ({"epoch_rules": {"always": {"at": 7}}}, "epoch_rules.always.at: unknown key"),
        ({"epoch_rules": ["always", "always"]}, "epoch_rules: holds a value twice, got ['always', 'always']"),
        (
            {"epoch_rules": {"stand_ins": {"dials": {"blurr": 1}}}},
            "epoch_rules.stand_ins.dials.blurr: Input should be ",
        ),
        ({"epoch_rules": {"stand_ins": {"dials": {"blur": 2}}}}, "epoch_rules.stand_ins.dials.blur: Input should be "),
        ({"stand_in_images": 9}, "stand_in_images: 9 make fewer than 2 groups of 5; take more"),
        (
            {"epoch_rules": ["effective_rank"], "detectors": ["likelihood"]},
            "epoch_rules.effective_rank: needs log_norms, which no detector reads; add gradient_norms, or ",
        ),
        (
            {"detectors": ["image_statistics"]},
            "epoch_rules: no detector's score follows from the epochs of one training; add gradient_norms",
        ),
    ],
)
def test_what_is_wrong_with_rules_is_said_at_planning(changed, said):
    with pytest.raises(StudyError) as raised:
        study(**changed)
    assert str(raised.value).startswith(said)


def test_an_epoch_must_be_kept_to_be_taken_always():
    kept = Kept(("glow",), (0,), (0, 4))
    assert not [*config("always", epoch=4).faults(kept)]
    assert len([*config("always", epoch=5).faults(kept)]) == 1
