"""Dials: the same images, changed in one thing, by an amount from 0, nothing, to 1, the most.

A pair of data sets differs in many things at once; an image and the same image turned by a dial differ in one. Each
dial maps uint8 images (N, C, H, W) and an amount to as many of the same shape and dtype; at 0 it gives them byte for
byte. Where it draws something, it draws from the image's own hash and the dial's name: what becomes of an image depends
neither on its place nor on the images beside it, and at two amounts it is the same draw, turned less or more. Rounding
to whole numbers from 0 to 255, and clipping where it says so, come on top of what a dial keeps.

NumPy, SciPy and Pillow only. Gradual changes of images of this kind, for robustness: Hendrycks and Dietterich,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR 2019). Phases drawn at random:
Galerne, Gousseau and Morel, "Random Phase Textures: Theory and Synthesis" (IEEE TIP 2011).
"""

import hashlib
import io
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from immature_ood.registry import did_you_mean

__all__ = ["DIALS", "Dial", "turn"]

Dial = Callable[[np.ndarray, float], np.ndarray]

TOP = 255
BITS = 8
# What an amount of 1 is:
BLUR_MOST = 1 / 8  # the Gaussian's deviation, of a side
BRIGHTER_MOST = 128
NOISE_MOST = 64  # the noise's deviation
TURN_MOST = 90  # degrees
RESIZE_MOST = 8  # times fewer pixels a side


def turn(images: np.ndarray, dial: str, amount: float) -> np.ndarray:
    """The images (N, C, H, W), uint8, changed by the dial of a name: a new array of the same shape and dtype.

    Raises ValueError, beginning with the key of a data set's section that is to be mended, if there is no such dial or
    the amount is not in [0, 1], and if the images are none.

    >>> turn(np.full((1, 1, 2, 2), 10, np.uint8), "inversion", 1).ravel()
    array([245, 245, 245, 245], dtype=uint8)
    """
    if dial not in DIALS:
        raise ValueError(f"dial: unknown name {dial!r}{did_you_mean(dial, [*DIALS])}")
    if not 0 <= amount <= 1:
        raise ValueError(f"amount: must be from 0, nothing, to 1, the most, not {amount}")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images must be uint8 (N, C, H, W), not {images.dtype} of shape {images.shape}")
    return DIALS[dial](images, amount) if len(images) else images.copy()


def blur(images: np.ndarray, amount: float) -> np.ndarray:
    """By a Gaussian of an eighth of a side at most, mirrored at the borders: keeps each channel's mean.

    It multiplies the cosine of frequency w by exp(-(s w)²/2): nothing grows, and more is less of each.
    """
    height, width = images.shape[2:]
    rows, columns = (np.exp(-((math.pi * BLUR_MOST * amount * np.arange(side)) ** 2) / 2) for side in (height, width))
    cosines = fft.dctn(images.astype(float), axes=(2, 3), norm="ortho") * rows[:, None] * columns
    return _whole(fft.idctn(cosines, axes=(2, 3), norm="ortho"))


def contrast(images: np.ndarray, amount: float) -> np.ndarray:
    """Towards the mean of each channel of the image, which it keeps; at 1 nothing else is left."""
    means = images.mean((2, 3), keepdims=True)
    return _whole(means + (1 - amount) * (images - means))


def brightness(images: np.ndarray, amount: float) -> np.ndarray:
    """Lighter by up to 128: keeps the differences between pixels, but of those that are clipped at white."""
    return _whole(images.astype(float) + BRIGHTER_MOST * amount)


def grey_levels(images: np.ndarray, amount: float) -> np.ndarray:
    """From 256 levels of each channel to 2, evenly spaced from 0 to 255, by powers: 8 bits to 1.

    Keeps the order of pixels, but of those that become equal, and each pixel within half a step.
    """
    steps = round(2 ** (BITS - (BITS - 1) * amount)) - 1
    return _whole(np.round(images / TOP * steps) / steps * TOP)


def patch_shuffle(images: np.ndarray, amount: float) -> np.ndarray:
    """Square patches in a random order, smaller from halves of a side to single pixels: keeps all pixels' colours.

    Keeps also what is inside a patch. The amount goes through the common divisors of height and width, smaller than the
    image, in equal steps, the largest from just above 0: of 28 pixels 14, 7, 4, 2 and 1 up to 0.2, 0.4, 0.6, 0.8 and 1.
    """
    count, channels, height, width = images.shape
    sides = [side for side in range(max(height, width) - 1, 0, -1) if math.gcd(height, width) % side == 0]
    step = math.ceil(round(amount * len(sides), 9))
    if not step:
        return images.copy()
    side = sides[step - 1]
    rows, columns = height // side, width // side
    patches = images.reshape(count, channels, rows, side, columns, side).transpose(0, 2, 4, 1, 3, 5)
    patches = patches.reshape(count, rows * columns, channels, side, side)
    orders = [generator.permutation(rows * columns) for generator in _generators(images, "patch_shuffle")]
    shuffled = np.stack([image[order] for image, order in zip(patches, orders, strict=True)])
    shuffled = shuffled.reshape(count, rows, columns, channels, side, side).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(shuffled.reshape(images.shape))


