"""Samples: what the data sets hold and what the models draw."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from immature_ood.kinds import KindOfData
from immature_ood.plots.style import DOUBLE, SINGLE, new_figure, styled, title

__all__ = ["dataset_samples", "gamma_of", "samples"]

SHOWN = 16  # samples a row
LABEL_WIDTH = 0.7  # inches, left of the rows
GAMMA = 0.5  # of images of which NEARLY_ALL pixels are darker than DARK of the brightest
DARK, NEARLY_ALL = 0.3, 0.95


@styled
def samples(data: KindOfData, training: np.ndarray, drawn: Mapping[int, np.ndarray], id_dataset: str) -> Figure:
    """What the model was trained on, then samples drawn from the model after each kept epoch; a row each.

    training: (N, *data.shape) as stored, such as uint8 (N, C, H, W). drawn: by epoch, (n, *data.shape).
    The first 16 of each are shown, and no more training samples than drawn ones. If training images are dark, all rows
    are brightened alike (see gamma_of).
    """
    names = {epoch: f"epoch {epoch}" if epoch else "untrained" for epoch in drawn}
    most = max((len(stored) for stored in drawn.values()), default=0) or SHOWN
    rows = {"training": training[:most], **{names[epoch]: drawn[epoch] for epoch in sorted(drawn)}}
    shown = f"training {data.samples}, and samples of the model as training goes on, each column from one noise"
    gamma = gamma_of(data, rows["training"])
    return _strips(data, rows, f"ID {id_dataset}: {shown}", dict.fromkeys(rows, gamma))


@styled
def dataset_samples(data: KindOfData, stored: Mapping[str, np.ndarray]) -> Figure:
    """The first 16 samples of each data set, a row each; dark images are brightened (see gamma_of).

    stored: by name, (N, *data.shape).
    """
    gammas = {name: gamma_of(data, one[:SHOWN]) for name, one in stored.items()}
    return _strips(data, stored, f"{data.samples.capitalize()} of the data sets", gammas)


def gamma_of(data: KindOfData, stored: np.ndarray) -> float:
    """The exponent v → v^γ that images (N, C, H, W) are shown with: GAMMA if nearly all are darker than DARK, else 1.

    For other kinds of data always 1.
    """
    if data.kind != "images" or not stored.size:
        return 1.0
    return GAMMA if np.quantile(stored, NEARLY_ALL) < DARK * (data.levels - 1) else 1.0


def _strips(data: KindOfData, rows: Mapping[str, np.ndarray], text: str, gammas: Mapping[str, float]) -> Figure:
    """One strip of samples a row, all at the same scale; rows without samples are left out."""
    strips = {name: _checked(data, name, stored[:SHOWN]) for name, stored in rows.items() if len(stored)}
    if not strips:
        raise ValueError(f"no {data.samples} to show: every array is empty")
    columns = max(len(stored) for stored in strips.values())
    width = SINGLE if columns <= SHOWN // 2 else DOUBLE
    size = (width - LABEL_WIDTH) / max(columns, SHOWN // 2)
    figure = new_figure(width, len(strips) * (size + 0.03) + 0.35)
    for axes, (name, stored) in zip(figure.subplots(len(strips), squeeze=False)[:, 0], strips.items(), strict=True):
        data.draw(axes, _brightened(stored, gammas[name], data.levels), max(columns, SHOWN // 2))
        label = name if gammas[name] == 1 else f"{name}\nγ = {gammas[name]:g}"
        axes.set_ylabel(label, rotation=0, horizontalalignment="right", verticalalignment="center")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    title(figure, text)
    return figure


def _brightened(stored: np.ndarray, gamma: float, levels: int) -> np.ndarray:
    """v → v^γ, of values from 0 to 1."""
    if gamma == 1:
        return stored
    return np.asarray(np.rint((levels - 1) * (stored / (levels - 1)) ** gamma), dtype=stored.dtype)


def _checked(data: KindOfData, name: str, stored: np.ndarray) -> np.ndarray:
    try:
        data.check(stored)
    except ValueError as error:
        raise ValueError(f"{name}: {data.samples} {error}") from None
    return stored
