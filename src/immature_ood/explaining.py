"""Why an image has its score: which layers deviate from the fit set, and what of the picture the score changes with.

The score is a function S(f, n) of log squared gradient norms f_k and, where a detector looks at the pixels themselves,
of a few numbers n_m of the image. With the noise of dequantisation held fixed, by the chain rule

    ∂S/∂p = Σ_k ∂S/∂f_k ∂f_k/∂p + Σ_m ∂S/∂n_m ∂n_m/∂p,

p the grey levels. ∂S/∂f_k and ∂S/∂n_m are central differences, in float64, of the fitted detector itself, whichever it
is; ∂f_k/∂p is a second backward pass through the first (gradients.by_input), ∂n_m/∂p one pass. The bytes as PNG, one of
the numbers, jump where a pixel changes, and are held fixed; pixels that are darkest or lightest together share that.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from immature_ood import face
from immature_ood.config import DetectorConfig
from immature_ood.dequantisation import fixed_noise
from immature_ood.detector_file import NAME, ImageDetector, extracted
from immature_ood.detectors import Detector, checked_log_norms
from immature_ood.detectors._densities import scored_where_finite
from immature_ood.detectors._norms import Vectors
from immature_ood.detectors._pixels import OnPixels
from immature_ood.detectors._statistics import WithoutLayers
from immature_ood.detectors.combined import Combined
from immature_ood.detectors.gradient_norms import GradientNorms
from immature_ood.extraction import objectives_of
from immature_ood.features import LOG_NORMS, LOG_PROB, Features
from immature_ood.gradients.by_input import Seen, gradient_by_input, seen
from immature_ood.kinds.images.tensors import dequantise
from immature_ood.noise import fixed_normal
from immature_ood.pixel_statistics import LEAST, PNG, statistics
from immature_ood.study import FeatureConfig

__all__ = ["Explanation", "Neighbour", "explain", "gradient_of"]

STEP = 1e-5  # of central differences, of log norms and of numbers of the image
LEVELS = 256  # of a pixel, which are a range of 1 of x
IMAGE_STATISTICS = "image_statistics"
STATISTICS = "statistics"  # what OnPixels calls the numbers of pixel_statistics, which are, in their order:
NUMBERS = (
    *("mean", "deviation", "darkest", "lightest", "steps in a row", "steps in a column", "second steps in a row"),
    *("bytes as PNG", "red", "green", "blue", "green − red", "blue − green"),
)


@dataclass(frozen=True)
class Neighbour:
    """An image of the fit set: pixels (C, H, W) uint8, and its distance in standardised log norms."""

    pixels: np.ndarray
    distance: float


@dataclass(frozen=True)
class Explanation:
    """Of one image.

    pixels: (C, H, W) uint8, as the detector sees it. score, p: what the detector says of it.
    gradient: (C, H, W) float64, by how much the score changes with each grey level.
    layers: by name, how far a log norm is from its mean over the fit set, in deviations there.
    numbers: likewise the numbers of the image itself; empty if the detector reads none.
    parts: by what they read, what parts of a combined detector add to the score; empty of others.
    nearest: images of the fit set, the nearest first; empty if the detector holds none.
    """

    pixels: np.ndarray
    score: float
    p: float
    gradient: np.ndarray
    layers: Mapping[str, float]
    numbers: Mapping[str, float]
    parts: Mapping[str, float]
    nearest: tuple[Neighbour, ...] = ()


def explain(detector: ImageDetector, image: np.ndarray, nearest: int = 8) -> Explanation:
    """Of an image (C, H, W) uint8; nearest: at most so many images of the fit set.

    Raises ValueError if the detector reads no gradient norms, or what no gradient leads through, if the model cannot be
    differentiated twice, if the score is infinite, or for an image of another shape.
    """
    detector.check_group_size(1)
    (image,) = face.checked(image[None], detector.shape)
    fitted = detector.detectors[1].detector
    asked = _asked(detector.reads, fitted)
    score = float(detector.score(image[None])[0])
    (features,) = extracted(detector.model, detector.reads, image[None], [1])[1]
    if not np.isfinite(score):
        raise ValueError(f"its score is infinite, which has no gradient: {_why_infinite(features)}")
    names, deviations = _deviations(fitted, features)
    return Explanation(
        image,
        score,
        float(detector.p_values(np.array([score]))[0]),
        _gradient(detector, asked, features.layers, image),
        dict(zip(names, deviations[0].tolist(), strict=True)),
        _numbers(fitted, image),
        _shares(fitted, features),
        _nearest(detector, deviations[0], nearest),
    )


def gradient_of(detector: ImageDetector, image: np.ndarray) -> np.ndarray:
    """(C, H, W) float64, ∂S/∂p of an image (C, H, W) uint8; raises ValueError as explain does."""
    return explain(detector, image, nearest=0).gradient


# The gradient ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OnNumbers(WithoutLayers):
    """A detector on the numbers of images that is given them and not the images."""

    of: OnPixels

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64 of features that have (G, M) numbers."""
        vectors = self.of.standard(features[0].of(STATISTICS)[:, self.of.chosen])
        return scored_where_finite(vectors, self.of.density.score)


