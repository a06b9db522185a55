"""The engine for a model that torch.func cannot follow: a backward pass for each sample."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from immature_ood.density import DensityModel, Evaluated
from immature_ood.gradients.engine import FP32, Measured, chosen_layers
from immature_ood.gradients.generic import Evaluation

__all__ = ["Loop"]


class Loop:
    """An Engine, slow, of whatever model: one that looks at its numbers to decide what to compute, for example.

    Holds the sums over the groups under way: for each b the numbers of the layers chosen.
    """

    def __init__(
        self, model: DensityModel, objective: str = "log_prob", layers: str = "all", precision: str = FP32
    ) -> None:
        if precision != FP32:
            raise ValueError(f"precision: {precision} is of the closed forms' products; the loop forms none")
        self._model = Evaluation(model, objective)
        self._parameters = chosen_layers(model, layers)
        self.layers = tuple(self._parameters)
        self.gradient_bytes = 0

    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        evaluated: list[Evaluated] = []
        norms: dict[int, list[Tensor]] = {b: [] for b in batch_sizes}
        sums: dict[int, list[Tensor]] = {}
        for place, gradients in enumerate(self._gradients(x.detach(), noise, evaluated)):
            for b in batch_sizes:
                sums[b] = [one + own for one, own in zip(sums[b], gradients, strict=True)] if place % b else gradients
                if place % b == b - 1:
                    norms[b].append(torch.stack([each.square().sum() for each in sums[b]]))
        values, statistics = zip(*evaluated, strict=True)
        together = {name: torch.cat([one[name] for one in statistics]) for name in statistics[0]}
        return Measured({b: torch.stack(norms[b]) for b in batch_sizes}, Evaluated(torch.cat(values), together))

    def _gradients(self, x: Tensor, noise: Tensor | None, evaluated: list[Evaluated]) -> Iterator[list[Tensor]]:
        """Of each sample in turn the gradients of all layers; what the objective says of it is added to the list."""
        given = {f"model.{name}": each.detach().requires_grad_() for name, each in self._parameters.items()}
        parameters = [*given.values()]
        for place in range(len(x)):
            own = None if noise is None else noise[place : place + 1]
            with torch.enable_grad():
                value, statistics = functional_call(self._model, given, (x[place : place + 1], own))
                found = torch.autograd.grad(value.sum(), parameters, allow_unused=True)
            evaluated.append(Evaluated(value.detach(), {name: each.detach() for name, each in statistics.items()}))
            yield [
                torch.zeros_like(parameter) if gradient is None else gradient
                for parameter, gradient in zip(parameters, found, strict=True)
            ]
