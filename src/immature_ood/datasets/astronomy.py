"""Patches of the sky: hubble_deep_field.jpg, galaxies, that comes inside scikit-image.

One picture of 872×1000 in colour. How patches are cut and dealt is said in _patches.py; flat ones are left out by the
same limit as everywhere, which nearly all patches of empty sky pass for their noise. With no training and fit images
asked for, it gives 1,061 test patches at 32×32.

Credit: NASA, ESA, the Hubble Ultra Deep Field team; public domain (see skimage.data).
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images
from immature_ood.datasets._patches import LARGEST_SIDE, UNITS, is_textured, load_patches
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["LARGEST_SIDE", "PACKAGES", "PICTURES", "UNITS", "load"]

PACKAGES = ("scikit-image", "pillow")
PICTURES = {"skimage/data/hubble_deep_field.jpg": "scikit-image"}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file in its package>@y=<top>,x=<left>"."""
    return load_patches(PICTURES, image, config, is_textured)
