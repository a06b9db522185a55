"""The ways to layer-wise gradient norms that are compared, all (x, b) → (N / b, layers) in the order of the layers."""

from collections.abc import Callable

import torch
from public_glow import ActNorm, Mixing, PublicGlow, Scale, own_name
from torch import Tensor, nn

from immature_ood.gradients.closed_form import ClosedForm
from immature_ood.gradients.generic import Generic
from immature_ood.models._glow import Glow

Norms = Callable[[Tensor, int], Tensor]


def own(model: Glow) -> Norms:
    """This project's engine."""
    engine = ClosedForm(model)
    return lambda x, b: engine(x, [b]).squared[b]


def own_both(model: Glow) -> Norms:
    """This project's engine, b = 1 and b = 5 in one pass, as a study asks for."""
    engine = ClosedForm(model)
    return lambda x, b: engine(x, [1, 5]).squared[b]


def without_weights(model: Glow) -> Norms:
    """This project's engine for all layers but weights."""
    engine = ClosedForm(model, layers="without_weights")
    return lambda x, b: engine(x, [b]).squared[b]


def without_weights_both(model: Glow) -> Norms:
    """The same, b = 1 and b = 5 in one pass."""
    engine = ClosedForm(model, layers="without_weights")
    return lambda x, b: engine(x, [1, 5]).squared[b]


def bf16_norms(model: Glow) -> Norms:
    """This project's engine, the products of norms of weights in bfloat16."""
    engine = ClosedForm(model, precision="bf16-norms")
    return lambda x, b: engine(x, [b]).squared[b]


def vmap(model: Glow) -> Norms:
    """torch.func.vmap(grad) of the folded Glow, the whole batch at once."""
    engine = Generic(model)
    return lambda x, b: engine(x, [b]).squared[b]


def loop(model: Glow) -> Norms:
    """A backward pass a group: what the papers do."""
    public = PublicGlow(model)
    parameters = _ordered(model, public)

    def norms(x: Tensor, b: int) -> Tensor:
        rows = []
        for group in x.split(b):
            gradients = torch.autograd.grad(public.log_prob(group).sum(), parameters)
            rows.append(torch.stack([gradient.square().sum() for gradient in gradients]))
        return torch.stack(rows)

    return norms


def opacus(model: Glow) -> Norms:
    """Opacus' GradSampleModule, with samplers of its own for what is not a convolution."""
    from opacus import GradSampleModule
    from opacus.grad_sample.utils import register_grad_sampler

    @register_grad_sampler([ActNorm, Mixing, Scale])
    def sampler(layer: nn.Module, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
        return small_gradients(layer, activations[0], backprops)

    public = PublicGlow(model)
    parameters = _ordered(model, public)
    watched = GradSampleModule(public, loss_reduction="sum", strict=False)

    def norms(x: Tensor, b: int) -> Tensor:
        watched.zero_grad()
        watched(x).sum().backward()
        return torch.stack([_grouped(parameter.grad_sample, b) for parameter in parameters], dim=1)

    return norms


def backpack(model: Glow) -> Norms:
    """BackPACK's BatchL2Grad (b = 1) or BatchGrad (b > 1) of the convolutions, and hooks for the rest."""
    from backpack import backpack as extensions
    from backpack import extend
    from backpack.extensions import BatchGrad, BatchL2Grad

    public = PublicGlow(model)
    parameters = _ordered(model, public)
    small: dict[int, Tensor] = {}
    for module in public.modules():
        if isinstance(module, nn.Conv2d):
            extend(module)
        elif isinstance(module, ActNorm | Mixing | Scale):
            _watch(module, small)

    def norm(parameter: nn.Parameter, b: int) -> Tensor:
        if id(parameter) in small:
            return _grouped(small[id(parameter)], b)
        return parameter.batch_l2 if b == 1 else _grouped(parameter.grad_batch, b)

    def norms(x: Tensor, b: int) -> Tensor:
        public.zero_grad()
        with extensions(BatchL2Grad() if b == 1 else BatchGrad()):
            public(x).sum().backward()
        return torch.stack([norm(parameter, b) for parameter in parameters], dim=1)

    return norms


METHODS = {
    "own": own,
    "own, b = 1 and 5": own_both,
    "own, without weights": without_weights,
    "own, without weights, b = 1 and 5": without_weights_both,
    "own, bf16-norms": bf16_norms,
    "vmap": vmap,
    "loop": loop,
    "opacus": opacus,
    "backpack": backpack,
}
SOME_LAYERS = {"own, without weights", "own, without weights, b = 1 and 5"}  # all but weights; of the others all


def small_gradients(layer: nn.Module, a: Tensor, g: Tensor) -> dict[nn.Parameter, Tensor]:
    """Per-image gradients of a layer that the peers do not know, its log-determinant's included."""
    with torch.no_grad():
        positions = g.shape[2] * g.shape[3]
        if isinstance(layer, Scale):
            y = a * torch.exp(3 * layer.logs)
            return {layer.logs: 3 * (g * y).sum(dim=(2, 3), keepdim=True)}
        if isinstance(layer, ActNorm):
            scale = torch.exp(layer.logs)
            of_bias = scale * g.sum(dim=(2, 3), keepdim=True)
            of_logs = (g * (a + layer.bias) * scale).sum(dim=(2, 3), keepdim=True)
            # Inside a coupling network an actnorm has no log-determinant.
            return {layer.bias: of_bias, layer.logs: of_logs + positions * getattr(layer, "in_flow", 0.0)}
        lower, upper = layer.factors()
        m = torch.einsum("nihw,njhw->nij", g, a)
        of_upper = lower.T @ m
        of_log_s = torch.diagonal(of_upper, dim1=1, dim2=2) * torch.diagonal(upper) + positions
        of_lower = torch.tril(layer.permutation.T @ m @ upper.T, -1)
        return {layer.lower: of_lower, layer.log_s: of_log_s, layer.upper: torch.triu(of_upper, 1)}


def _watch(layer: nn.Module, found: dict[int, Tensor]) -> None:
    def forward(module: nn.Module, inputs: tuple[Tensor], y: Tensor) -> None:
        a = inputs[0].detach()
        y.register_hook(lambda g: found.update({id(p): v for p, v in small_gradients(module, a, g).items()}))

    layer.register_forward_hook(forward)


def _ordered(model: Glow, public: PublicGlow) -> list[nn.Parameter]:
    """The parameters of the public Glow in the order of the layers; marks the actnorms of the flow."""
    for block in public.blocks:
        for step in block.steps:
            step.actnorm.in_flow = 1.0
    by_name = {own_name(name): parameter for name, parameter in public.named_parameters()}
    names = [name for name, _ in model.layers()]
    if {*names} != by_name.keys():
        raise RuntimeError("the public Glow has other parameters")
    return [by_name[name] for name in names]


def _grouped(gradients: Tensor, b: int) -> Tensor:
    """Per-image gradients (N, ...) → squared norms of the sums over b images, (N / b,)."""
    return gradients.flatten(1).reshape(len(gradients) // b, b, -1).sum(dim=1).square().sum(dim=1)
