"""The noise given to a model follows from samples or places and keys, independent of that of dequantisation."""

import numpy as np
import torch

from immature_ood.dequantisation import fixed_noise, training_noise
from immature_ood.noise import fixed_normal, fresh_normal, training_normal

SHAPE = (3, 2)


def samples(number=500):
    return np.random.default_rng(0).integers(0, 256, (number, 1, 2, 3), dtype=np.uint8)


def test_fixed_noise_is_that_of_the_sample_and_the_data_set():
    whole = fixed_normal(samples(), "digits", SHAPE)
    assert (whole.shape, whole.dtype) == ((500, *SHAPE), torch.float32)
    assert torch.equal(fixed_normal(samples()[7:9], "digits", SHAPE), whole[7:9])
    assert (fixed_normal(samples(), "glyphs", SHAPE) != whole).flatten(1).any(dim=1).all()
    assert len({each.numpy().tobytes() for each in whole}) == 500


def test_fresh_noise_is_that_of_the_place_and_the_key():
    whole = fresh_normal(range(500), SHAPE, "digits", 1)
    assert torch.equal(fresh_normal([7, 3], SHAPE, "digits", 1), whole[[7, 3]])
    assert (fresh_normal(range(500), SHAPE, "digits", 2) != whole).flatten(1).any(dim=1).all()


def test_training_noise_is_that_of_the_key():
    assert torch.equal(training_normal((4, *SHAPE), 0, 1), training_normal((4, *SHAPE), 0, 1))
    assert not torch.equal(training_normal((4, *SHAPE), 0, 1), training_normal((4, *SHAPE), 0, 2))


def test_noise_is_standard_normal_and_independent_of_that_of_dequantisation():
    """Correlations of independent numbers are below 4 / √n, but for one time in 16,000."""
    stored = samples()
    pairs = [
        (fixed_normal(stored, "digits", stored.shape[1:]), fixed_noise(stored, "digits")),
        (training_normal(stored.shape, 0, 1), training_noise(stored.shape, 0, 1)),
    ]
    for normal, uniform in pairs:
        n = normal.numel()
        assert abs(normal.mean()) < 4 / n**0.5
        assert abs(normal.var() - 1) < 4 * (2 / n) ** 0.5
        assert abs(np.corrcoef(normal.flatten(), uniform.flatten())[0, 1]) < 4 / n**0.5


def test_of_no_samples_there_is_none():
    assert fixed_normal(samples(0), "digits", SHAPE).shape == (0, *SHAPE)