def phase(images: np.ndarray, amount: float) -> np.ndarray:
    """Random phases added to those of the Fourier transform, at 1 whole ones: texture is left, shapes are lost.

    Keeps the amplitude of each frequency, the mean, and, as the phases are the same for all channels, what relation
    these have at a frequency; but for clipping, which images near black or white have much of. The transform is
    periodic: an edge between opposite borders belongs to the texture. Frequencies that are their own conjugates (the
    mean, and alternating pixels of even sides) keep their phases.
    """
    noise = np.stack([generator.standard_normal(images.shape[2:]) for generator in _generators(images, "phase")])
    spectrum = fft.fft2(noise)
    phases = np.where(np.abs(spectrum.imag) > 1e-9 * np.abs(spectrum), np.angle(spectrum), 0)
    return _whole(fft.ifft2(fft.fft2(images.astype(float)) * np.exp(1j * amount * phases)[:, None]).real)


def noise(images: np.ndarray, amount: float) -> np.ndarray:
    """Gaussian noise, independent by pixel and channel, of a deviation of up to 64, clipped."""
    drawn = np.stack([generator.standard_normal(images.shape[1:]) for generator in _generators(images, "noise")])
    return _whole(images + NOISE_MOST * amount * drawn)


def occlusion(images: np.ndarray, amount: float) -> np.ndarray:
    """A rectangle of the amount's share of the area, at a random place, in the mean colour: keeps all around it."""
    height, width = (round(side * math.sqrt(amount)) for side in images.shape[2:])
    changed = images.copy()
    for image, generator in zip(changed, _generators(images, "occlusion"), strict=True):
        top, left = (
            int(at) for at in np.floor(generator.random(2) * (np.array(image.shape[1:]) - (height, width) + 1))
        )
        image[:, top : top + height, left : left + width] = _whole(image.mean((1, 2), keepdims=True))
    return changed


def rotation(images: np.ndarray, amount: float) -> np.ndarray:
    """Counter-clockwise about the centre by up to 90 degrees, by interpolation along lines, corners mirrored.

    At 1 a square image keeps all its pixels, in other places; in between interpolation also blurs, at 45 degrees most.
    """
    turned = ndimage.rotate(
        images.astype(float), TURN_MOST * amount, axes=(3, 2), reshape=False, order=1, mode="reflect"
    )
    return _whole(turned)


def inversion(images: np.ndarray, amount: float) -> np.ndarray:
    """Towards the negative, 255 - x, which it is at 1, where it keeps all but the differences' sign and undoes itself.

    A half is all grey: below, it is contrast that is lost, about mid-grey; above, a negative of contrast 2 amount - 1.
    So 1 is the amount that says something of inversion alone.
    """
    return _whole(images + amount * (TOP - 2.0 * images))


def jpeg(images: np.ndarray, amount: float) -> np.ndarray:
    """Stored as JPEG, of quality 100 just above 0 to 1 at 1, colours as finely as grey: keeps coarse structure.

    Raises ValueError if the images have not 1 or 3 channels. Bytes may differ between versions of libjpeg.
    """
    if amount == 0:
        return images.copy()
    quality = round(100 - 99 * amount)
    return np.ascontiguousarray([_stored(image, quality) for image in images])


def _stored(image: np.ndarray, quality: int) -> np.ndarray:
    """One image (C, H, W), written as JPEG in memory and read."""
    if len(image) not in (1, 3):
        raise ValueError(f"dial: jpeg stores 1 or 3 channels, not {len(image)}; choose another dial")
    file = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.save(file, "JPEG", quality=quality, subsampling=0)
    with Image.open(file, formats=("JPEG",)) as stored:
        return np.atleast_3d(np.asarray(stored)).transpose(2, 0, 1)


def resize(images: np.ndarray, amount: float) -> np.ndarray:
    """To up to 8 times fewer pixels a side (8 to the amount) and back, bilinear: keeps what the few pixels hold."""
    height, width = images.shape[2:]
    small = [max(1, round(side / RESIZE_MOST**amount)) for side in (width, height)]
    planes = [Image.fromarray(plane) for plane in images.reshape(-1, height, width)]
    bilinear = Image.Resampling.BILINEAR
    back = [np.asarray(plane.resize(small, bilinear).resize((width, height), bilinear)) for plane in planes]
    return np.array(back, np.uint8).reshape(images.shape)


def _generators(images: np.ndarray, dial: str) -> Iterator[np.random.Generator]:
    """One generator an image, seeded by its own bytes and the dial's name."""
    for image in images:
        digest = hashlib.sha256(f"dial\0{dial}\0".encode() + image.tobytes()).digest()
        yield np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16])))


def _whole(pixels: np.ndarray) -> np.ndarray:
    """Rounded, and clipped to what a byte holds."""
    rounded: np.ndarray = np.clip(np.rint(pixels), 0, TOP).astype(np.uint8)
    return rounded


DIALS: Mapping[str, Dial] = {
    dial.__name__: dial
    for dial in (
        blur,
        contrast,
        brightness,
        grey_levels,
        patch_shuffle,
        phase,
        noise,
        occlusion,
        rotation,
        inversion,
        jpeg,
        resize,
    )
}
