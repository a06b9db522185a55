"""A causal language model of bytes, a Transformer (Vaswani et al. 2017) as in GPT-2; the network is in _transformer.py.

The default is small, for a CPU. For a GPU and windows of 512 bytes, as large as the 12 layers of Al-Rfou et al. (2019,
arXiv 1808.04444): `{width: 512, depth: 12, heads: 8}`, 38 million parameters.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from immature_ood.config import ModelConfig, Positive, Whole

if TYPE_CHECKING:
    import torch

    from immature_ood.models._transformer import Transformer

__all__ = ["KINDS", "Config", "make"]

KINDS = ("tokens",)


class Config(ModelConfig):
    """The size of a Transformer."""

    architecture: str = "transformer"
    width: Positive = 64
    """Each place of a window has a vector of so many numbers."""
    depth: Positive = 2
    """There are so many blocks of attention and of a network of four times the width."""
    heads: Positive = 4
    """Attention has so many heads, among which the width is divided."""
    vocabulary: Annotated[Whole, Field(ge=2)] = 256
    """Tokens are 0 to this, less one, as those of the data: 256 for bytes."""

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: bytes, and few tokens in two blocks."""
        yield cls(width=8, depth=1, heads=2), (6,)
        yield cls(width=6, depth=2, heads=3, vocabulary=7), (5,)

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """A line if the heads do not share the width, or windows have nothing to attend to."""
        if self.width % self.heads:
            yield f"heads: the width, {self.width}, is not a multiple of {self.heads}"
        if shape[0] < 2:
            yield f"architecture: a transformer attends to what came before, but data.length is {shape[0]}"


def make(config: Config, shape: tuple[int, ...], generator: "torch.Generator") -> "Transformer":
    """A Transformer for windows of shape (T,)."""
    from immature_ood.models._transformer import Transformer

    return Transformer(config, shape, generator)
