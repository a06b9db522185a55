"""A data source of one's own in one file: stripes at random angles."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from immature_ood.config import Positive, Real
from immature_ood.datasets import Images, deal
from immature_ood.datasets._pools import of_images
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig

PACKAGES = ()


class Config(ImageDatasetConfig):
    """Stripes."""

    pool: Positive = 400
    """How many images there are."""
    width: Annotated[Real, Field(gt=0)] = 3.0
    """The distance of two stripes, pixels."""

    def faults(self) -> Iterator[str]:
        """A line if there are too few images."""
        if self.train + self.fit + self.test > self.pool:
            yield f"pool: {self.pool} images are fewer than train, fit and test together"


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "stripes#<number>"."""
    angles = np.random.default_rng(config.seed).uniform(0, np.pi, (config.pool, 1, 1, 1))
    rows, columns = np.mgrid[: image.side, : image.side]
    wave = np.sin((np.cos(angles) * rows + np.sin(angles) * columns) * 2 * np.pi / config.width)
    pixels = np.repeat(np.uint8(127.5 * (1 + wave)), image.channels, axis=1)
    origins = [f"stripes#{number}" for number in range(config.pool)]
    return deal(of_images(Images(pixels, origins, ["array"] * config.pool)), config)
