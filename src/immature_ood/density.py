"""What every density model promises."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["DensityModel", "Network", "bits_per_dim"]


class Network(nn.Module):
    """A network within a model, which can compute in a dtype of its own, by default that of its input."""

    network_dtype: torch.dtype | None = None


class DensityModel(nn.Module, ABC):
    """A density p_θ over 8-bit images of one shape.

    Promises: `log_prob` has no hidden randomness, never writes to the caller's tensors, treats images one by one
    (no coupling inside a batch) and can be used under torch.func.vmap and grad.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    @property
    def dimensions(self) -> int:
        """D = C·H·W."""
        return math.prod(self.shape)

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the 8-bit images, in nats: (N, C, H, W) dequantised in [−0.5, 0.5) → (N,).

        It includes −D·log 256, the change of variables from 0…255 to a range of length 1.
        """

    def log_prob_and_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x) (N,), and the final latent z (N, ...) if the model has one; else raises ValueError."""
        raise ValueError(f"{type(self).__name__} has no latent; take features.objective: log_prob")

    def objective(self, x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """What gradients are taken of, and log p(x), (N,) each.

        name: "log_prob", or "sum_z", the sum of the final latent, which the code released with arXiv 2502.00820 takes.
        """
        if name == "log_prob":
            log_prob = self.log_prob(x)
            return log_prob, log_prob
        log_prob, z = self.log_prob_and_latent(x)
        return z.flatten(1).sum(dim=1), log_prob

    @contextmanager
    def networks_in(self, dtype: torch.dtype) -> Iterator[None]:
        """Inside, the networks within the model compute in dtype; flows, log-determinants and priors stay as they are.

        Raises ValueError if there is none.
        """
        networks = [module for module in self.modules() if isinstance(module, Network)]
        if not networks:
            raise ValueError(f"{type(self).__name__} has no networks apart; take training.precision: fp32")
        before = [network.network_dtype for network in networks]
        for network in networks:
            network.network_dtype = dtype
        try:
            yield
        finally:
            for network, own in zip(networks, before, strict=True):
                network.network_dtype = own

    @abstractmethod
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draws images: (number, C, H, W), in [−0.5, 0.5) but for the model's own overshoot."""

    def initialise(self, x: Tensor) -> None:
        """Sets what depends on data before the first step, from a dequantised batch x (N, C, H, W)."""

    def layers(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, parameter) of every layer in a fixed order; a layer is one parameter tensor."""
        return self.named_parameters()


def bits_per_dim(log_prob: Tensor, dimensions: int) -> Tensor:
    """Nats per image → bits per dimension, of any shape."""
    return -log_prob / (dimensions * math.log(2))
