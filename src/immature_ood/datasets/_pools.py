"""Pools whose images lie in arrays or in picture files; both go by the one resizing rule."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from immature_ood.config import Label
from immature_ood.datasets import Images, Pool
from immature_ood.datasets._pixels import FORMATS, opened, to_image
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images.pictures import from_array
from immature_ood.progress import progress
from immature_ood.storage import StorageError

__all__ = ["Crop", "Reader", "of_arrays", "of_files", "of_images", "to_images"]

Crop = tuple[int, int, int, int]  # left, top, right, bottom
Reader = Callable[[Sequence[int]], Iterator[bytes]]  # the contents of the files at these places, one after another


def of_images(images: Images) -> Pool:
    """Images that are there already."""
    return Pool(len(images.pixels), images.pick, images.labels)


def of_arrays(
    arrays: Mapping[str, np.ndarray], stored: str, image: ImageConfig, labels: Sequence[Label] | None = None
) -> Pool:
    """The images of named arrays, each (N, C, H, W) uint8 with the same C, H and W.

    stored: the format of the file. labels: of all images, array by array. Origins are "<name of the array>#<row>".
    """
    pixels = np.concatenate([*arrays.values()])
    names = [f"{name}#{row}" for name, array in arrays.items() for row in range(len(array))]

    def read(places: np.ndarray) -> Images:
        chosen, resized = to_images(pixels[places], image)
        return Images(chosen, [names[place] for place in places], [stored] * len(places), resized)

    return Pool(len(pixels), read, labels)


def of_files(
    names: Sequence[str],
    contents: Reader,
    place: str,
    image: ImageConfig,
    crop: Crop | None = None,
    label_of: Callable[[str], Label] | None = None,
) -> Pool:
    """The pictures in files that Pillow reads, cropped first where a crop is given; origins are "<place>/<name>".

    label_of: the label of a picture, by the name of its file. Reading raises StorageError naming a file that is none.
    """

    def read(places: np.ndarray) -> Images:
        origins = [f"{place}/{names[number]}" for number in places]
        pixels = np.empty((len(places), *image.shape), np.uint8)
        formats, resized = [], False
        with progress(f"read {place}", len(places)) as advance:
            for row, content in enumerate(contents(places.tolist())):
                pixels[row], stored, resampled = _decoded(origins[row], content, image, crop)
                formats.append(stored)
                resized |= resampled
                advance()
        return Images(pixels, origins, formats, resized)

    return Pool(len(names), read, label_of and [label_of(name) for name in names])


def to_images(pixels: np.ndarray, image: ImageConfig) -> tuple[np.ndarray, bool]:
    """(N, C, H, W) uint8 as (N, *image.shape), and whether they were resampled."""
    if pixels.shape[1:] == image.shape:
        return pixels, False
    found = [to_image(from_array(each), image) for each in pixels]
    return np.array([each for each, _ in found], np.uint8).reshape(-1, *image.shape), any(did for _, did in found)


def _decoded(origin: str, content: bytes, image: ImageConfig, crop: Crop | None) -> tuple[np.ndarray, str, bool]:
    """The pixels of a picture, the format of its file, and whether it was resampled."""
    from PIL import UnidentifiedImageError

    try:
        with opened(io.BytesIO(content)) as (picture, stored):
            pixels, resized = to_image(picture.crop(crop) if crop else picture, image)
            return pixels, stored, resized
    except Exception as error:  # Pillow raises nearly everything over damaged files
        none = isinstance(error, UnidentifiedImageError)
        reason = f"it is none of {', '.join(FORMATS)}" if none else str(error) or type(error).__name__
        raise StorageError(
            f"{origin}: cannot be read as a picture ({reason}); mend or remove it, then rerun"
        ) from error
