"""Windows with what a language model reads in them destroyed: the order of all bytes, or of some letters; or repeated.

What is drawn for a window follows from its own bytes alone, so that it is changed alike in whatever set it lies.
"""

import hashlib

import numpy as np

__all__ = ["repeated", "shuffled", "swapped"]


def shuffled(windows: np.ndarray) -> np.ndarray:
    """Each window (N, T) uint8 with its bytes permuted, all orders as likely."""
    changed = [_generator("shuffled", window).permutation(window) for window in windows]
    return np.array(changed, windows.dtype).reshape(windows.shape)


def repeated(windows: np.ndarray, period: int) -> np.ndarray:
    """Each window (N, T) uint8 with its first bytes again and again: byte t is that of t modulo `period`."""
    return windows[:, np.arange(windows.shape[1]) % period]


def swapped(windows: np.ndarray, share: float) -> np.ndarray:
    """Each window (N, T) uint8 with some neighbours in each other's place, each pair with probability `share`.

    Pairs are two by two from the first byte or, of half of the windows, from the second, and both of ASCII letters, so
    that UTF-8 stays what it is.
    """
    changed = [_swapped(window, share, _generator("swapped", window)) for window in windows]
    return np.array(changed, windows.dtype).reshape(windows.shape)


def _swapped(window: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    left = np.arange(generator.integers(2), len(window) - 1, 2)
    chosen = generator.random(len(left)) < share
    left = left[chosen & _is_letter(window[left]) & _is_letter(window[left + 1])]
    changed = window.copy()
    changed[left], changed[left + 1] = window[left + 1], window[left]
    return changed


def _is_letter(found: np.ndarray) -> np.ndarray:
    """Whether bytes are of a … z or A … Z, whose codes differ in one bit."""
    lower = found | 0x20
    return (lower >= ord("a")) & (lower <= ord("z"))


def _generator(*key: str | np.ndarray) -> np.random.Generator:
    digest = hashlib.sha256(b"\0".join(part.encode() if isinstance(part, str) else part.tobytes() for part in key))
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest()[:16])))
