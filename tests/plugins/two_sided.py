"""A model that is scored by two objectives and knows its likelihood by a third: a Gaussian of each pixel, and noise."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from immature_ood.config import ModelConfig
from immature_ood.density import DensityModel, Evaluated, Objective


class Config(ModelConfig):
    """Nothing to choose."""

    architecture: str = "tests/plugins/two_sided.py"

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return {"near": ("error",), "far": ("error",), "bound": ("log_prob", "spread")}

    def scored_by(self) -> tuple[str, ...]:
        """See ModelConfig.scored_by."""
        return "near", "far"

    @classmethod
    def examples(cls) -> Iterator[tuple["Config", tuple[int, ...]]]:
        """See ModelConfig.examples."""
        yield cls(), (1, 3, 3)


def make(config, shape, generator):
    """The model."""
    return TwoSided(shape, generator)


class TwoSided(DensityModel):
    """The error of a linear guess at x from x with little or much noise; the bound is of two draws."""

    trained_by = "bound"
    scored_by = ("near", "far")

    def __init__(self, shape, generator):
        super().__init__(shape)
        self.guess = nn.Linear(self.dimensions, self.dimensions)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2, generator=generator)

    def objectives(self):
        """Two of one draw of noise, and one of two."""
        return {
            "near": Objective("near", lambda model, x, noise: model.error(x, noise, 0.1), noise_shape=self.shape),
            "far": Objective("far", lambda model, x, noise: model.error(x, noise, 1.0), noise_shape=self.shape),
            "bound": Objective("bound", TwoSided.bound, noise_shape=(2, *self.shape)),
        }

    def error(self, x: Tensor, noise: Tensor, scale: float) -> Evaluated:
        """Minus the squared error, (N,)."""
        guess = self.guess((x + scale * noise).flatten(1))
        error = (guess - x.flatten(1)).square().sum(dim=1)
        return Evaluated(-error, {"error": error})

    def bound(self, x: Tensor, noise: Tensor) -> Evaluated:
        """The mean over both draws, and how far they are apart."""
        errors = torch.stack([self.error(x, noise[:, draw], 1.0).value for draw in range(2)], dim=1)
        log_prob = errors.mean(dim=1) - self.dimensions * math.log(256)
        return Evaluated(log_prob, {"log_prob": log_prob, "spread": errors})

    def sample(self, number, generator, temperature=1.0):
        """Guesses at nothing."""
        noise = temperature * torch.randn(number, self.dimensions, generator=generator)
        return self.guess(noise.to(self.guess.weight)).unflatten(1, self.shape).detach()
