"""ImmatureDetector as a detector of pytorch-ood (https://github.com/kkirchheim/pytorch-ood)."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from pytorch_ood.api import Detector, RequiresFittingException
from torch import Tensor

from immature_ood.estimator import ImmatureDetector

__all__ = ["PytorchOOD"]


class PytorchOOD(Detector):
    """Scores the model's inputs, with a density model of its own: pytorch-ood's classifier plays no part.

    Images are (B, C, H, W), uint8 or, as torchvision's ToTensor makes them, float in [0, 1]. options: of
    ImmatureDetector.
    """

    requires_fit = True

    def __init__(self, **options: Any) -> None:
        self.estimator = ImmatureDetector(**options)

    def fit(self, data_loader: Iterable[tuple[Tensor, Tensor]]) -> Self:
        """Learns from the images of a loader's batches (x, y); labels are not read."""
        self.estimator.fit(np.concatenate([_eight_bits(x) for x, _ in data_loader]))
        return self

    def predict(self, x: Tensor) -> Tensor:
        """(B,) float64, larger for images that are more likely out-of-distribution."""
        if not hasattr(self.estimator, "detector_"):
            raise RequiresFittingException
        return torch.from_numpy(-self.estimator.score_samples(_eight_bits(x)))


def _eight_bits(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.detach().cpu().numpy()
    return np.rint(255 * array) if array.dtype.kind == "f" else array
