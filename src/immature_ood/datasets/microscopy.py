"""Patches of stained tissue under a microscope: ihc.png, colonic glands, that comes inside scikit-image.

One picture of 512×512 in colour, so better for a set that is only ever out-of-distribution: with no training and fit
images asked for, it gives 320 test patches at 32×32. How patches are cut and dealt is said in _patches.py; flat ones
are left out.

Credit: Center for Microscopy and Molecular Imaging (CMMI), no known copyright restrictions (see skimage.data).
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images
from immature_ood.datasets._patches import LARGEST_SIDE, UNITS, is_textured, load_patches
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["LARGEST_SIDE", "PACKAGES", "PICTURES", "UNITS", "load"]

PACKAGES = ("scikit-image", "pillow")
PICTURES = {"skimage/data/ihc.png": "scikit-image"}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file in its package>@y=<top>,x=<left>"."""
    return load_patches(PICTURES, image, config, is_textured)
