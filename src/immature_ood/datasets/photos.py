"""Grey patches of the photographs and textures that come inside scikit-image and scikit-learn.

Twelve pictures of the everyday world, taken with a camera: no drawings, text, binary pictures or test patterns, nothing
from a microscope, an ophthalmoscope or a telescope, and one view of the stereo pair. Nothing is downloaded.

Each photograph is cut into blocks of 76×76 pixels with 4 unused pixels between them. Blocks go to train, fit and test
as 3:1:1 like a knight moves, so that every row and column of blocks has all splits and every split sees sky and ground.
Patches are cut inside a block, so splits share no pixel. Within a split neighbouring patches share 3/7 of a side
(28 pixels: every 16), so its images are less independent than their number suggests. Flat patches (standard deviation
below 5 of 255 grey levels: empty sky, blurred background) are left out.

At 28×28 there are 3,203 train, 1,120 fit and 1,069 test patches.

Credits: china.jpg by danielbuechele and flower.jpg by vultilion on Flickr (CC BY 2.0); motorcycle_left.png from the
Middlebury stereo benchmark (Scharstein et al. 2014); the others are free of known restrictions (see skimage.data).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution

import numpy as np

from immature_ood.datasets import SPLITS, Images, deal
from immature_ood.study import ImageConfig

__all__ = ["PACKAGES", "PHOTOGRAPHS", "Region", "load", "read_grey", "regions"]

PACKAGES = ("scikit-image", "scikit-learn", "pillow")
PHOTOGRAPHS = {
    "skimage/data/astronaut.png": "scikit-image",
    "skimage/data/brick.png": "scikit-image",
    "skimage/data/camera.png": "scikit-image",
    "skimage/data/chelsea.png": "scikit-image",
    "skimage/data/coffee.png": "scikit-image",
    "skimage/data/coins.png": "scikit-image",
    "skimage/data/grass.png": "scikit-image",
    "skimage/data/gravel.png": "scikit-image",
    "skimage/data/motorcycle_left.png": "scikit-image",
    "skimage/data/rocket.jpg": "scikit-image",
    "sklearn/datasets/images/china.jpg": "scikit-learn",
    "sklearn/datasets/images/flower.jpg": "scikit-learn",
}
BLOCK = 76  # pixels: the side of a region
GUARD = 4  # unused pixels between regions
CYCLE = ("train", "fit", "train", "test", "train")
FLAT = 5.0  # grey levels


@dataclass(frozen=True)
class Region:
    """A block of BLOCK×BLOCK pixels of a photograph, all of whose patches belong to one split."""

    split: str
    top: int
    left: int


def regions(height: int, width: int) -> list[Region]:
    """The disjoint blocks of a photograph; what is left at its right and lower edges is unused.

    >>> [region.split for region in regions(76, 400)]
    ['train', 'fit', 'train', 'test', 'train']
    >>> [region.split for region in regions(400, 76)]
    ['train', 'test', 'fit', 'train', 'train']
    """
    pitch = BLOCK + GUARD
    return [
        Region(CYCLE[(column + 3 * row) % len(CYCLE)], row * pitch, column * pitch)
        for row in range((height + GUARD) // pitch)
        for column in range((width + GUARD) // pitch)
    ]


def load(image: ImageConfig, sizes: Mapping[str, int], seed: int) -> dict[str, Images]:
    """(N, 1, side, side) with side at most 76. Origins are "<file in its package>@y=<top>,x=<left>"."""
    pools: dict[str, list[tuple[str, np.ndarray]]] = {split: [] for split in SPLITS}
    for file in PHOTOGRAPHS:
        grey = read_grey(file)
        for region in regions(*grey.shape):
            pools[region.split] += [
                (f"{file}@y={top},x={left}", grey[top : top + image.side, left : left + image.side])
                for top, left in _corners(region, image.side)
            ]
    return {split: deal(_textured(pools[split], image.side), {split: sizes[split]}, seed)[split] for split in SPLITS}


def read_grey(file: str) -> np.ndarray:
    """A photograph as (H, W) uint8: luma of ITU-R BT.601, (299 R + 587 G + 114 B) / 1000 of the stored values."""
    from PIL import Image

    with Image.open(str(distribution(PHOTOGRAPHS[file]).locate_file(file))) as photograph:
        return np.asarray(photograph.convert("L"))


def _corners(region: Region, side: int) -> Iterator[tuple[int, int]]:
    """Top and left of each patch in a region."""
    stride = side - 3 * side // 7
    for top in range(0, BLOCK - side + 1, stride):
        for left in range(0, BLOCK - side + 1, stride):
            yield region.top + top, region.left + left


def _textured(patches: list[tuple[str, np.ndarray]], side: int) -> Images:
    """The patches that are not flat."""
    kept = [(origin, patch) for origin, patch in patches if patch.std() >= FLAT]
    pixels = np.array([patch for _, patch in kept], np.uint8).reshape(-1, 1, side, side)
    return Images(pixels, [origin for origin, _ in kept])
