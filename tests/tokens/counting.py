"""A data source of tokens in one file: each token is mostly the one before, and a step."""

import numpy as np

from immature_ood.config import DatasetConfig, Positive
from immature_ood.datasets import Images, Pool, deal

PACKAGES = ()
KINDS = ("tokens",)


class Config(DatasetConfig):
    """Counting by a step."""

    step: Positive = 1
    """A token is so much more than the one before, four times of five, and any other time at random."""


def load(config, data, data_dir):
    """Twice as many sequences as are asked for."""
    generator, number = np.random.default_rng(config.step), 2 * (config.train + config.fit + config.test)
    tokens = generator.integers(0, data.vocabulary, (number, data.length))
    for place in range(1, data.length):
        counted = (tokens[:, place - 1] + config.step) % data.vocabulary
        tokens[:, place] = np.where(generator.random(number) < 0.8, counted, tokens[:, place])
    stored = tokens.astype(data.storage)
    every = Images(stored, [f"counting#{row}" for row in range(number)], ["numbers"] * number)
    return deal(Pool(number, every.pick), config)
