"""Images of one set made like those of another in what no model is needed for: what is left to tell them apart by?

`{source: matched, of: glyphs, like: digits}`: `of` and `like` are other sets of the study, or sections of their own.
Each image of `of` has a partner among the training images of `like` (the fit images, where there are none), at random,
never among those that are scored, and no partner twice before all have been once. By `given`, the image is given

* moments:  the partner's mean and deviation, channel by channel;
* spectrum: its radially averaged power spectrum, and so mean and deviation too, channel by channel; the phases, which
  say where things are, stay.

Pixels are clipped to 0 … 255 and rounded, which takes from what was given; so it is given again, ROUNDS times, and
what the last clipping breaks stays broken (how much: docs/data.md). With `chosen_by`, images are then chosen from those
of `of`, which should be several times as many as are asked for: each partner, without replacement, gets the image that
is most like it in bytes as PNG (png), or in all numbers that the control image_statistics sees (statistics), so that
the sum of squared distances is the least.

An image is of the unit, and of the classes, of the image of `of` that it is made from.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from immature_ood import datasets
from immature_ood.config import DatasetConfig
from immature_ood.datasets import SPLITS, Images
from immature_ood.datasets._parts import Part
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.pixel_statistics import PNG, statistics

__all__ = ["EXAMPLE", "PACKAGES", "SETS", "UNITS", "Config", "load", "with_moments", "with_spectrum"]

PACKAGES = ("pillow", "scipy")
SETS = ("of", "like")
FEW = {"train": 120, "fit": 40, "test": 40}
EXAMPLE = {"of": {"source": "glyphs", **FEW}, "like": {"source": "digits", **FEW}}
PARTNER = " ~like~ "  # between the origins of an image and of its partner
ROUNDS = 30  # digits that are given to letters need them, photographs three


class Config(ImageDatasetConfig):
    """Images of one set made like those of another."""

    source: str = "matched"
    of: Part
    """The images are of this set of the study, or of a section of its own."""
    like: Part
    """They are made like the training images of this set, or of a section of its own."""
    given: Literal["moments", "spectrum"] | None = "spectrum"
    """Images are given mean and deviation (moments) or the radial spectrum of their partners, or nothing."""
    chosen_by: Literal["png", "statistics"] | None = None
    """Images are chosen by bytes as PNG, or by all numbers that image_statistics sees; by default all are taken."""

    def parts_of(self) -> Mapping[str, DatasetConfig]:
        """See DatasetConfig.parts_of."""
        return {"of": self.of, "like": self.like}

    def contents(self) -> str | None:
        """What both sets follow from."""
        found = [part.contents() for part in self.parts_of().values()]
        return None if found == [None, None] else repr(found)

    def faults(self) -> Iterator[str]:
        """Whether there are partners, and enough images, for a choice more than are asked for."""
        if not self.like.train and not self.like.fit:
            yield "like: has neither training nor fit images, which are to be partners"
        for split in SPLITS:
            asked, there = getattr(self, split), getattr(self.of, split)
            if asked > there:
                yield f"{split}: {asked:,} images asked for, but of has {there:,}; lower it, or raise of.{split}"
            elif self.chosen_by and asked == there > 0:
                yield f"chosen_by: of has {there:,} {split} images for {asked:,}, which is no choice; raise of.{split}"


def UNITS(config: Config) -> dict[str, Callable[[str], str]]:
    """Those of the set that the images are of."""

    def as_before(name_of: Callable[[str], str]) -> Callable[[str], str]:
        return lambda origin: name_of(origin.partition(PARTNER)[0])

    return {kind: as_before(name_of) for kind, name_of in datasets.units(config.of).items()}


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<origin> ~like~ <that of the partner>", the last if images were given anything."""
    found = {key: datasets.samples(part, image, data_dir) for key, part in config.parts_of().items()}
    partners = found["like"]["train" if config.like.train else "fit"]
    return {split: _matched(found["of"][split], partners, getattr(config, split), config, split) for split in SPLITS}


