"""Noise makes 8-bit images continuous and loses nothing of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from immature_ood.dequantisation import (
    NOISE_LEVELS,
    derive_seed,
    fixed_noise,
    fresh_noise,
    training_noise,
)
from immature_ood.kinds.images.tensors import dequantise


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(noise=st.integers(0, NOISE_LEVELS - 1))
def test_pixels_come_back_exactly_and_x_is_in_range(noise):
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x = dequantise(pixels, torch.full(pixels.shape, noise, dtype=torch.int32))
    assert x.dtype == torch.float32
    assert x.min() >= -0.5
    assert x.max() < 0.5
    assert torch.equal(torch.floor((x.double() + 0.5) * 256).to(torch.uint8), pixels)


def some_pixels(number=6):
    return np.random.default_rng(0).integers(0, 256, (number, 1, 5, 5), dtype=np.uint8)


def test_the_noise_of_an_image_depends_on_its_data_set_and_itself_not_on_its_place():
    pixels = some_pixels()
    noise = fixed_noise(pixels, "digits")
    assert noise.shape == pixels.shape
    assert noise.dtype == torch.int32
    assert torch.equal(fixed_noise(pixels[::-1].copy(), "digits"), noise.flip(0))
    assert torch.equal(fixed_noise(pixels[2:4], "digits"), noise[2:4])
    assert not torch.equal(fixed_noise(pixels, "photos"), noise)
    other = pixels.copy()
    other[0, 0, 0, 0] ^= 1
    differs = (fixed_noise(other, "digits") != noise).flatten(1).any(dim=1)
    assert differs.tolist() == [True] + [False] * 5


def test_fresh_noise_depends_on_its_key_and_the_place_of_an_image():
    shape = (6, 1, 5, 5)
    noise = fresh_noise(shape, "digits", "test", 3)
    assert noise.shape == shape
    assert torch.equal(fresh_noise(shape, "digits", "test", 3), noise)
    assert torch.equal(fresh_noise((2, 1, 5, 5), "digits", "test", 3, first=4), noise[4:])
    assert len({image.numpy().tobytes() for image in noise}) == 6
    keys = [("digits", "test", 3), ("photos", "test", 3), ("digits", "fit", 3), ("digits", "test", 4)]
    assert len({fresh_noise(shape, *key).numpy().tobytes() for key in keys}) == len(keys)


def test_without_noise_a_pixel_is_the_lower_end_of_its_range():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x = dequantise(pixels, None)
    assert torch.equal(x, pixels.float() / 256 - 0.5)


def test_training_noise_depends_on_its_key_alone():
    shape = torch.Size((4, 1, 3, 3))
    assert torch.equal(training_noise(shape, 0, 1, 2), training_noise(shape, 0, 1, 2))
    keys = [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]
    assert len({training_noise(shape, *key).numpy().tobytes() for key in keys}) == len(keys)


@pytest.mark.parametrize("kind", ["fixed", "fresh", "training"])
def test_noise_is_uniform(kind):
    shape = torch.Size((200, 1, 10, 10))
    noise = {
        "fixed": lambda: fixed_noise(some(shape), "digits"),
        "fresh": lambda: fresh_noise(shape, "digits"),
        "training": lambda: training_noise(shape, 0),
    }[kind]()
    unit = noise.double() / NOISE_LEVELS
    assert abs(unit.mean() - 1 / 2) < 4 * (1 / 12 / unit.numel()) ** 0.5
    assert abs(unit.var() - 1 / 12) < 0.002
    assert int(noise.min()) >= 0
    assert int(noise.max()) < NOISE_LEVELS


def some(shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def test_seeds_are_independent_and_fit_torch():
    seeds = {derive_seed(*key) for key in [("a",), ("b",), ("a", 0), ("a", 1), ("a", "0"), (("a", 0),)]}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
