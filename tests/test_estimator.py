"""ImmatureDetector keeps scikit-learn's conventions, and its own promises."""

import pickle

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from immature_ood import ImmatureDetector
from immature_ood.datasets._torchvision import import_torchvision
from immature_ood.estimator import images_of

TINY = {"architecture": "glow", "blocks": 1, "steps": 1, "hidden_channels": 4}
NORMS = {"detector": "gradient_norms", "layers": "without_weights"}


def smooth(number, shape=(1, 8, 8), seed=0):
    """Images of a random walk along rows, (number, *shape) uint8."""
    steps = np.random.default_rng(seed).normal(0, 12, (number, *shape))
    return (np.cumsum(steps, axis=3) + 128).clip(0, 255).astype(np.uint8)


def rough(number, shape=(1, 8, 8), seed=1):
    return np.random.default_rng(seed).integers(0, 256, (number, *shape)).astype(np.uint8)


def tiny(**options):
    return ImmatureDetector(TINY, epochs=1, **options)


@pytest.fixture(scope="module")
def fitted():
    return tiny().fit(smooth(300))


def test_smooth_images_are_told_from_rough_ones(fitted):
    normal, odd = fitted.score_samples(smooth(50, seed=2)), fitted.score_samples(rough(50))
    assert normal.min() > odd.max()
    assert (fitted.predict(rough(50)) == -1).all()


def test_higher_is_more_normal_as_scikit_learn_has_it_and_the_project_has_the_reverse(fitted):
    images = smooth(20, seed=3)
    np.testing.assert_array_equal(fitted.score_samples(images), -fitted.detector_.score(images))


def test_predict_is_minus_one_exactly_where_the_p_value_is_at_most_false_alarms(fitted):
    images = np.concatenate([smooth(200, seed=4), (smooth(100, seed=5) // 2 + rough(100) // 2)])
    odd = fitted.p_values(images) <= fitted.false_alarms
    assert 0 < odd.sum() < len(odd)
    np.testing.assert_array_equal(fitted.predict(images) == -1, odd)
    np.testing.assert_array_equal(fitted.decision_function(images) < 0, odd)


def test_p_values_are_ranks_among_calibration_images_that_nothing_was_fitted_on(fitted):
    images = smooth(40, seed=6)
    calibration, scores = fitted.detector_.calibration[1], -fitted.score_samples(images)
    expected = [(1 + sum(c >= score for c in calibration)) / (len(calibration) + 1) for score in scores]
    np.testing.assert_allclose(fitted.p_values(images), expected, rtol=1e-12)


def test_false_alarms_keep_their_level(fitted):
    """Of new images like those of fit; the interval is wider by that of 60 calibration images."""
    alarms = int((fitted.predict(smooth(1000, seed=7)) == -1).sum())
    assert binomtest(alarms, 1000).proportion_ci(0.99).low < 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 12)])
def test_layouts_and_libraries_say_the_same(shape):
    images = smooth(120, shape)
    detector = tiny(detector=NORMS).fit(images)
    expected = detector.score_samples(images[:9])
    last = images[:9].transpose(0, 2, 3, 1)
    for other in (torch.from_numpy(images[:9]), last, images[:9].astype(float), last.copy().tolist()):
        np.testing.assert_array_equal(detector.score_samples(other), expected)
    flat = tiny(detector=NORMS, image_shape=shape).fit(images.reshape(120, -1))
    np.testing.assert_array_equal(flat.score_samples(images[:9].reshape(9, -1)), expected)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((5, 8, 8), 0.5), "whole numbers 0 to 255"),
        (np.full((5, 8, 8), 256), "whole numbers 0 to 255"),
        (np.full((5, 8, 8), -1), "whole numbers 0 to 255"),
        (np.full((5, 8, 8), np.nan), "NaN"),
        (np.zeros((5, 2, 8, 8), np.uint8), r"must be \(N, C, H, W\)"),
        (np.zeros((5, 60), np.uint8), "no grey squares"),
    ],
)
def test_what_is_no_image_is_refused(images, said):
    with pytest.raises(ValueError, match=said):
        tiny().fit(images)


