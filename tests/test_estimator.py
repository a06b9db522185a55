"""ImmatureDetector keeps scikit-learn's conventions, and its own promises."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from immature_ood import ImmatureDetector
from immature_ood.datasets._torchvision import import_torchvision

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
        (np.full((5, 8, 8), -1), "Negative values in data"),
        (np.full((5, 8, 8), np.nan), "NaN"),
        (np.zeros((5, 2, 8, 8), np.uint8), r"must be \(N, C, H, W\)"),
        (np.zeros((5, 60), np.uint8), "no grey squares"),
    ],
)
def test_what_is_no_image_is_refused(images, said):
    with pytest.raises(ValueError, match=said):
        tiny().fit(images)


def test_too_few_images_and_other_shapes_are_refused_with_numbers(fitted):
    with pytest.raises(ValueError, match="n_samples = 99 different images are too few, 100 are needed"):
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
    pipeline = Pipeline([("inverted", FunctionTransformer(np.invert)), ("detector", tiny(detector=NORMS))])
    labels, folds = np.r_[np.ones(230), -np.ones(10)], KFold(2, shuffle=True, random_state=0)
    auroc = cross_val_score(pipeline, images, labels, cv=folds, scoring="roc_auc", error_score="raise")
    assert (auroc > 0.9).all()


class OfTables(ImmatureDetector):
    """Takes tables of real numbers, as scikit-learn's checks give them: each row, on a scale, fills an image of 8×8.

    To fit, rows are repeated with another last pixel, until there are as many images as a detector needs.
    """

    def _images(self, X, *, reset):
        table = validate_data(self, X, dtype=np.float64, reset=reset, ensure_min_samples=1 + reset)
        levels = np.rint(250 / (1 + np.exp(-table))).astype(np.uint8)
        images = np.tile(levels, (1, 64))[:, :64].reshape(-1, 1, 8, 8)
        if not reset:
            return images
        repeated = np.repeat(images, -(-240 // len(images)), axis=0)
        repeated[:, 0, 7, 7] = np.arange(len(repeated)) % 251
        return repeated

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = False
        return tags


NO_IMAGES = "it fits on tables of real numbers, but X holds images of whole numbers 0 to 255, and 100 at least"
OF_TABLES = (
    *("check_classifier_data_not_an_array", "check_dict_unchanged", "check_dont_overwrite_parameters"),
    *("check_dtype_object", "check_estimators_dtypes", "check_estimators_fit_returns_self", "check_estimators_nan_inf"),
    *("check_estimators_overwrite_params", "check_estimators_pickle", "check_f_contiguous_array_estimator"),
    *("check_fit2d_1feature", "check_fit2d_1sample", "check_fit2d_predict1d", "check_fit_check_is_fitted"),
    *("check_fit_idempotent", "check_fit_score_takes_y", "check_methods_sample_order_invariance"),
    *("check_methods_subset_invariance", "check_n_features_in", "check_n_features_in_after_fitting"),
    *(
        "check_outliers_fit_predict",
        "check_outliers_train",
        "check_pipeline_consistency",
        "check_readonly_memmap_input",
    ),
)
ROUNDING = "norms are float32, and rounded otherwise by one image at a time: 1e-6, not 1e-7"
EXPECTED = {
    "ImmatureDetector": dict.fromkeys(OF_TABLES, NO_IMAGES),
    "OfTables": {"check_methods_subset_invariance": ROUNDING},
}


@pytest.mark.parametrize("kind", [ImmatureDetector, pytest.param(OfTables, marks=pytest.mark.slow)])
def test_estimator_checks_of_scikit_learn(kind):
    """Those that need no images pass as they are; those that do, where a table is made into images first."""
    expected = EXPECTED[kind.__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of skipped checks
        rows = check_estimator(kind(TINY, epochs=1), expected_failed_checks=expected, on_fail=None, on_skip=None)
    failed = {row["check_name"]: str(row["exception"]) for row in rows if row["status"] == "failed"}
    assert not failed
    assert {row["check_name"] for row in rows if row["status"] == "xfail"} == {*expected}
    assert sum(row["status"] == "passed" for row in rows) >= 20


@pytest.mark.parametrize("library", ["pytorch_ood", "pyod"])
def test_it_serves_as_a_detector_of_another_library(library):
    import_torchvision()  # which pytorch_ood imports, and which is not for every build of torch
    pytest.importorskip(library)
    {"pytorch_ood": serves_pytorch_ood, "pyod": serves_pyod}[library]()


@pytest.mark.slow
def test_it_serves_as_one_of_the_real_packages(tmp_path):
    """Which are not among the project's: the test above skips where they are not."""
    here = Path(__file__)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", tmp_path, "--requirement", here.with_name("peers.txt")], check=True)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", here, "-k", "another_library"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(tests, env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def serves_pytorch_ood():
    from pytorch_ood.api import RequiresFittingException
    from pytorch_ood.metrics import OODMetrics
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
