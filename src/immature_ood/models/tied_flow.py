"""The grey model of the code released with arXiv 2502.00820: one MLP coupling, used by every step (_tied_flow.py)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from immature_ood.config import OF_FLOWS, ModelConfig, Positive

if TYPE_CHECKING:
    import torch

    from immature_ood.models._tied_flow import TiedFlow

__all__ = ["Config", "make"]


class Config(ModelConfig):
    """The size of a tied flow."""

    architecture: str = "tied_flow"
    steps: Positive = 10
    """There are so many flow steps, which share all parameters."""
    hidden_layers: Positive = 10
    """Each of the coupling's two networks has so many layers between its first and its last."""
    hidden_features: Positive = 1000
    """Each of these layers has so many features."""
    unit_range: bool = False
    """The flow begins with pixels / 255, as in the released code, not with pixels / 256."""

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return dict.fromkeys(("log_prob", "sum_z"), ("log_prob", "latent"))

    def derived(self) -> tuple[str, ...]:
        """See ModelConfig.derived."""
        return OF_FLOWS

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: grey, grey in the released code's range, and oblong colour."""
        yield cls(steps=4, hidden_layers=2, hidden_features=9), (1, 4, 4)
        yield cls(steps=2, hidden_layers=1, hidden_features=9, unit_range=True), (1, 4, 4)
        yield cls(steps=3, hidden_layers=1, hidden_features=7), (3, 3, 2)


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "TiedFlow":
    """A tied flow for images of shape (C, H, W), in float64."""
    from immature_ood.models._tied_flow import TiedFlow

    return TiedFlow(config, shape, generator)
