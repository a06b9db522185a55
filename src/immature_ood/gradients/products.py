"""Matrix products at the speed of the machine."""

import torch
from torch import Tensor

__all__ = ["one_by_one", "product", "products"]

LARGE = 1 << 21  # multiplications of one product from which oneDNN is faster than all products at once


def products(x: Tensor, y: Tensor) -> Tensor:
    """x_i y_iᵀ for each i: (N, p, k), (N, q, k) → (N, p, q)."""
    if one_by_one(x, y):
        return torch.stack([product(x_i, y_i) for x_i, y_i in zip(x, y, strict=True)])
    return torch.bmm(x, y.mT)


def one_by_one(x: Tensor, y: Tensor) -> bool:
    """Whether `product` for each i is faster than one batched product of x (N, p, k) and y (N, q, k).

    torch multiplies float32 matrices on a CPU by MKL, which uses half the vector width of a CPU that is not Intel's;
    oneDNN, which torch takes for convolutions and for linear layers that it compiles, uses all of it.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return False
    return x.shape[1] * x.shape[2] * y.shape[1] >= LARGE


def product(x: Tensor, y: Tensor) -> Tensor:
    """x yᵀ by oneDNN: (p, k), (q, k) → (p, q), float32 on a CPU."""
    return torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], "")
