"""A model of one's own in one file: each pixel an independent logistic."""

import math

from immature_ood.config import ModelConfig, Real


class Config(ModelConfig):
    """Independent pixels."""

    scale: Real = 0.2
    """The scale of every logistic at the start."""


def make(config, shape, generator):
    """The model, of which torch is imported here alone, since a study is planned without."""
    import torch
    from torch import nn
    from torch.nn.functional import logsigmoid

    from immature_ood.density import DensityModel

    class Pixelwise(DensityModel):
        """log p(x) = Σ log logistic(x; mean, exp(log_scale)) − D·log 256."""

        def __init__(self):
            super().__init__(shape)
            self.mean = nn.Parameter(0.1 * torch.randn(shape, generator=generator))
            self.log_scale = nn.Parameter(torch.full(shape, math.log(config.scale)))

        def log_prob(self, x):
            z = (x - self.mean) * torch.exp(-self.log_scale)
            density = logsigmoid(z) + logsigmoid(-z) - self.log_scale
            return density.flatten(1).sum(dim=1) - self.dimensions * math.log(256)

        def sample(self, number, generator, temperature=1.0):
            uniform = torch.rand((number, *self.shape), generator=generator).clamp(1e-6, 1 - 1e-6)
            return self.mean + temperature * torch.exp(self.log_scale) * torch.logit(uniform)

    return Pixelwise()
