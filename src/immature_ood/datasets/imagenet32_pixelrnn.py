"""Photographs of 1,000 kinds of things: the older small ImageNet of van den Oord, Kalchbrenner and Kavukcuoglu (2016).

1,281,149 training images and, for tests, 49,999 validation images, 32×32, in colour, PNG. They were resampled in
another way than those of imagenet32, so that likelihoods of the two cannot be compared. The site has withdrawn them: if
you have the files, put them into data_dir/imagenet32_pixelrnn/.
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, deal_official
from immature_ood.datasets._archives import of_tar
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 1_281_149, "test": 49_999}
SHAPE = (3, 32, 32)
FILES = {
    "train": Download(
        file="train_32x32.tar",
        urls=("http://image-net.org/small/train_32x32.tar",),
        checksum="sha256:244a323d48f8d72f65ad8b54658c01fed68d2d7bdc77ccb43da58c11e94224e5",
        page="http://image-net.org/small/download.php",
        size=4_113_018_880,
    ),
    "test": Download(
        file="valid_32x32.tar",
        urls=("http://image-net.org/small/valid_32x32.tar",),
        checksum="sha256:862e559462b24cf736212a19f6b0d47b55c2dc8ebdaa95ccecfe71260124c8f7",
        page="http://image-net.org/small/download.php",
        size=161_474_560,
    ),
}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<archive>/<member>"."""
    folder = data_dir / "imagenet32_pixelrnn"
    return deal_official(lambda part: of_tar(find(FILES[part], folder), image), image, config)