def _matched(images: Images, partners: Images, size: int, config: Config, split: str) -> Images:
    if not size:
        return images.pick([])
    if config.chosen_by is None:
        images = images.pick(np.arange(min(size, len(images.pixels))))
    generator = np.random.default_rng([config.seed, SPLITS.index(split)])
    order = np.resize(generator.permutation(len(partners.pixels)), len(images.pixels))
    given = _given(images, partners, order, config.given)
    if len(order) <= size:
        return given
    seen = [PNG] if config.chosen_by == "png" else slice(None)
    of_images, wanted = (statistics(pixels)[:, seen] for pixels in (given.pixels, partners.pixels[order[:size]]))
    return given.pick(_nearest(of_images, wanted))


def _given(images: Images, partners: Images, order: np.ndarray, what: str | None) -> Images:
    if what is None:
        return images
    give = with_moments if what == "moments" else with_spectrum
    origins = [
        f"{own}{PARTNER}{partners.origins[place]}" for own, place in zip(images.origins, order.tolist(), strict=True)
    ]
    return replace(images, pixels=give(images.pixels, partners.pixels[order]), origins=origins)


def _nearest(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(M, K), (N, K) with N ≤ M → (N,) places: those that, one for each wanted, are nearest to them in all."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    scale = wanted.std(axis=0)
    scale[scale == 0] = 1
    chosen: np.ndarray = linear_sum_assignment(cdist(wanted / scale, numbers / scale, "sqeuclidean"))[1]
    return chosen


def with_moments(images: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(N, C, H, W) uint8 of each: the images with the mean and deviation of each channel of their partners."""
    mean, deviation = (partners.mean(axis=(2, 3), keepdims=True), partners.std(axis=(2, 3), keepdims=True))

    def give(x: np.ndarray) -> np.ndarray:
        own = x.std(axis=(2, 3), keepdims=True)
        gain = np.divide(deviation, own, out=np.zeros_like(own), where=own > 0)
        return mean + gain * (x - x.mean(axis=(2, 3), keepdims=True))

    return _until_it_fits(images, give)


def with_spectrum(images: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(N, C, H, W) uint8 of each: the images with the mean and radial power spectrum of their partners' channels.

    The spectrum is the mean of |F|² over rings of frequencies of one rounded distance from 0, F the discrete Fourier
    transform; the deviation follows from it.
    """
    rings = _rings(*images.shape[2:])
    wanted = _radial_power(np.fft.fft2(partners), rings)
    means = partners.mean(axis=(2, 3), keepdims=True)

    def give(x: np.ndarray) -> np.ndarray:
        transformed = np.fft.fft2(x - x.mean(axis=(2, 3), keepdims=True))
        own = _radial_power(transformed, rings)
        gain = np.sqrt(np.divide(wanted, own, out=np.zeros_like(own), where=own > 1e-9))
        return means + np.fft.ifft2(transformed * gain[..., rings]).real

    return _until_it_fits(images, give)


def _until_it_fits(images: np.ndarray, give: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What is given again after each clipping, at last rounded."""
    x = images.astype(np.float64)
    for _ in range(ROUNDS):
        x = np.clip(give(x), 0, 255)
    return np.rint(x).astype(np.uint8)


def _rings(height: int, width: int) -> np.ndarray:
    """(H, W) int64, the rounded distance of each frequency from 0, in cycles an image's side."""
    rows, columns = np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width)
    return np.rint(np.hypot(rows[:, None], columns)).astype(np.int64)


def _radial_power(transformed: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """(N, C, H, W) complex → (N, C, R), the mean of |F|² over each ring."""
    members = np.eye(rings.max() + 1)[rings.ravel()]  # (H·W, R)
    power = np.abs(transformed.reshape(*transformed.shape[:2], -1)) ** 2
    mean: np.ndarray = power @ (members / members.sum(axis=0))
    return mean
