"""The engine for any model: gradients of every sample by torch.func, added up in groups."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from immature_ood.density import DensityModel, Evaluated
from immature_ood.gradients.engine import FP32, Measured, chosen_layers
from immature_ood.gradients.norms import group_norms

__all__ = ["Evaluation", "Generic"]


class Generic:
    """An Engine. Holds the gradients of all N samples at once: N × numbers of the layers chosen, and more where weights
    are used several times.
    """

    def __init__(
        self, model: DensityModel, objective: str = "log_prob", layers: str = "all", precision: str = FP32
    ) -> None:
        if precision != FP32:
            raise ValueError(f"precision: {precision} is of the closed forms' products; the generic engine forms none")
        self._model = Evaluation(model, objective)
        self._parameters = chosen_layers(model, layers)

    @property
    def layers(self) -> tuple[str, ...]:
        """See Engine."""
        return tuple(self._parameters)

    @property
    def gradient_bytes(self) -> int:
        """Held of each sample: one number a parameter."""
        return sum(parameter.nbytes for parameter in self._parameters.values())

    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        parameters = {f"model.{name}": parameter.detach() for name, parameter in self._parameters.items()}
        of_sample = grad(self._of_sample, has_aux=True)
        gradients, evaluated = vmap(of_sample, in_dims=(None, 0, None if noise is None else 0))(
            parameters, x.detach(), noise
        )
        columns = [group_norms(gradient.flatten(1), batch_sizes) for gradient in gradients.values()]
        squared = {b: torch.stack([column[b] for column in columns], dim=1) for b in batch_sizes}
        return Measured(squared, Evaluated(*evaluated))

    def _of_sample(
        self, parameters: dict[str, Tensor], sample: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Mapping[str, Tensor]]]:
        """The value of one sample, and all that the objective says of it."""
        own = None if noise is None else noise[None]
        value, statistics = functional_call(self._model, parameters, (sample[None], own))
        return value[0], (value[0], {name: statistic[0] for name, statistic in statistics.items()})


class Evaluation(torch.nn.Module):
    """A model whose forward is an objective, as functional_call needs it."""

    def __init__(self, model: DensityModel, objective: str) -> None:
        super().__init__()
        self.model, self._objective = model, model.objective(objective)

    def forward(self, x: Tensor, noise: Tensor | None) -> Evaluated:
        return self._objective(self.model, x, noise)
