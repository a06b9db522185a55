"""The engine for any model: gradients of every image by torch.func, added up in groups."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from immature_ood.gradients.norms import group_norms
from immature_ood.models import DensityModel

__all__ = ["Generic"]


class Generic:
    """The engine for one model.

    Called with x (N, C, H, W) and batch sizes b: squared norms (N / b, layers) for each b, and log p (N,) in nats.
    Holds the gradients of all N images at once: N × parameters numbers.
    """

    def __init__(self, model: DensityModel) -> None:
        self._model = model

    def __call__(self, x: Tensor, batch_sizes: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
        parameters = {name: parameter.detach() for name, parameter in self._model.layers()}
        gradients, log_prob = vmap(grad_and_value(self._log_prob), in_dims=(None, 0))(parameters, x.detach())
        columns = [group_norms(gradients[name].flatten(1), batch_sizes) for name in parameters]
        return {b: torch.stack([column[b] for column in columns], dim=1) for b in batch_sizes}, log_prob

    def _log_prob(self, parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        tensors = {f"model.{name}": tensor for name, tensor in parameters.items()}
        return functional_call(_LogProb(self._model), tensors, (image[None],))[0]


class _LogProb(torch.nn.Module):
    """A model whose forward is log_prob, as functional_call needs it."""

    def __init__(self, model: DensityModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.log_prob(x)
