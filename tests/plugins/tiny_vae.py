"""A model with noise of its own and without a known likelihood: a variational autoencoder of three linear layers."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from immature_ood.config import ModelConfig, Positive
from immature_ood.density import DensityModel, Evaluated, Objective


class Config(ModelConfig):
    """The size of a tiny variational autoencoder."""

    architecture: str = "tests/plugins/tiny_vae.py"
    latents: Positive = 3
    """Its latent has so many numbers."""

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return {"elbo": ("elbo", "latent")}

    @classmethod
    def examples(cls) -> Iterator[tuple["Config", tuple[int, ...]]]:
        """See ModelConfig.examples."""
        yield cls(), (1, 4, 4)
        yield cls(latents=2), (3, 2, 4)


def make(config, shape, generator):
    """A variational autoencoder of samples of any shape."""
    return TinyVae(config, shape, generator)


class TinyVae(DensityModel):
    """p(x | z) and q(z | x) are Gaussians of which linear maps give mean and log-deviation; p(z) is standard normal."""

    trained_by = "elbo"

    def __init__(self, config, shape, generator):
        super().__init__(shape)
        self.latents = config.latents
        self.encoder = nn.Linear(self.dimensions, 2 * config.latents)
        self.hidden = nn.Linear(config.latents, 5)
        self.decoder = nn.Linear(5, 2 * self.dimensions)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2, generator=generator)

    def objectives(self):
        """The evidence lower bound, with one sample of the posterior."""
        return {"elbo": Objective("elbo", TinyVae.elbo, noise_shape=(self.latents,))}

    def elbo(self, x: Tensor, noise: Tensor) -> Evaluated:
        """log p(x | z) + log p(z) − log q(z | x) in nats, with z = mean + deviation · noise; x (N, ...)."""
        x = x.flatten(1)
        mean, log_deviation = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(log_deviation) * noise
        drawn = gaussian(x, *self.decoder(torch.tanh(self.hidden(z))).chunk(2, dim=1))
        elbo = drawn + gaussian(z, 0 * z, 0 * z) - gaussian(z, mean, log_deviation) - self.dimensions * math.log(256)
        return Evaluated(elbo, {"elbo": elbo, "latent": mean})

    def sample(self, number, generator, temperature=1.0):
        """See DensityModel.sample."""
        z = temperature * torch.randn(number, self.latents, generator=generator).to(self.decoder.weight)
        with torch.no_grad():
            mean, log_deviation = self.decoder(torch.tanh(self.hidden(z))).chunk(2, dim=1)
        noise = temperature * torch.randn(mean.shape, generator=generator).to(mean)
        return (mean + torch.exp(log_deviation) * noise).unflatten(1, self.shape)


def gaussian(x: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Σ log N(x; mean, exp(log_deviation)²): (N, D) → (N,)."""
    standard = (x - mean) * torch.exp(-log_deviation)
    return (-0.5 * standard**2 - log_deviation - 0.5 * math.log(2 * math.pi)).sum(dim=1)
