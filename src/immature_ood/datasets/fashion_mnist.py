"""Articles of clothing: FashionMNIST (Xiao, Rasul and Vollgraf 2017), 60,000 training and 10,000 test images.

They are 28×28, grey, bright on dark, and all different. Debian's package dataset-fashion-mnist has them, too: its files
are the published ones under another header of gzip, without the name and the time.
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images
from immature_ood.datasets._idx import load_official
from immature_ood.downloads import Download
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

PACKAGES = ("pillow",)
OFFICIAL = {"train": 60_000, "test": 10_000}
SHAPE = (1, 28, 28)
FILES = {
    "train": Download(
        file="train-images-idx3-ubyte.gz",
        urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",),
        checksum="md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        page="https://github.com/zalandoresearch/fashion-mnist",
        size=26_421_880,
        package=(
            "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
            "md5:cf8536b0aa1a6ac5fa3f23001093305c",
        ),
    ),
    "test": Download(
        file="t10k-images-idx3-ubyte.gz",
        urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",),
        checksum="md5:bef4ecab320f06d8554ea6380940ec79",
        page="https://github.com/zalandoresearch/fashion-mnist",
        size=4_422_102,
        package=(
            "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",
            "md5:f78720b4224f21cce2f2ccf2d7a94c9a",
        ),
    ),
}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file>#<row>"."""
    return load_official(FILES, image, config, data_dir / "fashion_mnist")
