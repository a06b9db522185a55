"""Handwritten digits: MNIST (LeCun et al. 1998), 60,000 training and 10,000 test images, 28×28, grey, bright on dark.

The source "digits" is 5,000 of them that come inside a package.
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
        urls=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
            "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
            "http://yann.lecun.com/exdb/mnist/train-images-idx3-ubyte.gz",
        ),
        checksum="md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        page="http://yann.lecun.com/exdb/mnist",
        size=9_912_422,
    ),
    "test": Download(
        file="t10k-images-idx3-ubyte.gz",
        urls=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
            "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-images-idx3-ubyte.gz",
            "http://yann.lecun.com/exdb/mnist/t10k-images-idx3-ubyte.gz",
        ),
        checksum="md5:9fb629c4189551a2d022fa330f9573f3",
        page="http://yann.lecun.com/exdb/mnist",
        size=1_648_877,
    ),
}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file>#<row>"."""
    return load_official(FILES, image, config, data_dir / "mnist")
