"""A variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114) of discrete pixels; the network is in _vae.py.

The small size has 0.4 million parameters, and takes some 7 s an epoch of 3,000 images of 28×28 on a core. A big one for
a GPU is that of the code released with likelihood regret (Xiao et al. 2020, arXiv 2003.02977), for 32×32: latents 100,
channels 32, levels 3, importance_samples 1000; with channels 64 or 128 for colour.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from immature_ood.config import ModelConfig, Positive, Real

if TYPE_CHECKING:
    import torch

    from immature_ood.models._vae import Vae

__all__ = ["Config", "make"]


class Config(ModelConfig):
    """The size of a variational autoencoder."""

    architecture: str = "vae"
    latents: Positive = 32
    """The latent has so many numbers."""
    channels: Positive = 32
    """The encoder's first convolution has so many channels, each that follows twice as many; the decoder mirrors it."""
    levels: Positive = 2
    """There are so many convolutions, each of which halves the side."""
    importance_samples: Positive = 16
    """So many samples of the posterior make the estimate of log p of the objective iwae; and measure the regret."""
    regret_steps: Positive = 100
    """The likelihood regret is had by so many steps of Adam on the posterior of each image."""
    regret_rate: Annotated[Real, Field(gt=0)] = 0.1
    """This is the learning rate of the first of these steps; it falls linearly to zero."""

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return {"elbo": ("elbo", "kl", "latent"), "iwae": ("log_prob",), "regret": ("likelihood_regret",)}

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: grey, oblong colour with odd sides, and a single level."""
        yield cls(latents=3, channels=4, importance_samples=3, regret_steps=4), (1, 8, 8)
        yield cls(latents=2, channels=3, importance_samples=2, regret_steps=2), (3, 7, 5)
        yield cls(latents=1, channels=2, levels=1, importance_samples=1, regret_steps=1), (1, 3, 2)

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """A line if the sides of (C, H, W) are too short to be halved so often."""
        side = min(shape[1:])
        if side >> self.levels == 0:
            yield f"levels: {self.levels} levels halve the side {self.levels} times, but image.side is {side}"


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "Vae":
    """A variational autoencoder for images of shape (C, H, W)."""
    from immature_ood.models._vae import Vae

    return Vae(config, shape, generator)
