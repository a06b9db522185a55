"""The grey model of the code released with arXiv 2502.00820: one MLP coupling, used by every step (_tied_flow.py)."""

from typing import TYPE_CHECKING

from immature_ood.config import ModelConfig, Positive

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


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "TiedFlow":
    """A tied flow for images of shape (C, H, W), in float64."""
    from immature_ood.models._tied_flow import TiedFlow

    return TiedFlow(config, shape, generator)
