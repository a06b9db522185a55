"""Density models: one file a model, found by its name (see registry), each a DensityModel (see density).

A file has `Config`, a ModelConfig with the model's options, and `make(config, shape, generator)`, the model for samples
of a shape, such as (C, H, W), with weights drawn from the generator; and `KINDS`, if it is not for images: the names of
the kinds of data that it is for.
"""

from typing import TYPE_CHECKING

from immature_ood import registry
from immature_ood.config import ModelConfig

if TYPE_CHECKING:
    import torch

    from immature_ood.density import DensityModel

__all__ = ["make_model"]


def make_model(config: ModelConfig, shape: tuple[int, ...], generator: "torch.Generator") -> "DensityModel":
    """The model a config describes, with weights drawn from the generator; shape is that of a sample, (C, H, W)."""
    model: DensityModel = registry.load("models", config.architecture).make(config, shape, generator)
    return model
