"""What every engine promises: squared gradient norms of one model's layers, for groups of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from immature_ood.density import DensityModel, Evaluated
from immature_ood.layers import is_chosen

__all__ = ["BF16_NORMS", "FP32", "PRECISIONS", "Engine", "Forward", "Measured", "chosen_layers"]

FP32, BF16_NORMS = "fp32", "bf16-norms"  # what norms of weights are products of: all as it is, or rounded to bfloat16
PRECISIONS = (FP32, BF16_NORMS)


@dataclass(frozen=True)
class Measured:
    """Of N samples and K layers, those of the engine.

    squared: by b, (N / b, K), ‖∇_{θ_k} Σ value‖² of each group of b; exactly zero where the gradient is.
    evaluated: the objective and its statistics of every sample; nothing in it needs a gradient.
    """

    squared: Mapping[int, Tensor]
    evaluated: Evaluated


class Engine(Protocol):
    """For one model, one objective and some layers.

    layers: the names of the layers whose norms it gives, in the order of the model's.
    gradient_bytes: of the gradients that are held at once, for each sample.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def gradient_bytes(self) -> int: ...

    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        """x (N, ...), as the model takes it; noise: the model's own, (N, *noise_shape); N a multiple of every b."""


def chosen_layers(model: DensityModel, layers: str) -> dict[str, nn.Parameter]:
    """By name, the layers of a model that are among `layers` (see is_chosen); raises ValueError if there is none."""
    chosen = {name: parameter for name, parameter in model.layers() if is_chosen(name, layers)}
    if not chosen:
        raise ValueError(f"no layer of {type(model).__name__} is among the layers {layers!r}; choose others")
    return chosen


class Forward:
    """What an engine is where no gradient is asked for: the statistics alone."""

    gradient_bytes = 0

    def __init__(self, model: DensityModel, objective: str = "log_prob") -> None:
        self._model, self._objective = model, model.objective(objective)
        self.layers = tuple(chosen_layers(model, "all"))

    @torch.no_grad()
    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        return Measured({}, self._objective(self._model, x, noise))
