"""Real NVP (Dinh et al. 2017, https://arxiv.org/abs/1605.08803), the plain flow; the network is in _realnvp.py.

The paper's model of CIFAR-10 has 2 scales, 8 residual blocks a network and 64 channels, which is a size for a GPU; of
ImageNet 32×32 4 blocks and 32 channels.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from immature_ood.config import OF_FLOWS, ModelConfig, NonNegative, Positive

if TYPE_CHECKING:
    import torch

    from immature_ood.models._realnvp import RealNVP

__all__ = ["Config", "make"]


class Config(ModelConfig):
    """The size of a Real NVP."""

    architecture: str = "realnvp"
    scales: Positive = 2
    """There are so many scales; each but the last halves the side and takes half of the numbers out as latents."""
    residual_blocks: NonNegative = 1
    """Each coupling's network has so many residual blocks of two convolutions, 8 in the paper's model of CIFAR-10."""
    hidden_channels: Positive = 16
    """Each coupling's network has so many channels, 64 in the paper's model of CIFAR-10."""

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return dict.fromkeys(("log_prob", "sum_z"), ("log_prob", "latent"))

    def derived(self) -> tuple[str, ...]:
        """See ModelConfig.derived."""
        return OF_FLOWS

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: grey, colour, and one scale of oblong images of odd sides."""
        yield cls(scales=2, residual_blocks=1, hidden_channels=5), (1, 4, 4)
        yield cls(scales=2, residual_blocks=0, hidden_channels=7), (3, 4, 2)
        yield cls(scales=1, residual_blocks=2, hidden_channels=3), (1, 3, 2)

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """A line if the sides of (C, H, W) cannot be halved so often."""
        halvings = self.scales - 1
        if any(side % 2**halvings for side in shape[1:]):
            yield f"scales: {self.scales} scales halve the side {halvings} times, but image.side is {shape[-1]}"


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "RealNVP":
    """A Real NVP for images of shape (C, H, W)."""
    from immature_ood.models._realnvp import RealNVP

    return RealNVP(config, shape, generator)
