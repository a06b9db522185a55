"""Layer-wise gradient norms: f_k(x) = log ‖∇_{θ_k} Σ_{i in group} log p(x_i)‖² (arXiv 2502.00820, arXiv 2403.01485).

They are per-example gradient norms (Goodfellow 2015, arXiv 1510.01799), layer by layer, and for b > 1 those of groups.
See closed_form for the engine that needs no gradients of all images at once, and generic for the one that does.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from immature_ood.density import DensityModel
from immature_ood.gradients.closed_form import ClosedForm, Uncovered
from immature_ood.gradients.engine import Engine
from immature_ood.gradients.generic import Generic
from immature_ood.gradients.independence import check_independence
from immature_ood.registry import did_you_mean

__all__ = ["ENGINES", "LayerNorms", "layer_norms", "make_engine"]


LOG = logging.getLogger(__name__)
ENGINES: dict[str, Callable[[DensityModel, str, str], Engine]] = {"closed-form": ClosedForm, "generic": Generic}


@dataclass(frozen=True)
class LayerNorms:
    """Of G groups of b samples and K layers.

    squared: (G, K), ‖∇_{θ_k} Σ value‖² of each group; exactly zero where the gradient is.
    statistics: by name, (G, b, ...), what the objective says of each sample, such as "log_prob" in nats.
    """

    squared: Tensor
    statistics: Mapping[str, Tensor]


def make_engine(
    model: DensityModel, name: str | None = None, objective: str = "log_prob", layers: str = "all"
) -> Engine:
    """The engine of that name, by default the fastest that covers all layers, for the model's weights as they are now.

    "closed-form" is fast and small, for models whose layers all have a closed form; "generic" takes any model. Where it
    is taken because the other does not cover the model, a warning is logged that says why.
    objective: of DensityModel.objectives. layers: whose norms are taken (see is_chosen); "without_weights" costs the
    closed forms little more than one forward and one backward of the activations. Raises ValueError if there is no such
    engine, objective or layer, the engine does not cover the model, or the model does not treat samples one by one.
    """
    if name is not None and name not in ENGINES:
        raise ValueError(f"no {name!r} among the engines{did_you_mean(name, [*ENGINES])}")
    check_independence(model, model.objective(objective))
    if name is not None:
        return ENGINES[name](model, objective, layers)
    try:
        return ClosedForm(model, objective, layers)
    except Uncovered as reason:
        LOG.warning("%s takes the generic engine, which is slower: %s", type(model).__name__, reason.why)
        return Generic(model, objective, layers)


def layer_norms(
    model: DensityModel,
    x: Tensor,
    batch_sizes: Sequence[int],
    engine: str | None = None,
    objective: str = "log_prob",
    noise: Tensor | None = None,
    layers: str = "all",
) -> dict[int, LayerNorms]:
    """Squared gradient norms of every layer for groups of b consecutive samples, for all b in one pass.

    x: (N, ...), images dequantised, all in memory at once; N a multiple of every b. Layers in the order of
    `model.layers()`. engine, objective, layers: see make_engine. noise: the model's own, (N, *noise_shape), if it needs
    any. Raises ValueError if some b does not divide N.
    """
    for b in batch_sizes:
        if len(x) % b:
            raise ValueError(f"{len(x)} images do not make groups of {b}")
    measured = make_engine(model, engine, objective, layers)(x, batch_sizes, noise)
    statistics = measured.evaluated.statistics
    return {
        b: LayerNorms(measured.squared[b], {name: each.unflatten(0, (-1, b)) for name, each in statistics.items()})
        for b in batch_sizes
    }