def _asked(config: DetectorConfig, detector: Detector) -> Detector:
    """The detector as a function of log norms, log p and numbers of the image; raises ValueError if it is none."""
    if LOG_NORMS not in config.needs():
        raise ValueError(f"{config.detector} reads no gradient norms, and explain is of detectors that do")
    for _, part in config.with_parts():
        needs = {*part.needs()} - {LOG_NORMS, LOG_PROB}
        if needs and not part.parts_of() and part.detector != IMAGE_STATISTICS:
            raise ValueError(
                f"{part.detector} reads {', '.join(sorted(needs))}; explain follows detectors of gradient norms, of "
                f"the likelihood and {IMAGE_STATISTICS}, and what combines them"
            )
    return _followed(detector)


def _followed(detector: Detector) -> Detector:
    if isinstance(detector, Combined):
        return replace(detector, parts=tuple(map(_followed, detector.parts)))
    return _OnNumbers(detector) if isinstance(detector, OnPixels) else detector


def _gradient(detector: ImageDetector, asked: Detector, layers: tuple[str, ...], image: np.ndarray) -> np.ndarray:
    model = copy.deepcopy(detector.model).double()
    x = dequantise(torch.from_numpy(image[None]), fixed_noise(image[None], NAME)).double().requires_grad_()
    chosen = "all" if detector.reads.reads_weights() else "without_weights"
    found = seen(model, x, objectives_of(model, FeatureConfig()), chosen, lambda shape: _own_noise(image, shape))
    pixels = torch.from_numpy(image.astype(np.float64)).requires_grad_()
    numbers = _differentiable_numbers(pixels, float(statistics(image[None])[0, PNG]))
    at = {LOG_NORMS: torch.log(found.squared), STATISTICS: numbers} | _log_prob(detector.reads, found)
    slopes = _slopes(asked, {name: each.detach().numpy() for name, each in at.items()}, layers)
    of_log_prob = float(slopes.get(LOG_PROB, np.zeros(1))[0])
    by_norms = gradient_by_input(model, x, found, torch.from_numpy(slopes[LOG_NORMS]), of_log_prob)[0] / LEVELS
    (by_numbers,) = torch.autograd.grad(numbers @ torch.from_numpy(slopes[STATISTICS]), [pixels])
    gradient: np.ndarray = (by_norms + by_numbers).numpy()
    return gradient


