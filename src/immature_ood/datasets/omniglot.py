"""Handwritten characters of 50 alphabets: Omniglot (Lake, Salakhutdinov and Tenenbaum 2015).

The 19,280 images of 30 "background" alphabets are for training, the 13,180 of 20 other "evaluation" alphabets for
testing. They are black and white, 105×105, dark on bright, and so made smaller here; `inverted: true` turns them bright
on dark, as MNIST is. Fit images from the training set (`fit_from: train`) are of other alphabets than the test images.
Each character was drawn by twenty people, and is one unit.
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import of_zip
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "SHAPE", "UNITS", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 19_280, "test": 13_180}
SHAPE = (1, 105, 105)
FILES = {
    "train": Download(
        file="images_background.zip",
        urls=("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip",),
        checksum="md5:68d2efa1b9178cc56df9314c21c6e718",
        page="https://github.com/brendenlake/omniglot",
        size=9_464_212,
    ),
    "test": Download(
        file="images_evaluation.zip",
        urls=("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_evaluation.zip",),
        checksum="md5:6b91aef0f799c5bb55b94e3f2daec811",
        page="https://github.com/brendenlake/omniglot",
        size=6_462_886,
    ),
}


def _character_of(origin: str) -> str:
    """The folder of a character.

    >>> _character_of("images_background.zip/images_background/Greek/character01/0394_01.png")
    'images_background.zip/images_background/Greek/character01'
    """
    return origin.rpartition("/")[0]


UNITS = {"character": _character_of, "image": str}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<archive>/<member>"."""

    def open_pool(part: str) -> Pool:
        path = find(FILES[part], data_dir / "omniglot")
        return of_zip(path, path.stem, ".png", image)

    return deal_official(open_pool, image, config)
