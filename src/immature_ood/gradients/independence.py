"""Whether a model treats images one by one, without which the gradient of one image has no meaning."""

import torch
from torch import Tensor

from immature_ood.density import DensityModel, Objective

__all__ = ["alike", "check_independence", "trial"]

ROUNDING = 64  # units in the last place of the value, for devices that add in another order each time


def check_independence(model: DensityModel, objective: Objective) -> None:
    """Raises ValueError if the value of an image changes with the image beside it, or from call to call.

    So it does where batch norm takes its statistics from the batch, or dropout is on. Both are off in eval mode.
    """
    x, noise = trial(model, objective, 3)
    pairs = [[0, 1], [0, 2]]
    with torch.no_grad():
        one, other = (objective(model, x[p], None if noise is None else noise[p]).value[0] for p in pairs)
    if not alike(one, other, ROUNDING * torch.finfo(one.dtype).eps, model):
        raise ValueError(
            f"{type(model).__name__}: {objective.name} of an image changes with the images beside it, or from call to "
            "call, as by batch norm or dropout in training mode; call eval(), or normalise each image alone "
            "(nn.GroupNorm)"
        )


def alike(one: Tensor, other: Tensor, tolerance: float, model: DensityModel) -> bool:
    """Whether values differ by rounding alone: relatively, or, where D terms of about 1 cancel, in their sum."""
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * model.dimensions, equal_nan=True)


def trial(model: DensityModel, objective: Objective, number: int) -> tuple[Tensor, Tensor | None]:
    """Images to try an objective with, alike each time, and noise if it needs any, of its dtype and on its device.

    They are the model's own examples, (number, *shape); noise is standard normal, (number, *noise_shape).
    """
    generator, weight = torch.Generator().manual_seed(0), next(model.parameters())
    x = model.taken(model.example(number, generator))
    shape = objective.noise_shape
    return x, None if shape is None else torch.randn(number, *shape, generator=generator).to(weight)