def _own_noise(image: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """The model's own noise, as extraction draws it."""
    return fixed_normal(image[None], NAME, shape).double()


def _log_prob(reads: DetectorConfig, found: Seen) -> dict[str, Tensor]:
    if LOG_PROB not in reads.needs():
        return {}
    if found.log_prob is None:
        raise ValueError(f"{reads.detector} reads log p, which the objective whose gradients are taken does not give")
    return {LOG_PROB: found.log_prob}


def _slopes(detector: Detector, at: Mapping[str, np.ndarray], layers: tuple[str, ...]) -> dict[str, np.ndarray]:
    """∂S by each number of each statistic, (n,) of (n,), float64."""
    place = np.concatenate([*at.values()])
    moves = STEP * np.eye(len(place))
    ends = np.cumsum([len(each) for each in at.values()])[:-1]
    moved = dict(zip(at, np.split(np.concatenate([place + moves, place - moves]), ends, axis=1), strict=True))
    if LOG_PROB in moved:
        moved[LOG_PROB] = moved[LOG_PROB][:, 0]
    groups = np.arange(2 * len(place))
    scores = detector.score(Features(NAME, "test", moved, groups[:, None], layers, 1, groups))
    slopes = (scores[: len(place)] - scores[len(place) :]) / (2 * STEP)
    return dict(zip(at, np.split(slopes, ends), strict=True))


def _differentiable_numbers(pixels: Tensor, png: float) -> Tensor:
    """pixel_statistics.statistics of one image (C, H, W) float64, (8,) or (13,); png: the number that is held fixed."""
    flat = pixels.flatten()
    deviation = flat.std(correction=0) if (flat != flat[0]).any() else flat.new_zeros(())  # of which 0 has no slope
    found = [flat.mean(), deviation, flat.amin(), flat.amax()]
    found += [_log_mean(pixels.diff(dim=2)), _log_mean(pixels.diff(dim=1)), _log_mean(pixels.diff(n=2, dim=2))]
    found.append(flat.new_tensor(png))
    if len(pixels) == 3:
        found += [*pixels.mean(dim=(1, 2)), *pixels.diff(dim=0).abs().mean(dim=(1, 2))]
    return torch.stack(found)


def _log_mean(differences: Tensor) -> Tensor:
    return torch.log(differences.abs().mean() + LEAST)


# What deviates --------------------------------------------------------------------------------------------------------


def _within(thing: Any) -> Iterator[Any]:
    """A fitted detector and all that it is made of."""
    yield thing
    for value in vars(thing).values():
        for each in value if isinstance(value, tuple) else (value,):
            if is_dataclass(each):
                yield from _within(each)


def _deviations(detector: Detector, features: Features) -> tuple[list[str], np.ndarray]:
    """M names and (G, M) float64, the standardised log norms that the detector, or the first part with such, reads."""
    for part in _within(detector):
        if isinstance(part, Vectors):
            return [*_chosen(part.layers, part.used[0]), *(["log p"] if part.log_prob else [])], part(features)
        if isinstance(part, GradientNorms):
            live = ~np.isnan(part.variance)
            norms = checked_log_norms(features)[:, live]
            norms = np.logaddexp(norms, np.log(part.epsilon)) if part.epsilon else norms
            return _chosen(part.layers, live), (norms - part.mean[live]) / np.sqrt(part.variance[live])
    raise ValueError("this detector tells no layers apart, so that there is nothing to say of them")


def _chosen(names: tuple[str, ...], used: np.ndarray) -> list[str]:
    return [name for name, is_used in zip(names, used, strict=True) if is_used]


def _numbers(detector: Detector, image: np.ndarray) -> dict[str, float]:
    """The standardised numbers of the image, of a detector that reads them."""
    for part in _within(detector):
        if isinstance(part, OnPixels):
            found = part.standard(statistics(image[None])[:, part.chosen])[0]
            return dict(zip(_chosen(NUMBERS[: len(part.chosen)], part.chosen), found.tolist(), strict=True))
    return {}


def _shares(detector: Detector, features: Features) -> dict[str, float]:
    """By what parts read: of parts that read the same, the sum. Their order is not that of the config in a file."""
    shares: dict[str, float] = {}
    if not isinstance(detector, Combined) or detector.how == "maximum":
        return shares
    calibrated = detector.calibration(np.column_stack([part.score(features) for part in detector.parts]))[0]
    for part, share in zip(detector.parts, calibrated.tolist(), strict=True):
        shares[_reads(part)] = shares.get(_reads(part), 0.0) + share * (2 if detector.how == "fisher" else 1)
    return shares


def _reads(part: Detector) -> str:
    if any(isinstance(each, OnPixels) for each in _within(part)):
        return "image statistics"
    return "gradient norms" if any(hasattr(each, "layers") for each in _within(part)) else "likelihood"


def _nearest(detector: ImageDetector, own: np.ndarray, number: int) -> tuple[Neighbour, ...]:
    """The images that the detector holds which are nearest in standardised log norms, (M,) of the image."""
    if detector.thumbnails is None or not number:
        return ()
    (features,) = extracted(detector.model, detector.reads, detector.thumbnails, [1])[1]
    distances = np.linalg.norm(_deviations(detector.detectors[1].detector, features)[1] - own, axis=1)
    order = np.argsort(distances, kind="stable")[:number]
    return tuple(Neighbour(detector.thumbnails[place], float(distances[place])) for place in order)


def _why_infinite(features: Features) -> str:
    zero = [name for name, norm in zip(features.layers, features.log_norms[0], strict=True) if norm == -np.inf]
    return f"the gradient of {zero[0]} is zero" if zero else "it is outside of what the detector knows"
