"""Glow (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039); the network is in _glow.py."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from immature_ood.config import OF_FLOWS, ModelConfig, Positive

if TYPE_CHECKING:
    import torch

    from immature_ood.models._glow import Glow

__all__ = ["Config", "make"]


class Config(ModelConfig):
    """The size of a Glow."""

    architecture: str = "glow"
    blocks: Positive = 2
    """There are L blocks, each of which halves the side."""
    steps: Positive = 4
    """Each block has K flow steps."""
    hidden_channels: Positive = 64
    """The coupling networks have so many channels, 512 in the paper's colour model."""

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return dict.fromkeys(("log_prob", "sum_z"), ("log_prob", "latent"))

    def derived(self) -> tuple[str, ...]:
        """See ModelConfig.derived."""
        return OF_FLOWS

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: grey, colour, and one block of oblong images."""
        yield cls(blocks=2, steps=2, hidden_channels=6), (1, 8, 8)
        yield cls(blocks=2, steps=1, hidden_channels=5), (3, 4, 4)
        yield cls(blocks=1, steps=2, hidden_channels=4), (1, 6, 2)

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """A line if the sides of (C, H, W) cannot be halved so often."""
        side = shape[-1]
        if side % 2**self.blocks:
            yield f"blocks: {self.blocks} blocks halve the side {self.blocks} times, but image.side is {side}"


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "Glow":
    """A Glow for images of shape (C, H, W)."""
    from immature_ood.models._glow import Glow

    return Glow(config, shape, generator)
