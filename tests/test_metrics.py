import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from immature_ood.metrics import auroc, auroc_influence, average_precision, fpr95

# Few distinct values, so that ties within and between ID and OOD are the rule.
TIED = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12).map(np.array)
DISTINCT_OR_TIED = st.lists(st.floats(-1e6, 1e6) | st.just(np.inf), min_size=1, max_size=12).map(np.array)


def ours(id_scores, ood_scores):
    return {
        "auroc": auroc(id_scores, ood_scores),
        "aupr": average_precision(id_scores, ood_scores).value,
        "fpr95": fpr95(id_scores, ood_scores),
    }


def oracle(id_scores, ood_scores):
    """The same by scikit-learn, which wants finite scores: ranks will do."""
    labels = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    ranks = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)[1]
    false_rate, true_rate, _ = roc_curve(labels, ranks, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, ranks),
        "aupr": average_precision_score(labels, ranks),
        "fpr95": false_rate[true_rate >= 0.95].min(),
    }


@given(TIED | DISTINCT_OR_TIED, TIED | DISTINCT_OR_TIED)
def test_metrics_equal_scikit_learn(id_scores, ood_scores):
    assert ours(id_scores, ood_scores) == pytest.approx(oracle(id_scores, ood_scores), abs=1e-12)


@pytest.mark.parametrize("groups", [19, 20, 100, 500])
def test_fpr95_counts_as_scikit_learn_at_sizes_where_95_percent_is_a_whole_number(groups):
    generator = np.random.default_rng(groups)
    scores = generator.normal(size=groups), generator.normal(1, size=groups)
    assert ours(*scores) == pytest.approx(oracle(*scores), abs=1e-12)


@given(TIED, TIED)
def test_metrics_depend_on_the_order_alone(id_scores, ood_scores):
    assert ours(np.exp(id_scores), np.exp(ood_scores)) == ours(id_scores, ood_scores)


@given(TIED | DISTINCT_OR_TIED, TIED | DISTINCT_OR_TIED)
def test_swapping_id_and_ood_gives_the_complement(id_scores, ood_scores):
    assert auroc(ood_scores, id_scores) == pytest.approx(1 - auroc(id_scores, ood_scores))


@settings(deadline=None)
@given(TIED | DISTINCT_OR_TIED, TIED | DISTINCT_OR_TIED)
def test_the_influence_on_average_precision_is_its_derivative_by_a_groups_weight(id_scores, ood_scores):
    labels = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    ranks = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)[1]

    def heavier(place, by):
        """Average precision with one group's weight moved, and the sum of weights of its side as it was."""
        side = labels == labels[place]
        weights = 1 - by * side / side.sum() + by * (np.arange(len(labels)) == place)
        return average_precision_score(labels, ranks, sample_weight=weights)

    found = average_precision(id_scores, ood_scores)
    step = 1e-5
    slopes = [(heavier(place, step) - heavier(place, -step)) / (2 * step) for place in range(len(labels))]
    np.testing.assert_allclose(np.concatenate([found.of_id, found.of_ood]), slopes, atol=1e-7)


# The released code's "percentile 0"


def test_without_each_sets_smallest_score():
    id_scores, ood_scores = np.array([-5.0, 1.0, 2.0]), np.array([3.0, -9.0, 1.5])
    assert auroc(id_scores, ood_scores) == pytest.approx(5 / 9)
    assert auroc(id_scores, ood_scores, drop_minimum=True) == auroc(id_scores[1:], ood_scores[[0, 2]]) == 3 / 4
    found = auroc_influence(id_scores, ood_scores, drop_minimum=True)
    assert found.of_id.tolist() == [0, 0.125, -0.125]
    assert found.of_ood.tolist() == [0.125, 0, -0.125]


def test_what_ties_with_the_smallest_score_goes_with_it():
    assert auroc(np.array([-np.inf, -np.inf, 1.0]), np.array([0.0, 0.0, 2.0]), drop_minimum=True) == 1.0
    with pytest.raises(ValueError, match="0 ID and 1 OOD scores"):
        auroc(np.array([1.0, 1.0]), np.array([0.0, 2.0]), drop_minimum=True)


@pytest.mark.parametrize("drop_minimum", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_nan_scores_are_refused(place, drop_minimum):
    scores = [np.arange(3.0), np.arange(3.0)]
    scores[place][1] = np.nan
    with pytest.raises(ValueError, match="NaN scores"):
        auroc(*scores, drop_minimum=drop_minimum)
