"""How this process uses the machine: threads, and memory that is kept instead of mapped anew."""

import ctypes
import os
import sys

import torch

__all__ = ["prepare"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


def prepare(threads: int, *, keep_memory: bool = True) -> None:
    """Call it before the first tensor: sets torch's threads and, on glibc, keeps freed memory in the process.

    glibc maps and unmaps every large tensor, which costs a page fault for each 4 KiB of it, each time.
    keep_memory: set it to False to leave the allocator alone.
    """
    torch.set_num_threads(threads)
    if keep_memory and sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: 0)
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 1 << 26)
