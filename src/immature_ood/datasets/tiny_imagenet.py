"""Photographs: Tiny ImageNet (Stanford's CS231N), 100,000 training and 10,000 test images of 200 classes, 64×64 JPEG.

Test images are those of its validation set, for the labels of its own test set were never given out. It is a part of
ImageNet that was resized another way, to 64×64: a stand-in for ImageNet32, and not it.
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._archives import of_zip
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 100_000, "test": 10_000}
FILES = {
    "all": Download(
        file="tiny-imagenet-200.zip",
        urls=("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "https://cs231n.stanford.edu/tiny-imagenet-200.zip"),
        checksum="md5:90528d7ca1a48142e341f4ef8d21d0de",
        page="http://cs231n.stanford.edu",
        size=248_100_043,
    )
}
FOLDERS = {"train": "tiny-imagenet-200/train", "test": "tiny-imagenet-200/val"}  # in the archive


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<archive>/<member>"."""

    def open_pool(part: str) -> Pool:
        return of_zip(find(FILES["all"], data_dir / "tiny_imagenet"), FOLDERS[part], ".JPEG", image)

    return deal_official(open_pool, image, config)
