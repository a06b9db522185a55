"""The engine for any model: gradients of every image by torch.func, added up in groups."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from immature_ood.density import DensityModel
from immature_ood.gradients.norms import group_norms

__all__ = ["Generic"]


class Generic:
    """The engine for one model and objective (see DensityModel.objective).

    Called with x (N, C, H, W) and batch sizes b: squared norms (N / b, layers) for each b, and log p (N,) in nats.
    Holds the gradients of all N images at once: N × parameters numbers, and more where weights are used several times.
    """

    def __init__(self, model: DensityModel, objective: str = "log_prob") -> None:
        self._model = _Objective(model, objective)

    @property
    def gradient_bytes(self) -> int:
        """Held of each image: one number a parameter."""
        return sum(parameter.nbytes for _, parameter in self._model.model.layers())

    def __call__(self, x: Tensor, batch_sizes: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
        parameters = {f"model.{name}": parameter.detach() for name, parameter in self._model.model.layers()}
        of_image = grad_and_value(self._objective, has_aux=True)
        gradients, (_, log_prob) = vmap(of_image, in_dims=(None, 0))(parameters, x.detach())
        columns = [group_norms(gradient.flatten(1), batch_sizes) for gradient in gradients.values()]
        return {b: torch.stack([column[b] for column in columns], dim=1) for b in batch_sizes}, log_prob

    def _objective(self, parameters: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
        value, log_prob = functional_call(self._model, parameters, (image[None],))
        return value[0], log_prob[0]


class _Objective(torch.nn.Module):
    """A model whose forward is the objective, as functional_call needs it."""

    def __init__(self, model: DensityModel, objective: str) -> None:
        super().__init__()
        self.model, self._name = model, objective

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.objective(x, self._name)
