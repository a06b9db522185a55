"""Traffic signs: GTSRB (Stallkamp et al. 2012), 26,640 training and 12,630 test images in colour, of many sizes.

The training images are those of the competition of 2011 with the corrected archive, which torchvision uses, too; later
there were 39,209. They come from short videos, 30 images of each sign: fit images from the training set (`fit_from:
train`) are next to images that the model was trained on. A video is one unit; of the test images the files do not tell
which are of one, so that each is on its own. Classes are the 43 signs, by number, and their shapes: circle,
triangle, inverted triangle, diamond and octagon.
"""

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from immature_ood.config import DatasetConfig, Label
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import of_zip, readable
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["CLASSES", "FILES", "LABELS", "OFFICIAL", "PACKAGES", "UNITS", "load"]

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
LABELS = {  # had where classes are chosen; the training images' are their folders
    "test": Download(
        file="GTSRB_Final_Test_GT.zip",
        urls=("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB_Final_Test_GT.zip",),
        checksum="md5:fe31e9c9270bbcd7b84b7f21a9d9d9e5",
        page="https://benchmark.ini.rub.de/gtsrb_dataset.html",
    ),
}
TABLE = "GT-final_test.csv"  # in it
OTHER_SHAPES = {12: "diamond", 13: "inverted triangle", 14: "octagon", 11: "triangle"}
TRIANGLES = range(18, 32)


def _label(number: int) -> Label:
    return str(number), OTHER_SHAPES.get(number, "triangle" if number in TRIANGLES else "circle")


CLASSES = tuple(map(_label, range(43)))
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
        path, folder = find(FILES[part], data_dir / "gtsrb"), FOLDERS[part]
        if part == "train":
            return of_zip(path, folder, ".ppm", image, lambda name: CLASSES[int(PurePosixPath(name).parent.name)])
        if not config.chooses_classes:
            return of_zip(path, folder, ".ppm", image)
        known = _test_labels(find(LABELS[part], data_dir / "gtsrb"))
        return of_zip(path, folder, ".ppm", image, lambda name: known[PurePosixPath(name).name])

    return deal_official(open_pool, image, config)


def _test_labels(path: Path) -> Mapping[str, Label]:
    """The label of each test image, by the name of its file."""
    with readable(path), zipfile.ZipFile(path) as archive:
        rows = csv.DictReader(io.StringIO(archive.read(TABLE).decode()), delimiter=";")
        return {row["Filename"]: CLASSES[int(row["ClassId"])] for row in rows}
