"""Augmented images are shifted and flipped images, which follow from the key alone."""

import numpy as np
import pytest
import torch

from immature_ood.kinds.images import ImageAugmentationConfig as AugmentationConfig
from immature_ood.kinds.images.tensors import augment

SHAPE = (3, 10, 20)


def images(number=200):
    pixels = np.random.default_rng(0).integers(1, 256, (number, *SHAPE), dtype=np.uint8)
    return torch.from_numpy(pixels)


def moved(image, down, right, flipped):
    """The image as augment should change it, pixel by pixel."""
    _, height, width = SHAPE
    result = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            to = row + down, column + right
            if 0 <= to[0] < height and 0 <= to[1] < width:
                result[:, to[0], to[1]] = image[:, row, column]
    return result.flip(2) if flipped else result


def found(image, augmented, furthest=(1, 2)):
    """The one (down, right, flipped) that makes the augmented image."""
    (change,) = [
        (down, right, flipped)
        for down in range(-furthest[0], furthest[0] + 1)
        for right in range(-furthest[1], furthest[1] + 1)
        for flipped in (False, True)
        if torch.equal(moved(image, down, right, flipped), augmented)
    ]
    return change


def test_every_image_is_shifted_and_flipped_by_its_own_draws():
    x = images(60)
    augmented = augment(x, AugmentationConfig(translation=0.1, flip=True), 0)
    assert (augmented.dtype, augmented.shape) == (torch.uint8, x.shape)
    changes = [found(*pair) for pair in zip(x, augmented, strict=True)]
    downs, rights, flips = (set(values) for values in zip(*changes, strict=True))
    assert (downs, rights, flips) == ({-1, 0, 1}, {-2, -1, 0, 1, 2}, {False, True})


@pytest.mark.parametrize(
    ("config", "distinct"),
    [
        (AugmentationConfig(), 1),
        (AugmentationConfig(flip=True), 2),
        (AugmentationConfig(translation=0.1), 15),
        (AugmentationConfig(translation=0.1, flip=True), 30),
    ],
)
def test_all_changes_are_equally_frequent(config, distinct):
    number = 3000
    x = images(1).expand(number, -1, -1, -1)
    _, counts = torch.unique(augment(x, config, 0).flatten(1), dim=0, return_counts=True)
    assert len(counts) == distinct
    assert (counts - number / distinct).abs().max() <= 5 * (number / distinct) ** 0.5


def test_changes_follow_from_the_key_and_leave_the_images_alone():
    x, config = images(), AugmentationConfig(translation=0.1, flip=True)
    before = x.clone()
    state = torch.random.get_rng_state()
    assert torch.equal(augment(x, config, 0, 1, 2), augment(x, config, 0, 1, 2))
    keys = [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]
    assert len({augment(x, config, *key).numpy().tobytes() for key in keys}) == len(keys)
    assert torch.equal(x, before)
    assert torch.equal(torch.random.get_rng_state(), state)
