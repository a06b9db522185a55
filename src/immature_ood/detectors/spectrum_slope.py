"""A control: how fast the power of an image falls with spatial frequency, and no model; natural images fall alike."""

from dataclasses import dataclass

import numpy as np

from immature_ood.detectors._densities import fit_standard, varying
from immature_ood.detectors._pixels import PixelsConfig
from immature_ood.detectors._statistics import WithoutLayers
from immature_ood.features import Features

__all__ = ["KINDS", "Config", "SpectrumSlope", "fit", "slopes"]

KINDS = ("images",)

ROUNDING = 1 / 12  # squared grey levels: what rounding to 8 bits adds to the power, which may be 0, at each frequency


class Config(PixelsConfig):
    """The slope of the power spectrum has no options."""

    detector: str = "spectrum_slope"


@dataclass(frozen=True)
class SpectrumSlope(WithoutLayers):
    """S(x) = | α(x) − μ | / σ, α the mean of the slopes of the group's images: a two-sided Gaussian.

    mean, deviation: μ and σ, of the groups of the fit set.
    """

    mean: float
    deviation: float

    def score(self, features: Features) -> np.ndarray:
        """(G,) float64."""
        return np.abs(_of_groups(features) - self.mean) / self.deviation


def fit(config: Config, features: Features) -> SpectrumSlope:
    """Raises ValueError if the slope does not vary over the groups, or if images have fewer than 4 rows or columns."""
    found = _of_groups(features)[:, None]
    varying(found, f"{features.dataset}/{features.split}: no slope of the power spectrum")
    standard = fit_standard(found)
    return SpectrumSlope(float(standard.mean[0]), float(standard.deviation[0]))


def slopes(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) uint8 → (N,) float64: the slope of log power over log frequency, the mean over channels.

    Power is averaged over each ring of r cycles a shorter side, r = 1 … min(H, W) / 2, as rounded; the slope is that of
    least squares: about −2 of natural images (van der Schaaf & van Hateren 1996), 0 of white noise.
    """
    number, channels, *sides = images.shape
    power = np.abs(np.fft.fft2(images.astype(np.float64))) ** 2 / np.prod(sides)
    of_rings = [power.reshape(number * channels, -1).take(ring, axis=1).mean(axis=1) for ring in _rings(*sides)]
    logs = np.log(np.stack(of_rings, axis=1) + ROUNDING)
    of_channels: np.ndarray = (logs * _weights(len(of_rings))).sum(axis=1)
    return of_channels.reshape(number, channels).mean(axis=1)


def _of_groups(features: Features) -> np.ndarray:
    """(G,) float64: the mean slope of each group's images."""
    pixels = features.of("pixels")
    return slopes(pixels.reshape(-1, *pixels.shape[2:])).reshape(pixels.shape[:2]).mean(axis=1)


def _rings(height: int, width: int) -> list[np.ndarray]:
    """Of each ring its places in H·W frequencies, as of fft2; raises ValueError if there are fewer than two rings."""
    shorter = min(height, width)
    if shorter < 4:
        raise ValueError(f"images of {height}×{width} pixels have no two frequencies; a spectrum's slope takes 4×4")
    radius = np.rint(shorter * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)))
    return [np.flatnonzero(radius == r) for r in range(1, shorter // 2 + 1)]


def _weights(rings: int) -> np.ndarray:
    """(R,) float64: the slope of least squares is the sum of the rings' logs, each by its weight."""
    logs = np.log(np.arange(1, rings + 1))
    weights: np.ndarray = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
    return weights
