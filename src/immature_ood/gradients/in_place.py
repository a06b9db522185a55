"""Couplings of a frozen model whose ReLUs overwrite what they are given.

What a convolution puts out before a ReLU is read by no backward, but by the closed form of its actnorm's logs, Σ_p g·y,
for which what the ReLU made of it does as well: g is zero where they differ. Overwritten, it needs no memory of its
own, which else is that of half of all activations.
"""

from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.models._glow import Coupling

__all__ = ["overwrite"]


def overwrite(model: nn.Module) -> None:
    """Lets the couplings of a model compute as they do, but in place where they can."""
    for module in model.modules():
        if type(module) is Coupling:
            module._affine = MethodType(_affine, module)  # type: ignore[method-assign]


def _affine(coupling: Coupling, z1: Tensor) -> tuple[Tensor, Tensor]:
    """As Coupling._affine."""
    h = _relu(coupling.first(z1.to(coupling.network_dtype or z1.dtype)))
    h = coupling.last(_relu(coupling.second(h))).to(z1.dtype)
    return h[:, 0::2], F.logsigmoid(h[:, 1::2] + 2.0)


def _relu(x: Tensor) -> Tensor:
    """In place, but where autograd forbids it: at a tensor with which its graph begins."""
    return F.relu(x) if x.is_leaf else torch.relu_(x)
