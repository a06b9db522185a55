"""Patches of the back of an eye: retina.jpg, that comes inside scikit-image.

One picture of 1411×1411 in colour, a disc on black. How patches are cut and dealt is said in _patches.py. Flat patches
are left out, which is most of the even background between vessels, and so are those with more than a tenth of their
pixels in the black surround. With no training and fit images asked for, it gives 707 test patches at 32×32.

Credit: Mikael Häggström (2014), CC0 (see skimage.data).
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images
from immature_ood.datasets._patches import LARGEST_SIDE, UNITS, Patch, is_textured, load_patches
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["BLACK", "LARGEST_SIDE", "PACKAGES", "PICTURES", "SURROUND", "UNITS", "load"]

PACKAGES = ("scikit-image", "pillow")
PICTURES = {"skimage/data/retina.jpg": "scikit-image"}
BLACK = 12  # grey levels: the surround is darker, JPEG having smeared it
SURROUND = 0.1  # of the pixels of a patch, at most


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file in its package>@y=<top>,x=<left>"."""
    return load_patches(PICTURES, image, config, _inside, "flat or black patches")


def _inside(patch: Patch) -> bool:
    return is_textured(patch) and (patch.luma < BLACK).mean() <= SURROUND
