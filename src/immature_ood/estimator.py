"""ImmatureDetector: an outlier detector of images with scikit-learn's conventions.

scikit-learn has it that a higher score is more *normal*, this project that it is more odd: `score_samples` here is the
negative of what `ImageDetector.score` gives. All else is that of `fitting` and `detector_file`.
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_non_negative, validate_data

from immature_ood.datasets import SPLITS, Images, deal, image_hashes
from immature_ood.datasets._pools import of_images
from immature_ood.detector_file import ImageDetector
from immature_ood.fitting import FEWEST, Recipe, fit, parts_of, sizes_of
from immature_ood.kinds.images import ImageDatasetConfig

__all__ = ["ImmatureDetector", "images_of"]

CHANNELS = (1, 3)
WHOLE = "images must be whole numbers 0 to 255; if they are in [0, 1], give np.rint(255 * X).astype(np.uint8)"


class ImmatureDetector(OutlierMixin, BaseEstimator):
    """Out-of-distribution detection with a density model that is trained for a few epochs.

    X: images of whole numbers 0 to 255, NumPy or torch: (N, C, H, W), (N, H, W, C) with C 1 or 3, (N, H, W), or flat
    rows (N, D), which are of `image_shape` (C, H, W), by default grey squares.

    model, detector: named, or described as in a study; None: those that fitting takes. epochs: None: until held-out
    bits/dim hardly fall. seed: of all random numbers. false_alarms: the share of images like those of `fit` that
    `predict` calls outliers, at most, in the mean over calibration sets. device: "cpu" or "cuda". verbose: says each
    epoch.

    Of `fit`'s images half train the model, a fifth fits the detector, a fifth calibrates p-values and a tenth checks
    them: `detector_.card` says how. After `fit`, `detector_` is an ImageDetector, which can be saved, `offset_` the
    threshold of score_samples, `image_shape_` (C, H, W).
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] | None = None,
        *,
        detector: str | Mapping[str, Any] | None = None,
        epochs: int | None = None,
        seed: int = 0,
        false_alarms: float = 0.05,
        image_shape: tuple[int, int, int] | None = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.detector = detector
        self.epochs = epochs
        self.seed = seed
        self.false_alarms = false_alarms
        self.image_shape = image_shape
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns from images that belong; of equal ones one is taken. Raises ValueError if they are too few or none."""
        images = _distinct(self._images(X, reset=True))
        if len(images) < FEWEST:
            raise ValueError(f"X: n_samples = {len(images)} different images are too few, {FEWEST} are needed")
        sizes = ImageDatasetConfig.model_validate({"seed": self.seed, **sizes_of(len(images))})
        pool = of_images(Images(images, [""] * len(images), [""] * len(images)))
        dealt = deal(pool, sizes)
        parts = parts_of({split: np.ascontiguousarray(dealt[split].pixels) for split in SPLITS})
        recipe = Recipe(model=self.model, epochs=self.epochs, seed=self.seed, batch_sizes=[1], **self._detector())
        with tempfile.TemporaryDirectory() as work:
            self.detector_ = fit(parts, recipe, Path(work), device=self.device, on_epoch=self._tell)
        self.image_shape_ = self.detector_.shape
        self.offset_ = -self.detector_.threshold(self.false_alarms)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """(N,) float64; the higher, the more normal, −inf for an image outside the support."""
        check_is_fitted(self)
        return -self.detector_.score(self._images(X, reset=False))

    def decision_function(self, X: Any) -> np.ndarray:
        """(N,) float64: score_samples − offset_, below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """(N,) whole numbers: 1, or −1 for outliers, where p_values is at most false_alarms."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """(N,) conformal p-values: of images like those of `fit`, a share of at most a has one of a or less."""
        return self.detector_.p_values(-self.score_samples(X))

    def _detector(self) -> dict[str, Any]:
        return {} if self.detector is None else {"detector": self.detector}

    def _tell(self, row: Mapping[str, Any]) -> None:
        if self.verbose:
            print(f"epoch {row['epoch']}: {row['fit_bits_per_dim']:.3f} bits/dim held out")

    def _images(self, X: Any, *, reset: bool) -> np.ndarray:
        """(N, C, H, W) uint8; raises ValueError for anything else, and for other images than those of `fit`."""
        array = _as_array(X)
        if array.ndim == 2 or not isinstance(array, np.ndarray):
            array = validate_data(self, array, dtype="numeric", reset=reset)
        else:
            array = check_array(array, dtype="numeric", allow_nd=True, ensure_2d=False, input_name="X")
        check_non_negative(array, "X")
        flat = self.image_shape if reset else self.image_shape_
        images = images_of(array, flat)
        if not reset and images.shape[1:] != tuple(self.image_shape_):
            raise ValueError(f"X: images are {images.shape[1:]} each, but those of fit {tuple(self.image_shape_)}")
        return images

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """A pickle holds the bytes of the detector's file."""
        state: dict[str, Any] = dict(super().__getstate__())
        return {**state, "detector_": state["detector_"].to_bytes()} if "detector_" in state else state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(dict(state))
        if "detector_" in state:
            self.detector_ = ImageDetector.from_bytes(state["detector_"])


def images_of(array: np.ndarray, shape: tuple[int, int, int] | None = None) -> np.ndarray:
    """Images in any of the layouts that ImmatureDetector takes → (N, C, H, W) uint8. shape: of flat ones (N, D).

    >>> images_of(np.zeros((2, 8, 8, 3), np.uint8)).shape, images_of(np.zeros((2, 64))).shape
    ((2, 3, 8, 8), (2, 1, 8, 8))
    """
    return _eight_bits(_laid_out(array, shape))


def _laid_out(array: np.ndarray, shape: tuple[int, int, int] | None) -> np.ndarray:
    if array.ndim == 2:
        return array.reshape(len(array), *(shape or _square(array.shape[1])))
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in CHANNELS:
        return array
    if array.ndim == 4 and array.shape[3] in CHANNELS:
        return array.transpose(0, 3, 1, 2)
    wanted = "(N, C, H, W) or (N, H, W, C) with C 1 or 3, (N, H, W), or (N, D)"
    raise ValueError(f"X: must be {wanted}, not {array.shape}")


def _square(numbers: int) -> tuple[int, int, int]:
    side = math.isqrt(numbers)
    if side * side != numbers:
        raise ValueError(f"X: rows of {numbers} numbers are no grey squares; say image_shape=(C, H, W)")
    return 1, side, side


def _eight_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    with np.errstate(invalid="ignore"):
        whole = np.asarray(array).astype(np.uint8)
    if not (whole == array).all():
        raise ValueError(f"X: {WHOLE}")
    return np.ascontiguousarray(whole)


def _as_array(X: Any) -> Any:
    """A torch tensor as NumPy; anything else as it is, or, of more axes than two, as an array."""
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    return X if hasattr(X, "dtype") or hasattr(X, "iloc") or hasattr(X, "tocsr") else np.asarray(X)


def _distinct(images: np.ndarray) -> np.ndarray:
    """The first of all equal images."""
    first = {digest: place for place, digest in reversed([*enumerate(image_hashes(images))])}
    return images[sorted(first.values())]
