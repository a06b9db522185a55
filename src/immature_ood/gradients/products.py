"""Matrix products at the speed of the machine."""

import torch
from torch import Tensor

__all__ = ["has_bfloat16", "one_by_one", "product", "products"]

LARGE = 1 << 21  # multiplications of one product from which oneDNN is faster than all products at once
FIRST_GPU = (8, 0)  # the compute capability from which NVIDIA's GPUs multiply bfloat16


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor or GPU has instructions that multiply bfloat16: avx512_bf16, amx_bf16, arm's bf16, or those
    of a GPU of compute capability 8.0 or of AMD; others emulate it, many times slower than float32.
    """
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= FIRST_GPU
    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def products(x: Tensor, y: Tensor) -> Tensor:
    """x_i y_iᵀ for each i: (N, p, k), (N, q, k) → (N, p, q).

    Of bfloat16 factors it is float32, summed in float32. A CPU rounds each sum to bfloat16 (torch has no other product
    of theirs there), a GPU does not. Where a CPU has no instructions for it, the same is had from float32.
    """
    if one_by_one(x, y):
        return torch.stack([product(x_i, y_i) for x_i, y_i in zip(x, y, strict=True)])
    if x.dtype != torch.bfloat16:
        return torch.bmm(x, y.mT)
    if x.device.type == "cuda":
        return torch.bmm(x, y.mT, out_dtype=torch.float32)
    return torch.bmm(x, y.mT).float() if has_bfloat16(x.device) else _as_bfloat16(products(x.float(), y.float()))


def one_by_one(x: Tensor, y: Tensor) -> bool:
    """Whether `product` for each i is faster than one batched product of x (N, p, k) and y (N, q, k).

    torch multiplies float32 matrices on a CPU by MKL, which uses half the vector width of a CPU that is not Intel's;
    oneDNN, which torch takes for convolutions and for linear layers that it compiles, uses all of it.
    """
    known = (torch.float32, torch.bfloat16)
    if x.device.type != "cpu" or x.dtype not in known or not torch.backends.mkldnn.is_available():
        return False
    return x.shape[1] * x.shape[2] * y.shape[1] >= LARGE


def product(x: Tensor, y: Tensor) -> Tensor:
    """x yᵀ by oneDNN: (p, k), (q, k) → (p, q) float32, of float32 or bfloat16 (see products) on a CPU."""
    if x.dtype == torch.bfloat16 and not has_bfloat16(x.device):
        return _as_bfloat16(product(x.float(), y.float()))
    return torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], "").float()


def _as_bfloat16(sums: Tensor) -> Tensor:
    """float32, rounded as bfloat16 is."""
    return sums.bfloat16().float()
