"""Images side by side, for figures."""

import numpy as np
from matplotlib.axes import Axes

__all__ = ["draw"]

MARGIN = 0.06  # between images, of their width


def draw(axes: Axes, images: np.ndarray, columns: int) -> None:
    """Images (n, C, H, W) uint8, C 1 or 3, side by side on white, with room for `columns`."""
    _, channels, height, width = images.shape
    gap = max(1, round(width * MARGIN))
    strip = np.full((height, columns * (width + gap), channels), 255, dtype=np.uint8)
    for place, image in enumerate(images):
        left = place * (width + gap)
        strip[:, left : left + width] = image.transpose(1, 2, 0)  # (C, H, W) to (H, W, C)
    axes.imshow(np.broadcast_to(strip, (*strip.shape[:2], 3)), interpolation="nearest")
