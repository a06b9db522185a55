"""Traffic signs: GTSRB (Stallkamp et al. 2012), 26,640 training and 12,630 test images in colour, of many sizes.

The training images are those of the competition of 2011 with the corrected archive, which torchvision uses, too; later
there were 39,209. They come from short videos, 30 images of each sign: fit images from the training set (`fit_from:
train`) are next to images that the model was trained on. A video is one unit; of the test images the files do not tell
which are of one, so that each is on its own.
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import of_zip
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "UNITS", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 26_640, "test": 12_630}
FILES = {
    "train": Download(
        file="GTSRB-Training_fixed.zip",
        urls=("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB-Training_fixed.zip",),
        checksum="md5:513f3c79a4c5141765e10e952eaa2478",
        page="https://benchmark.ini.rub.de/gtsrb_dataset.html",
        size=187_490_228,
    ),
    "test": Download(
        file="GTSRB_Final_Test_Images.zip",
        urls=("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB_Final_Test_Images.zip",),
        checksum="md5:c7e4e6327067d32654124b0fe9e82185",
        page="https://benchmark.ini.rub.de/gtsrb_dataset.html",
        size=88_978_620,
    ),
}
FOLDERS = {"train": "GTSRB/Training", "test": "GTSRB/Final_Test/Images"}  # in the archives


def _track_of(origin: str) -> str:
    """The class and number of a video; of a test image itself.

    >>> _track_of("GTSRB-Training_fixed.zip/GTSRB/Training/00014/00003_00029.ppm")
    'GTSRB-Training_fixed.zip/GTSRB/Training/00014/00003'
    >>> _track_of("GTSRB_Final_Test_Images.zip/GTSRB/Final_Test/Images/00029.ppm")
    'GTSRB_Final_Test_Images.zip/GTSRB/Final_Test/Images/00029.ppm'
    """
    folder, _, file = origin.rpartition("/")
    track, divided, _ = file.partition("_")
    return f"{folder}/{track}" if divided else origin


UNITS = {"track": _track_of, "image": str}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<archive>/<member>"."""

    def open_pool(part: str) -> Pool:
        return of_zip(find(FILES[part], data_dir / "gtsrb"), FOLDERS[part], ".ppm", image)

    return deal_official(open_pool, image, config)
