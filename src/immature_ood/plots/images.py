"""Images: what the data sets hold and what the models draw."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from immature_ood.plots.style import DOUBLE, SINGLE, new_figure, styled, title

__all__ = ["dataset_images", "samples"]

SHOWN = 16  # images a row
MARGIN = 0.06  # between images, of their width
LABEL_WIDTH = 0.6  # inches, left of the rows


@styled
def samples(training: np.ndarray, drawn: Mapping[int, np.ndarray], id_dataset: str) -> Figure:
    """The images that the model was trained on, then samples drawn from the model after each kept epoch; a row each.

    training: uint8 (N, C, H, W), C 1 or 3. drawn: by epoch, uint8 (n, C, H, W).
    The first 16 of each are shown, and no more training images than samples.
    """
    names = {epoch: f"epoch {epoch}" if epoch else "untrained" for epoch in drawn}
    most = max((len(images) for images in drawn.values()), default=0) or SHOWN
    rows = {"training": training[:most], **{names[epoch]: drawn[epoch] for epoch in sorted(drawn)}}
    shown = "training images, and samples of the model as training goes on, each column from one noise"
    return _strips(rows, f"ID {id_dataset}: {shown}")


@styled
def dataset_images(images: Mapping[str, np.ndarray]) -> Figure:
    """The first 16 images of each data set, a row each. images: by name, uint8 (N, C, H, W), C 1 or 3."""
    return _strips(images, "Images of the data sets")


def _strips(rows: Mapping[str, np.ndarray], text: str) -> Figure:
    """One strip of images a row, all at the same scale; rows without images are left out."""
    strips = {name: _checked(name, images)[:SHOWN] for name, images in rows.items() if len(images)}
    if not strips:
        raise ValueError("no images to show: every array is empty")
    columns = max(len(images) for images in strips.values())
    width = SINGLE if columns <= SHOWN // 2 else DOUBLE
    image_size = (width - LABEL_WIDTH) / max(columns, SHOWN // 2)
    figure = new_figure(width, len(strips) * (image_size + 0.03) + 0.35)
    for axes, (name, images) in zip(figure.subplots(len(strips), squeeze=False)[:, 0], strips.items(), strict=True):
        _draw_strip(axes, images, max(columns, SHOWN // 2))
        axes.set_ylabel(name, rotation=0, horizontalalignment="right", verticalalignment="center")
    title(figure, text)
    return figure


def _checked(name: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"{name}: images must be uint8 (N, 1 or 3, H, W), got {images.dtype} {images.shape}")
    return images


def _draw_strip(axes: Axes, images: np.ndarray, columns: int) -> None:
    """The images side by side on white, with room for as many as the longest row has."""
    _, channels, height, width = images.shape
    gap = max(1, round(width * MARGIN))
    strip = np.full((height, columns * (width + gap), channels), 255, dtype=np.uint8)
    for place, image in enumerate(images):
        left = place * (width + gap)
        strip[:, left : left + width] = image.transpose(1, 2, 0)  # (C, H, W) to (H, W, C)
    axes.imshow(np.broadcast_to(strip, (*strip.shape[:2], 3)), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
