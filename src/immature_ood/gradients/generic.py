"""The engine for any model: gradients of every image by torch.func, added up in groups."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from immature_ood.models import DensityModel

__all__ = ["per_image_norms"]


def per_image_norms(model: DensityModel, x: Tensor, batch_sizes: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
    """x (N, C, H, W) → squared norms (N / b, layers) for each b, and log p (N,) in nats.

    Holds the gradients of all N images at once: N × parameters numbers.
    """
    parameters = {name: parameter.detach() for name, parameter in model.layers()}
    buffers = dict(model.named_buffers())

    def log_prob(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(_LogProb(model), _prefixed(parameters | buffers), (image[None],))[0]

    gradients, values = vmap(grad_and_value(log_prob), in_dims=(None, 0))(parameters, x)
    columns = [_group_norms(gradients[name].flatten(1), batch_sizes) for name in parameters]
    return {b: torch.stack([column[b] for column in columns], dim=1) for b in batch_sizes}, values


def _group_norms(gradients: Tensor, batch_sizes: Sequence[int]) -> dict[int, Tensor]:
    """Gradients (N, P) of one layer → squared norms (N / b,) of the sums over b consecutive images."""
    n, p = gradients.shape
    return {b: gradients.reshape(n // b, b, p).sum(dim=1).square().sum(dim=1) for b in batch_sizes}


class _LogProb(torch.nn.Module):
    """A model whose forward is log_prob, as functional_call needs it."""

    def __init__(self, model: DensityModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.log_prob(x)


def _prefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for name, tensor in tensors.items()}
