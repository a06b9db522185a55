"""What every density model promises, and what can be differentiated of it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from immature_ood.registry import did_you_mean

__all__ = ["DensityModel", "Evaluated", "Flow", "Network", "Objective", "bits_per_dim"]


class Network(nn.Module):
    """A network within a model, which can compute in a dtype of its own, by default that of its input."""

    network_dtype: torch.dtype | None = None


class Evaluated(NamedTuple):
    """What an objective says of N samples.

    value: (N,), what gradients are taken of.
    statistics: by name, (N, ...) each; "log_prob" is log p(x) in nats, or what the model has for it, an estimate or a
        bound; "latent" the final latent.
    """

    value: Tensor
    statistics: Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """A function of samples, one by one, whose gradient by the weights may be taken, such as log p(x).

    function: (model, x (N, ...), noise (N, *noise_shape), None if it needs none) → Evaluated.
    noise_shape: of the standard normal float32 numbers that one sample needs; None: it needs none.
    log_det: ∂ value / ∂ log-determinant of a flow's layers, whose closed-form gradients have a term for it.
    """

    name: str
    function: Callable[[Any, Tensor, Tensor | None], Evaluated]
    log_det: float = 1.0
    noise_shape: tuple[int, ...] | None = None

    def __call__(self, model: "DensityModel", x: Tensor, noise: Tensor | None = None) -> Evaluated:
        """Raises ValueError if noise is needed and none is given, or the other way round."""
        shape = None if noise is None else tuple(noise.shape[1:])
        if shape != self.noise_shape:
            who = f"{self.name} of {type(model).__name__}"
            raise ValueError(f"{who} needs noise of the shape {self.noise_shape}, got {shape}")
        evaluated: Evaluated = self.function(model, x, noise)
        return evaluated


class DensityModel(nn.Module):
    """A density p_θ over samples of one shape, such as 8-bit images (C, H, W).

    Promises: its objectives have no hidden randomness, never write to the caller's tensors, treat samples one by one
    (no coupling inside a batch) and can be used under torch.func.vmap and grad. One that needs noise, such as a sample
    of a posterior, is given it.

    trained_by: the objective whose mean training raises.
    dead_layers: layers whose gradient of that objective is zero for every sample, whatever the weights.
    """

    trained_by: str = "log_prob"
    dead_layers: frozenset[str] = frozenset()

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    @property
    def dimensions(self) -> int:
        """D, the numbers of a sample, of an image C·H·W."""
        return math.prod(self.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the 8-bit images, in nats: (N, C, H, W) dequantised in [−0.5, 0.5) → (N,).

        It includes −D·log 256, the change of variables from 0…255 to a range of length 1. Raises NotImplementedError
        if the model knows none, as where it has a bound alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no log_prob, only {', '.join(self.objectives())}")

    def objectives(self) -> Mapping[str, Objective]:
        """By name, what can be differentiated, as the model's Config says it; here log_prob alone."""
        return {"log_prob": Objective("log_prob", _log_prob)}

    @property
    def scored_by(self) -> tuple[str, ...]:
        """The objectives whose gradients are taken where nobody names any, as its Config says it; here the first."""
        return (next(iter(self.objectives())),)

    def objective(self, name: str) -> Objective:
        """The objective of a name; raises ValueError naming the nearest that there is."""
        known = self.objectives()
        if name not in known:
            raise ValueError(f"{type(self).__name__} has no objective {name!r}{did_you_mean(name, [*known])}")
        return known[name]

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

    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draws images: (number, C, H, W), in [−0.5, 0.5) but for the model's own overshoot.

        At temperature 0 they do not depend on the generator. Raises NotImplementedError if the model draws none.
        """
        raise NotImplementedError(f"{type(self).__name__} draws no samples")

    def example(self, number: int, generator: torch.Generator) -> Tensor:
        """Some x to try the model with, (number, *shape): uniform in [−0.5, 0.5), or, of tokens, some tokens."""
        return torch.rand(number, *self.shape, generator=generator) - 0.5

    def taken(self, x: Tensor) -> Tensor:
        """x where the weights are and of their type, but for whole numbers, such as tokens, which stay as they are."""
        weight = next(self.parameters())
        return x.to(weight if x.is_floating_point() else weight.device)

    def initialise(self, x: Tensor) -> None:
        """Sets what depends on data before the first step, from a dequantised batch x (N, C, H, W)."""

    def layers(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, parameter) of every layer in a fixed order; a layer is one parameter tensor."""
        return self.named_parameters()


class Flow(DensityModel, ABC):
    """A density with latents: an invertible map of the sample, whose density is known."""

    @abstractmethod
    def log_prob_and_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x) (N,), and the final latent z (N, ...)."""

    @abstractmethod
    def latents(self, x: Tensor) -> Tensor:
        """All latents of x, of the numbers that a sample has: (N, ...) → (N, D), the final latent last.

        They are standardised: independent of one another, as prior_log_prob has it, so that
        log p(x) = prior_log_prob(latents) + log |det ∂ latents / ∂ x| − D·log 256.
        """

    @abstractmethod
    def from_latents(self, latents: Tensor) -> Tensor:
        """The inverse of latents: (N, D) → (N, ...)."""

    @abstractmethod
    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """The log-density of latents in nats: (N, D) → (N,)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """See DensityModel.log_prob."""
        return self.log_prob_and_latent(x)[0]

    def objectives(self) -> Mapping[str, Objective]:
        """log_prob, and sum_z, the sum of the final latent, which the code of arXiv 2502.00820 differentiates."""
        return {
            "log_prob": Objective("log_prob", _log_prob_of_flow),
            "sum_z": Objective("sum_z", _sum_z, log_det=0.0),
        }


def _log_prob(model: DensityModel, x: Tensor, noise: Tensor | None) -> Evaluated:
    log_prob = model.log_prob(x)
    return Evaluated(log_prob, {"log_prob": log_prob})


def _log_prob_of_flow(model: Flow, x: Tensor, noise: Tensor | None) -> Evaluated:
    log_prob, z = model.log_prob_and_latent(x)
    return Evaluated(log_prob, {"log_prob": log_prob, "latent": z})


def _sum_z(model: Flow, x: Tensor, noise: Tensor | None) -> Evaluated:
    log_prob, z = model.log_prob_and_latent(x)
    return Evaluated(z.flatten(1).sum(dim=1), {"log_prob": log_prob, "latent": z})


def bits_per_dim(log_prob: Tensor, dimensions: int) -> Tensor:
    """Nats per image → bits per dimension, of any shape."""
    return -log_prob / (dimensions * math.log(2))
