"""Log gradient norms of layers as a function of the sample that can itself be differentiated (double backward).

f_k(x) = log ‖∇_{θ_k} value(x)‖² is made by a backward pass whose own graph is kept, so that ∇_x Σ_k g_k f_k(x) for any
numbers g_k is one more pass: a product of ∂² value / ∂x ∂θ with a vector (Pearlmutter 1994, Fast exact multiplication
by the Hessian, Neural Computation 6, 147). The engines beside this file are faster, and keep no graph.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from immature_ood.density import DensityModel
from immature_ood.gradients.engine import chosen_layers

__all__ = ["Seen", "gradient_by_input", "seen"]


@dataclass(frozen=True)
class Seen:
    """What a model says of one sample, with the graph that leads back to it.

    squared: (K,), ‖∇_{θ_k} value‖² of the layers of each objective in turn, as features have them.
    log_prob: (1,), None if no objective says it.
    """

    squared: Tensor
    log_prob: Tensor | None


def seen(
    model: DensityModel,
    x: Tensor,
    objectives: Sequence[str],
    layers: str,
    noise_of: Callable[[tuple[int, ...]], Tensor],
) -> Seen:
    """Of x (1, ...) as the model takes it, which asks for a gradient.

    objectives: whose gradients are taken. layers: see is_chosen. noise_of: the model's own noise, (1, *noise_shape),
    which is held fixed. Raises ValueError if the model cannot be differentiated twice.
    """
    parameters = [*chosen_layers(model, layers).values()]
    squared: list[Tensor] = []
    statistics: dict[str, Tensor] = {}
    for objective in map(model.objective, objectives):
        noise = None if objective.noise_shape is None else noise_of(objective.noise_shape)
        evaluated = objective(model, x, noise)
        with _told(model):
            found = torch.autograd.grad(
                evaluated.value.sum(), parameters, create_graph=True, allow_unused=True, materialize_grads=True
            )
        squared += [gradient.square().sum() for gradient in found]
        statistics = {**evaluated.statistics, **statistics}
    return Seen(torch.stack(squared), statistics.get("log_prob"))


def gradient_by_input(
    model: DensityModel, x: Tensor, found: Seen, of_norms: Tensor, of_log_prob: float = 0.0
) -> Tensor:
    """∇_x [ Σ_k g_k f_k(x) + c log p(x) ], of the shape of x.

    of_norms: (K,) g_k; a layer of which it is 0 is left out, so that its gradient may be zero. of_log_prob: c. Raises
    ValueError if the model rounds x, so that nothing it says has a gradient, or cannot be differentiated twice.
    """
    used = of_norms != 0
    total = (of_norms[used] * torch.log(found.squared[used])).sum()
    if of_log_prob and found.log_prob is not None:
        total = total + of_log_prob * found.log_prob.sum()
    with _told(model):
        (gradient,) = torch.autograd.grad(total, [x], allow_unused=True, materialize_grads=True)
    if used.any() and not gradient.any():
        raise ValueError(
            f"{type(model).__name__} rounds pixels to whole numbers, so that what it says has no gradient by them"
        )
    return gradient


@contextmanager
def _told(model: DensityModel) -> Iterator[None]:
    """Inside, what torch cannot differentiate is a ValueError."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"{type(model).__name__} cannot be differentiated twice: torch says {said}") from error
