"""Faces of celebrities: CelebA, aligned and cropped (Liu et al. 2015), 162,770 training and 19,962 test images.

The 19,867 validation images are not used. The files are JPEG, 178×218; the middle is cut out, 148×148, as the code
released with arXiv 2502.00820 does. No person is in two of the official sets, but fit images from the training set
(`fit_from: train`) show persons that the model was trained on.

Google Drive, where the authors keep the files, often refuses; then they must be put into data_dir/celeba/ by hand.
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import of_zip_members, readable
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["CROP", "FILES", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 162_770, "validation": 19_867, "test": 19_962}
SHAPE = (3, 148, 148)  # cropped
PARTITION = {"train": "0", "test": "2"}  # what the list calls them; 1 is validation
CROP = (15, 40, 163, 188)  # left, top, right, bottom
FILES = {
    "images": Download(
        file="img_align_celeba.zip",
        urls=(
            "https://drive.usercontent.google.com/download?id=0B7EVK8r0v71pZjFTYXZWM3FlRnM&export=download&confirm=t",
        ),
        checksum="md5:00d2c5bc6d35e252742224ab0c1e8fcb",
        page="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        size=1_443_490_838,
    ),
    "partition": Download(
        file="list_eval_partition.txt",
        urls=(
            "https://drive.usercontent.google.com/download?id=0B7EVK8r0v71pY0NSMzRuSXJEVkk&export=download&confirm=t",
        ),
        checksum="md5:d32c9cbf5e040fd4025c592c306e6668",
        page="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        size=2_836_386,
    ),
}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<archive>/<member>"."""
    partition = find(FILES["partition"], data_dir / "celeba")  # the small file first
    archive = find(FILES["images"], data_dir / "celeba")

    def open_pool(part: str) -> Pool:
        return of_zip_members(archive, _members(partition, PARTITION[part]), image, CROP)

    return deal_official(open_pool, image, config)


def _members(partition: Path, number: str) -> list[str]:
    """The files in the archive of one part."""
    with readable(partition):
        pairs = (line.split() for line in partition.read_text(encoding="utf-8").splitlines())
        return [f"img_align_celeba/{name}" for name, part in pairs if part == number]
