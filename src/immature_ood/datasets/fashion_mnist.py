"""Articles of clothing: FashionMNIST (Xiao, Rasul and Vollgraf 2017), 60,000 training and 10,000 test images.

They are 28×28, grey, bright on dark, and all different. Debian's package dataset-fashion-mnist has them, too: its files
are the published ones under another header of gzip, without the name and the time. Classes are called by name or
number, and "clothes", "shoes" or "bags".
"""

from pathlib import Path

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images
from immature_ood.datasets._idx import load_official
from immature_ood.downloads import Download
from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["CLASSES", "FILES", "LABELS", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

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

LABELS = {  # had where classes are chosen
    "train": Download(
        file="train-labels-idx1-ubyte.gz",
        urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",),
        checksum="md5:25c81989df183df01b3e8a0aad5dffbe",
        page="https://github.com/zalandoresearch/fashion-mnist",
        size=29_515,
        package=(
            "/usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
            "md5:10bea18fdb374794d4bb42e356e600c9",
        ),
    ),
    "test": Download(
        file="t10k-labels-idx1-ubyte.gz",
        urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",),
        checksum="md5:bb300cfdad3c16e7a12a480ee83cd310",
        page="https://github.com/zalandoresearch/fashion-mnist",
        size=5_148,
        package=(
            "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz",
            "md5:0d30e22e447f3c33dab9ed536400ac01",
        ),
    ),
}
NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
GROUPS = {"sandal": "shoes", "sneaker": "shoes", "boot": "shoes", "bag": "bags"}
CLASSES = tuple((name, GROUPS.get(name, "clothes"), str(number)) for number, name in enumerate(NAMES))


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file>#<row>"."""
    return load_official(FILES, image, config, data_dir / "fashion_mnist", LABELS, CLASSES)