def test_too_few_images_and_other_shapes_are_refused_with_numbers(fitted):
    with pytest.raises(ValueError, match="99 images are too few: a detector needs 100"):
        tiny().fit(np.concatenate([smooth(99), smooth(99)]))  # equal ones count once
    with pytest.raises(ValueError, match=r"images are \(1, 8, 6\) each, but those of fit \(1, 8, 8\)"):
        fitted.predict(smooth(3, (1, 8, 6)))
    with pytest.raises(ValueError, match=r"false alarms of 0.001 are less than 24 calibration .* 999 are needed"):
        tiny(detector=NORMS, false_alarms=0.001).fit(smooth(120))


def test_pickles_clones_and_equal_seeds_say_the_same(fitted):
    images = smooth(9, seed=8)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(images), fitted.score_samples(images))
    anew = clone(fitted).fit(smooth(300))
    assert anew.detector_.to_bytes() == fitted.detector_.to_bytes()
    assert clone(fitted).set_params(seed=1).fit(smooth(300)).detector_.to_bytes() != fitted.detector_.to_bytes()


def test_it_works_in_a_pipeline_with_cross_validation():
    images = np.concatenate([smooth(230), rough(10)])
    pipeline = Pipeline([("bright", FunctionTransformer(np.flip)), ("detector", tiny(detector=NORMS))])
    labels = np.r_[np.ones(230), -np.ones(10)]
    auroc = cross_val_score(pipeline, images, labels, cv=2, scoring="roc_auc", error_score="raise")
    assert (auroc > 0.9).all()


NO_IMAGES = "fits on real numbers of any sign and few rows, where images are whole numbers 0 to 255 and 100 or more"


def test_estimator_checks_of_scikit_learn():
    """All that do not need tables of real numbers; those that do fail for one reason, and none passes unawares."""
    failed = check_estimator(tiny(), on_fail=None)
    assert {row["check_name"] for row in failed if row["status"] == "failed"} == set()


class OfTables(ImmatureDetector):
    """Takes tables of real numbers, as scikit-learn's checks give them, for images of 8×8: their ranks on a scale."""

    def _images(self, X, *, reset):
        from sklearn.utils.validation import validate_data

        table = validate_data(self, X, dtype=np.float64, reset=reset)
        levels = np.rint(255 / (1 + np.exp(-table)))
        return images_of(np.resize(np.repeat(levels, 64, axis=1)[:, :64], (len(levels), 64)))


@pytest.mark.parametrize("library", ["pytorch_ood", "pyod"])
def test_it_serves_as_a_detector_of_another_library(library):
    import_torchvision()  # which pytorch_ood imports, and which is not for every build of torch
    pytest.importorskip(library)
    {"pytorch_ood": serves_pytorch_ood, "pyod": serves_pyod}[library]()


def serves_pytorch_ood():
    from pytorch_ood.api import RequiresFittingException
    from pytorch_ood.utils import OODMetrics
    from torch.utils.data import DataLoader, TensorDataset

    from immature_ood.adapters.pytorch_ood import PytorchOOD

    known, odd = (torch.from_numpy(each).float() / 255 for each in (smooth(120), rough(20)))
    detector = PytorchOOD(model=TINY, epochs=1, detector=NORMS)
    with pytest.raises(RequiresFittingException):
        detector(odd)
    detector.fit(DataLoader(TensorDataset(known, torch.zeros(120)), batch_size=50))
    metrics = OODMetrics()
    metrics.update(detector(odd), -torch.ones(20))
    metrics.update(detector(torch.from_numpy(smooth(20, seed=9)).float() / 255), torch.ones(20))
    assert metrics.compute()["AUROC"] > 0.95
    plain = ImmatureDetector(TINY, epochs=1, detector=NORMS).fit(smooth(120))
    np.testing.assert_array_equal(detector(odd).numpy(), -plain.score_samples(rough(20)))


def serves_pyod():
    from pyod.models.base import BaseDetector

    from immature_ood.adapters.pyod import PyOD

    detector = PyOD(contamination=0.05, epochs=1, model=TINY, image_shape=(1, 8, 8))
    assert isinstance(detector.fit(smooth(120).reshape(120, -1)), BaseDetector)
    assert detector.labels_.sum() == 6
    assert (detector.predict(rough(20).reshape(20, -1)) == 1).all()
    probabilities = detector.predict_proba(rough(20).reshape(20, -1))
    assert (probabilities[:, 1] > 0.9).all()
    assert clone(detector).get_params() == detector.get_params()
