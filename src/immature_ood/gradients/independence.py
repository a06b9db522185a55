"""Whether a model treats images one by one, without which the gradient of one image has no meaning."""

import torch
from torch import Tensor

from immature_ood.density import DensityModel

__all__ = ["check_independence", "trial_images"]

ROUNDING = 64  # units in the last place of log p, for devices that add in another order each time


def check_independence(model: DensityModel) -> None:
    """Raises ValueError if log p of an image changes with the image beside it, or from call to call.

    So it does where batch norm takes its statistics from the batch, or dropout is on. Both are off in eval mode.
    """
    x = trial_images(model, 3)
    with torch.no_grad():
        one, other = (model.log_prob(x[[0, beside]])[0] for beside in (1, 2))
    if not torch.isclose(one, other, rtol=ROUNDING * torch.finfo(one.dtype).eps, equal_nan=True):
        raise ValueError(
            f"{type(model).__name__}: log p of an image changes with the images beside it, or from call to call, as by "
            "batch norm or dropout in training mode; call eval(), or normalise each image alone (nn.GroupNorm)"
        )


def trial_images(model: DensityModel, number: int) -> Tensor:
    """Noise in [−0.5, 0.5), alike each time: (number, *shape), of the model's dtype and on its device."""
    noise = torch.rand(number, *model.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    return noise.to(next(model.parameters()))
