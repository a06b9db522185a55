"""What no model is needed for: a handful of numbers of each image."""

import numpy as np

__all__ = ["PNG", "statistics"]

LEAST = 1e-3  # grey levels, added before a logarithm
PNG_LEVEL = 6  # of zlib; another compresses otherwise
PNG = 7  # the place of the logarithm of the bytes as PNG among the numbers


def statistics(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) uint8 → (N, 8) of grey images, (N, 13) of colour: what no model is needed for.

    Mean, deviation, minimum and maximum; the logarithm of the mean absolute difference of neighbours in a row, in a
    column, and of the second difference in a row; the logarithm of the bytes as PNG; and of colour the mean of each
    channel and the mean absolute differences of red and green, and of green and blue.
    """
    x = images.astype(np.float64)
    of_each = x.reshape(len(x), -1)
    found = [of_each.mean(axis=1), of_each.std(axis=1), of_each.min(axis=1), of_each.max(axis=1)]
    found += [_log_mean(np.diff(x, axis=3)), _log_mean(np.diff(x, axis=2)), _log_mean(np.diff(x, 2, axis=3))]
    found.append(np.log([_png_bytes(image) for image in images]))
    if x.shape[1] == 3:
        found += [*x.mean(axis=(2, 3)).T, *np.abs(np.diff(x, axis=1)).mean(axis=(2, 3)).T]
    return np.stack(found, axis=1)


def _log_mean(differences: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.log(np.abs(differences).reshape(len(differences), -1).mean(axis=1) + LEAST)
    return logs


def _png_bytes(image: np.ndarray) -> int:
    """Of an image (C, H, W) uint8, by Pillow."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)).save(
        file, "PNG", compress_level=PNG_LEVEL
    )
    return file.tell()
