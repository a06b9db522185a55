"""Cursive Japanese: Kuzushiji-MNIST (Clanuwat et al. 2018), 60,000 training and 10,000 test images of ten characters.

They are 28×28, grey, bright on dark.
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
        urls=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/train-images-idx3-ubyte.gz",),
        checksum="md5:bdb82020997e1d708af4cf47b453dcf7",
        page="http://codh.rois.ac.jp/kmnist",
        size=18_165_135,
    ),
    "test": Download(
        file="t10k-images-idx3-ubyte.gz",
        urls=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/t10k-images-idx3-ubyte.gz",),
        checksum="md5:5c965bf0a639b31b8f53240b1b52f4d7",
        page="http://codh.rois.ac.jp/kmnist",
        size=3_041_136,
    ),
}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file>#<row>"."""
    return load_official(FILES, image, config, data_dir / "kmnist")
