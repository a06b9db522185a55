"""ImmatureDetector as a detector of PyOD (https://github.com/yzhao062/pyod)."""

from typing import Any, Self

import numpy as np
from pyod.models.base import BaseDetector

from immature_ood.estimator import ImmatureDetector

__all__ = ["PyOD"]


class PyOD(BaseDetector):
    """Rows (N, D) are flat images of whole numbers 0 to 255; image_shape: theirs, (C, H, W); None: grey squares.

    As PyOD has it, threshold_ and labels_ are by the share `contamination` of the images of `fit`, which are in part
    those that the model was trained on; `estimator_.p_values` are calibrated on others.
    """

    def __init__(
        self,
        contamination: float = 0.1,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int | None = None,
        seed: int = 0,
        model: Any = None,
    ) -> None:
        super().__init__(contamination=contamination)
        self.image_shape = image_shape
        self.epochs = epochs
        self.seed = seed
        self.model = model

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns from images that belong."""
        estimator = ImmatureDetector(self.model, epochs=self.epochs, seed=self.seed, image_shape=self.image_shape)
        self._set_n_classes(y)
        self.estimator_ = estimator.fit(X)
        self.decision_scores_ = self.decision_function(X)
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """(N,) float64, higher for outliers."""
        return -self.estimator_.score_samples(X)
