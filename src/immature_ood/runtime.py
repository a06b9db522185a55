"""How this process uses the machine: device, precision, threads, and memory that is kept instead of mapped anew."""

import ctypes
import os
import sys

import torch

__all__ = ["DeviceError", "has_room_for", "prepare"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


class DeviceError(RuntimeError):
    """The study asks for a device that is not there."""


def prepare(threads: int, device: str = "cpu", *, tf32: bool = False, keep_memory: bool = True) -> torch.device:
    """Call it before the first tensor; returns the device to compute on.

    Sets torch's threads and, on glibc, keeps freed memory in the process: glibc maps and unmaps every large tensor,
    which costs a page fault for each 4 KiB of it, each time. On a GPU, kernels are chosen that give the same bytes each
    time, and products of float32 numbers round them to TF32 (10 bits) only if asked to.

    device: "cpu", "cuda", or "auto", the GPU if there is one. Raises DeviceError if it is not there.
    keep_memory: set it to False to leave the allocator alone.
    """
    torch.set_num_threads(threads)
    if keep_memory and sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: 0)
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 1 << 26)
    chosen = _chosen(device)
    if chosen.type == "cuda":
        _make_exact(tf32=tf32)
    return chosen


def _make_exact(*, tf32: bool) -> None:
    """Makes a GPU compute the same bytes each time, and float32 products in float32 unless tf32."""
    for products in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):  # type: ignore[attr-defined]
        products.fp32_precision = "tf32" if tf32 else "ieee"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may give other bytes each time
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _chosen(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "device: cuda, but torch sees no GPU here; check nvidia-smi and that torch is a CUDA build "
            f"(this is {torch.__version__}), or set device: auto"
        )
    return torch.device(device)


def has_room_for(size: int, device: torch.device, share: float = 0.25) -> bool:
    """Whether so many bytes are at most a share of the memory that is free on the device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= share * free
