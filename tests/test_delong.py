import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immature_ood.delong import components

VALUES = st.integers(-3, 3).map(float) | st.sampled_from([np.inf, -np.inf]) | st.floats(-1e6, 1e6)
SCORES = st.lists(VALUES, min_size=1, max_size=12).map(np.array)


@given(SCORES, SCORES)
def test_components_are_means_over_all_pairs(id_scores, ood_scores):
    wins = np.array([[1.0 if y > x else 0.5 if y == x else 0.0 for y in ood_scores] for x in id_scores])
    found = components(id_scores, ood_scores)
    assert found.auroc == pytest.approx(wins.mean(), abs=1e-12)
    np.testing.assert_allclose(found.of_id, (wins.mean(axis=1) - wins.mean()) / len(id_scores), atol=1e-12)
    np.testing.assert_allclose(found.of_ood, (wins.mean(axis=0) - wins.mean()) / len(ood_scores), atol=1e-12)
    assert found.of_id.sum() == pytest.approx(0, abs=1e-12)
    assert found.of_ood.sum() == pytest.approx(0, abs=1e-12)


def test_the_sum_of_contributions_is_the_first_order_error():
    generator = np.random.default_rng(0)
    errors, variances = [], []
    for _ in range(400):
        found = components(generator.normal(size=80), generator.normal(1, size=60))
        errors.append(found.auroc - 0.7602499389065233)  # Φ(1/√2)
        variances.append((found.of_id**2).sum() + (found.of_ood**2).sum())
    assert np.mean(errors) == pytest.approx(0, abs=0.01)
    assert np.mean(variances) == pytest.approx(np.var(errors), rel=0.25)


def test_a_million_scores_take_no_square_of_memory():
    found = components(np.arange(500_000.0), np.arange(500_000.0) + 250_000)
    assert found.auroc == pytest.approx(0.875, abs=1e-5)


@pytest.mark.parametrize("scores", [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([1.0], [np.nan])])
def test_scores_that_cannot_be_ranked_are_refused(scores):
    with pytest.raises(ValueError, match=r"NaN scores|needs at least one of each"):
        components(*map(np.array, scores))
