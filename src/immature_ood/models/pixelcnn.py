"""A gated PixelCNN with the pixels' distribution of PixelCNN++ (Salimans et al. 2017); the network is in _pixelcnn.py.

A size for a GPU, about that of PixelCNN++ on CIFAR-10: 30 blocks, 160 channels, 10 logistics.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from immature_ood.config import ModelConfig, Positive

if TYPE_CHECKING:
    import torch

    from immature_ood.models._pixelcnn import PixelCNN

__all__ = ["Config", "make"]


class Config(ModelConfig):
    """The size of a PixelCNN."""

    architecture: str = "pixelcnn"
    blocks: Positive = 2
    """Each of the two stacks has so many gated residual blocks; a pixel sees 2·blocks + 3 rows above it."""
    hidden_channels: Positive = 16
    """Each stack has so many channels, 160 in PixelCNN++."""
    logistics: Positive = 5
    """A pixel's distribution is a mixture of so many discretised logistics, 10 in PixelCNN++."""

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: grey, and oblong colour."""
        yield cls(blocks=2, hidden_channels=4, logistics=2), (1, 4, 4)
        yield cls(blocks=1, hidden_channels=5, logistics=3), (3, 3, 2)


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "PixelCNN":
    """A PixelCNN for images of shape (C, H, W)."""
    from immature_ood.models._pixelcnn import PixelCNN

    return PixelCNN(config, shape, generator)
