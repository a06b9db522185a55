"""Patches of the photographs and textures that come inside scikit-image and scikit-learn.

Twelve pictures of the everyday world, taken with a camera: no drawings, text, binary pictures or test patterns, nothing
from a microscope, an ophthalmoscope or a telescope, and one view of the stereo pair. In a colour study only the seven
that have colours are used, all of them natural scenes. Nothing is downloaded.

Classes are the photographs, such as "coins", and "textures" or "scenes".

How patches are cut and dealt is said in _patches.py. Flat patches (standard deviation below 5 of 255 grey levels: empty
sky, blurred background) are left out. At 28×28 in grey there are 3,203 train, 1,120 fit and 1,069 test patches, at
32×32 in colour 1,057, 375 and 368.

Credits: china.jpg by danielbuechele and flower.jpg by vultilion on Flickr (CC BY 2.0); motorcycle_left.png from the
Middlebury stereo benchmark (Scharstein et al. 2014); the others are free of known restrictions (see skimage.data).
"""

from pathlib import Path

from immature_ood.config import DatasetConfig, Label
from immature_ood.datasets import Images
from immature_ood.datasets._patches import LARGEST_SIDE, UNITS, is_textured, load_patches
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["CLASSES", "COLOUR", "LARGEST_SIDE", "PACKAGES", "PHOTOGRAPHS", "UNITS", "load"]

PACKAGES = ("scikit-image", "scikit-learn", "pillow")
PHOTOGRAPHS = {
    "skimage/data/astronaut.png": "scikit-image",
    "skimage/data/brick.png": "scikit-image",
    "skimage/data/camera.png": "scikit-image",
    "skimage/data/chelsea.png": "scikit-image",
    "skimage/data/coffee.png": "scikit-image",
    "skimage/data/coins.png": "scikit-image",
    "skimage/data/grass.png": "scikit-image",
    "skimage/data/gravel.png": "scikit-image",
    "skimage/data/motorcycle_left.png": "scikit-image",
    "skimage/data/rocket.jpg": "scikit-image",
    "sklearn/datasets/images/china.jpg": "scikit-learn",
    "sklearn/datasets/images/flower.jpg": "scikit-learn",
}
COLOUR = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "china", "flower")
TEXTURES = ("brick", "grass", "gravel")


def _label_of(file: str) -> Label:
    """The names of a photograph's classes.

    >>> _label_of("skimage/data/grass.png")
    ('grass', 'textures')
    """
    name = Path(file).stem
    return name, "textures" if name in TEXTURES else "scenes"


CLASSES = tuple(map(_label_of, PHOTOGRAPHS))


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file in its package>@y=<top>,x=<left>"."""
    coloured = {file: package for file, package in PHOTOGRAPHS.items() if Path(file).stem in COLOUR}
    pictures = PHOTOGRAPHS if image.channels == 1 else coloured
    return load_patches(pictures, image, config, is_textured, label_of=_label_of)
