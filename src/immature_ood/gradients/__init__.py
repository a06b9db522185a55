"""Layer-wise gradient norms: f_k(x) = log ‖∇_{θ_k} Σ_{i in group} log p(x_i)‖² (arXiv 2502.00820, arXiv 2403.01485).

They are per-example gradient norms (Goodfellow 2015, arXiv 1510.01799), layer by layer, and for b > 1 those of groups.
See closed_form for the engine that needs no gradients of all images at once, generic for the one that does, and loop
for models that neither can follow.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from immature_ood.density import DensityModel
from immature_ood.gradients.closed_form import ClosedForm, Uncovered
from immature_ood.gradients.engine import BF16_NORMS, FP32, PRECISIONS, Engine
from immature_ood.gradients.generic import Generic
from immature_ood.gradients.independence import check_independence, trial
from immature_ood.gradients.loop import Loop
from immature_ood.gradients.products import has_bfloat16
from immature_ood.registry import did_you_mean

__all__ = ["ENGINES", "LayerNorms", "layer_norms", "make_engine"]


LOG = logging.getLogger(__name__)
ENGINES: dict[str, Callable[[DensityModel, str, str, str], Engine]] = {
    "closed-form": ClosedForm,
    "generic": Generic,
    "loop": Loop,
}


@dataclass(frozen=True)
class LayerNorms:
    """Of G groups of b samples and K layers.

    squared: (G, K), ‖∇_{θ_k} Σ value‖² of each group; exactly zero where the gradient is.
    statistics: by name, (G, b, ...), what the objective says of each sample, such as "log_prob" in nats.
    """

    squared: Tensor
    statistics: Mapping[str, Tensor]


def make_engine(
    model: DensityModel,
    name: str | None = None,
    objective: str = "log_prob",
    layers: str = "all",
    precision: str = FP32,
) -> Engine:
    """The engine of that name, by default the fastest that covers all layers, for the model's weights as they are now.

    "closed-form" is fast and small, for models whose layers all have a closed form; "generic" takes any that torch.func
    can follow, "loop" any at all. Where one is taken because a faster one does not cover the model, a warning is logged
    that says why.
    objective: of DensityModel.objectives. layers: whose norms are taken (see is_chosen); "without_weights" costs the
    closed forms little more than one forward and one backward of the activations. precision: "bf16-norms" rounds to
    bfloat16 what the closed forms multiply for norms of weights; the passes stay as they are, and so do the other
    engines where they are taken by default. Raises ValueError if there is no such engine, objective, layer or
    precision, if the device has no instructions for it, the engine does not cover the model, or the model does not
    treat samples one by one.
    """
    if name is not None and name not in ENGINES:
        raise ValueError(f"no {name!r} among the engines{did_you_mean(name, [*ENGINES])}")
    _check_precision(precision, next(model.parameters()).device)
    check_independence(model, model.objective(objective))
    if name is not None:
        return ENGINES[name](model, objective, layers, precision)
    try:
        return ClosedForm(model, objective, layers, precision)
    except Uncovered as reason:
        LOG.warning("%s takes the generic engine, which is slower: %s", type(model).__name__, reason.why)
        return _generic_or_loop(model, objective, layers)


def _generic_or_loop(model: DensityModel, objective: str, layers: str) -> Engine:
    """The generic engine, if it can follow the model."""
    generic = Generic(model, objective, layers)
    x, noise = trial(model, model.objective(objective), 2)
    try:
        generic(x, [1], noise)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        said = str(error).strip().splitlines()[0]
        LOG.warning("%s takes a loop, which is slowest: torch.func says %s", type(model).__name__, said)
        return Loop(model, objective, layers)
    return generic


def _check_precision(precision: str, device: torch.device) -> None:
    """Raises ValueError if there is no such precision, or the device would have to emulate it."""
    if precision not in PRECISIONS:
        raise ValueError(f"no {precision!r} among the precisions{did_you_mean(precision, [*PRECISIONS])}")
    if precision == BF16_NORMS and not has_bfloat16(device):
        raise ValueError(
            f"precision: {BF16_NORMS}, but this {'GPU' if device.type == 'cuda' else 'processor'} has no instructions "
            f"for bfloat16, and would be slower by it; take {FP32}"
        )


def layer_norms(
    model: DensityModel,
    x: Tensor,
    batch_sizes: Sequence[int],
    engine: str | None = None,
    objective: str = "log_prob",
    noise: Tensor | None = None,
    layers: str = "all",
    precision: str = FP32,
) -> dict[int, LayerNorms]:
    """Squared gradient norms of every layer for groups of b consecutive samples, for all b in one pass.

    x: (N, ...), images dequantised, all in memory at once; N a multiple of every b. Layers in the order of
    `model.layers()`. engine, objective, layers, precision: see make_engine. noise: the model's own, (N, *noise_shape),
    if it needs any. Raises ValueError if some b does not divide N.
    """
    for b in batch_sizes:
        if len(x) % b:
            raise ValueError(f"{len(x)} images do not make groups of {b}")
    measured = make_engine(model, engine, objective, layers, precision)(x, batch_sizes, noise)
    statistics = measured.evaluated.statistics
    return {
        b: LayerNorms(measured.squared[b], {name: each.unflatten(0, (-1, b)) for name, each in statistics.items()})
        for b in batch_sizes
    }
