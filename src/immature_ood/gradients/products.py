"""Batched matrix products at the speed of the machine."""

import torch
from torch import Tensor

__all__ = ["products"]

LARGE = 1 << 21  # multiplications of one product from which oneDNN is faster than all products at once


def products(x: Tensor, y: Tensor) -> Tensor:
    """x_i y_iᵀ for each i: (N, p, k), (N, q, k) → (N, p, q).

    torch multiplies float32 matrices on a CPU by MKL, which uses half the vector width of a CPU that is not Intel's;
    oneDNN, which torch takes for convolutions and torch.compile for linear layers, uses all of it.
    """
    if len(x) and x.shape[1] * x.shape[2] * y.shape[1] >= LARGE and _onednn_takes(x):
        multiply = torch.ops.mkldnn._linear_pointwise
        return torch.stack([multiply(one, other, None, "none", [], "") for one, other in zip(x, y, strict=True)])
    return torch.bmm(x, y.mT)


def _onednn_takes(x: Tensor) -> bool:
    return torch.backends.mkldnn.is_available() and x.device.type == "cpu" and x.dtype == torch.float32
