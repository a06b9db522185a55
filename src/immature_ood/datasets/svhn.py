"""House numbers in street scenes: SVHN, cropped digits (Netzer et al. 2011), 73,257 training and 26,032 test images.

They are 32×32, in colour. The 531,131 "extra" images, which are easier, are not used.
"""

from pathlib import Path

import numpy as np

from immature_ood.config import DatasetConfig
from immature_ood.datasets import Images, Pool, deal_official
from immature_ood.datasets._pools import of_arrays
from immature_ood.downloads import Download, find
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.storage import StorageError

__all__ = ["FILES", "OFFICIAL", "PACKAGES", "SHAPE", "load"]

PACKAGES = ("scipy", "pillow")
OFFICIAL = {"train": 73_257, "test": 26_032}
SHAPE = (3, 32, 32)
FILES = {
    "train": Download(
        file="train_32x32.mat",
        urls=("http://ufldl.stanford.edu/housenumbers/train_32x32.mat",),
        checksum="md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        page="http://ufldl.stanford.edu/housenumbers",
        size=182_040_794,
    ),
    "test": Download(
        file="test_32x32.mat",
        urls=("http://ufldl.stanford.edu/housenumbers/test_32x32.mat",),
        checksum="md5:eb5a983be6a315427106f1b164d9cef3",
        page="http://ufldl.stanford.edu/housenumbers",
        size=64_275_384,
    ),
}


def load(config: DatasetConfig, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<file>#<row>"."""

    def open_pool(part: str) -> Pool:
        path = find(FILES[part], data_dir / "svhn")
        return of_arrays({path.name: _read(path)}, "MAT", image)

    return deal_official(open_pool, image, config)


def _read(path: Path) -> np.ndarray:
    """The images of a MATLAB file, (N, 3, 32, 32) uint8; there they are (32, 32, 3, N)."""
    from scipy.io import loadmat

    try:
        pixels = loadmat(path, variable_names=["X"])["X"].transpose(3, 2, 0, 1)
    except Exception as error:  # of a damaged file scipy says many things
        raise StorageError(f"{path}: cannot be read as a MATLAB file ({error}); delete it and rerun") from error
    if pixels.dtype != np.uint8 or pixels.shape[1] != 3:
        raise StorageError(f"{path}: holds {pixels.dtype} {pixels.shape}, no images in colour; delete it and rerun")
    return pixels
