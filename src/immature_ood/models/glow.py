"""Glow (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039); the network is in _glow.py."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from immature_ood.config import ModelConfig, Positive

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

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """A line if the sides of (C, H, W) cannot be halved so often."""
        side = shape[-1]
        if side % 2**self.blocks:
            yield f"blocks: {self.blocks} blocks halve the side {self.blocks} times, but image.side is {side}"


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "Glow":
    """A Glow for images of shape (C, H, W)."""
    from immature_ood.models._glow import Glow

    return Glow(config, shape, generator)
