"""A control: which bytes a sample holds, in whatever order, and no model of what follows what.

Of text the bytes tell the alphabet, and mostly the language; of images they are the grey levels.
"""

from dataclasses import dataclass

import numpy as np

from immature_ood.detectors._densities import varying
from immature_ood.detectors._pixels import PixelsConfig
from immature_ood.detectors._statistics import WithoutLayers
from immature_ood.features import Features

__all__ = ["ByteHistogram", "Config", "fit"]

LEVELS = 256
MORE = 0.5  # counts added to each byte's of the fit set (Krichevsky & Trofimov 1981)


class Config(PixelsConfig):
    """The histogram of bytes has no options."""

    detector: str = "byte_histogram"


@dataclass(frozen=True)
class ByteHistogram(WithoutLayers):
    """S(x) = Σ_v q_v log (q_v / p_v), the divergence of the group's histogram q from that of the fit set, in nats.

    p: (256,), of the fit set, without zeros.
    """

    p: np.ndarray

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64."""
        counts = _counts(features)
        q = counts / counts.sum(axis=1, keepdims=True)
        divergence: np.ndarray = (q * np.log(np.where(q > 0, q, 1) / np.where(q > 0, self.p, 1))).sum(axis=1)
        return divergence


def fit(config: Config, features: Features) -> ByteHistogram:
    """Raises ValueError if samples are not stored as bytes, or all groups hold the same."""
    counts = _counts(features)
    varying(counts, f"{features.dataset}/{features.split}: no count of a byte")
    p = counts.sum(axis=0) + MORE
    return ByteHistogram(p / p.sum())


def _counts(features: Features) -> np.ndarray:
    """(G, 256) int64: how often each byte is in a group's samples."""
    stored = features.of("pixels")
    if stored.dtype != np.uint8:
        raise ValueError(
            f"{features.dataset}/{features.split}: a histogram of bytes is of uint8, not of {stored.dtype}"
        )
    groups = stored.reshape(len(stored), -1)
    places = np.arange(len(groups))[:, None] * LEVELS + groups
    return np.bincount(places.ravel(), minlength=len(groups) * LEVELS).reshape(-1, LEVELS)
