"""Closed forms: how the gradient of each layer's parameters follows from its input and its output's gradient.

The field calls such norms per-example gradient norms: of linear layers, Goodfellow (2015, arXiv 1510.01799); of layers
with several positions, as the *ghost norm*, Li et al. (2021, arXiv 2110.05679); of convolutions, Bu et al. (2022, arXiv
2205.10683). What is here for the layers of a flow follows in the same way.

One entry a layer type. Throughout, for the images one by one: a is the layer's input, y its output, g = ∂ log p / ∂y,
p runs over the P = H·W positions, s = Σ_p g, ⊙ is taken per channel. The gradients are those of log p, not of a loss.
They are of one use of the layer; where there are several, as in a tied flow, their sum is the gradient.

Layers of torch itself are known where each image goes through them alone: not batch norm, whose statistics are of the
batch, and not subclasses or parametrised layers, which may compute something else. What is not known takes the generic
engine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.gradients.norms import Gradient, Outer, Rows
from immature_ood.models._glow import ZERO_CONV_SCALE, FlowStep, InvertibleConv, NormalisedConv, ZeroConv
from immature_ood.models._tied_flow import Mixing, Rescaling

__all__ = ["FORMS", "Form", "Seen", "closed_form"]


@dataclass(frozen=True)
class Seen:
    """What one use of a layer saw of N images: input a (N, C_in, H, W), output y and g = ∂ objective / ∂y, both
    (N, C_out, H, W); of a linear layer (N, ..., features), of an embedding a (N, ...) whole numbers. What no gradient
    that is asked for reads was not kept: (N, 0).

    log_det: ∂ objective / ∂ log-determinant, 1 of log p and 0 of the sum of the latents.
    """

    a: Tensor
    y: Tensor
    g: Tensor
    log_det: float

    def images(self, start: int, stop: int) -> "Seen":
        """The same of images start…stop − 1."""
        return Seen(self.a[start:stop], self.y[start:stop], self.g[start:stop], self.log_det)


@dataclass(frozen=True)
class Form:
    """The closed form of one layer type.

    parameters: names inside the layer, which may lack some, such as a bias.
    gradients: (layer, what it saw) → the gradient of each of them, in the same order; or, of what is costly or may be
        left out with what it reads, a function that gives it.
    input_for, output_for: the parameters whose gradient reads a, or y; for others alone it is not kept.
    before: y is the input of this child instead of the layer's own output.
    log_det: log p also depends on the parameters by a log-determinant, which the form knows of.
    holds: whether the form is right for a layer with its settings.
    """

    parameters: tuple[str, ...]
    gradients: Callable[[Any, Seen], "Gradients"]
    input_for: tuple[str, ...] = ("weight",)
    output_for: tuple[str, ...] = ()
    before: str | None = None
    log_det: bool = False
    holds: Callable[[Any], bool] = lambda layer: True

    def of(self, layer: nn.Module) -> dict[str, nn.Parameter]:
        """Those of the parameters that the layer has."""
        named = dict(layer.named_parameters())
        return {name: named[name] for name in self.parameters if name in named}


Gradients = tuple[Gradient | Callable[[], Gradient], ...]
FORMS: dict[type[nn.Module], Form] = {}  # exact types: a subclass may compute something else


def closed_form(layer: type[nn.Module], *parameters: str, **options: Any) -> Callable:
    """Enters a function into FORMS; for the arguments see Form."""

    def enter(gradients: Callable) -> Callable:
        FORMS[layer] = Form(parameters, gradients, **options)
        return gradients

    return enter


@closed_form(NormalisedConv, "weight", "actnorm.bias", "actnorm.logs", output_for=("actnorm.logs",))
def normalised_conv(conv: NormalisedConv, seen: Seen) -> Gradients:
    """y = E ⊙ (w ∗ a + bias) with E = exp(logs): the gradients are (E g) aᵀ, E s and Σ_p g·y.

    y may also be what the ReLU after it made of it: g is zero where that changes y.
    """
    scale = torch.exp(conv.actnorm.logs)
    return lambda: convolution_weight(conv.weight, seen, scale), scale * total(seen.g), lambda: total(seen.g * seen.y)


@closed_form(ZeroConv, "weight", "bias", "logs", output_for=("logs",))
def zero_conv(conv: ZeroConv, seen: Seen) -> Gradients:
    """y = E ⊙ (w ∗ a + bias) with E = exp(3·logs): the gradients are (E g) aᵀ, E s and 3 Σ_p g·y."""
    scale = torch.exp(ZERO_CONV_SCALE * conv.logs)
    return (
        lambda: convolution_weight(conv.weight, seen, scale),
        scale * total(seen.g),
        lambda: ZERO_CONV_SCALE * total(seen.g * seen.y),
    )


FLOW_STEP = ("actnorm.bias", "actnorm.logs", "mixing.lower", "mixing.log_s", "mixing.upper")


@closed_form(FlowStep, *FLOW_STEP, input_for=FLOW_STEP, before="coupling", log_det=True)
def flow_step(step: FlowStep, seen: Seen) -> Gradients:
    """y = W e ⊙ (a + bias), e = exp(logs), W = P·L·U, diag U = sign_s·exp(log_s); log p has P·(Σ logs + Σ log_s) too.

    With M = Σ_p g (e ⊙ (a + bias))ᵀ = (Σ_p g aᵀ + s biasᵀ) diag(e), the gradient of W where it is a plain matrix:
    bias: e ⊙ Wᵀs, logs: diag(WᵀM) + P, L: below the diagonal of PᵀMUᵀ,
    U: above the diagonal of (PL)ᵀM, log_s: its diagonal times diag U, plus P.
    """
    permuted_lower, upper = factors(step.mixing)
    weight = permuted_lower @ upper
    scale, bias = torch.exp(step.actnorm.logs).flatten(), step.actnorm.bias.flatten()
    g, a = positions(seen.g), positions(seen.a)
    s = g.sum(dim=1)
    m = (g.transpose(1, 2) @ a + s[:, :, None] * bias) * scale
    volume = g.shape[1] * seen.log_det
    of_upper = permuted_lower.T @ m
    return (
        scale * (s @ weight),
        (weight * m).sum(dim=1) + volume,
        torch.tril(step.mixing.permutation.T @ m @ upper.T, -1),
        torch.diagonal(of_upper, dim1=1, dim2=2) * torch.diagonal(upper) + volume,
        torch.triu(of_upper, 1),
    )


@closed_form(nn.Linear, "weight", "bias")
def linear(layer: nn.Linear, seen: Seen) -> Gradients:
    """y = W a + bias, a (N, ..., features), p running over what is between: the gradients are Σ_p g aᵀ and s."""
    g = in_rows(seen.g)
    return lambda: Outer(g, in_rows(seen.a)), g.sum(dim=1)


@closed_form(nn.Conv1d, "weight", "bias", holds=lambda conv: conv.padding_mode == "zeros")
@closed_form(nn.Conv2d, "weight", "bias", holds=lambda conv: conv.padding_mode == "zeros")
def convolution(conv: nn.Conv1d | nn.Conv2d, seen: Seen) -> Gradients:
    """y = w ∗ a + bias: the gradients are Σ_p g cᵀ, c the numbers of a that position p sees, and s.

    With groups, of each group of channels alone. A convolution of sequences is one of images of one row.
    """
    plain = is_plain(conv)
    weight = partial(convolution_weight, conv.weight) if plain else partial(any_convolution_weight, conv)
    return lambda: weight(seen), over_positions(seen.g)


@closed_form(nn.ConvTranspose1d, "weight", "bias")
@closed_form(nn.ConvTranspose2d, "weight", "bias")
def transposed_convolution(conv: nn.ConvTranspose1d | nn.ConvTranspose2d, seen: Seen) -> Gradients:
    """The same with a and g in each other's place: position p of a is seen by the numbers of g in its window."""
    turned = Seen(seen.g, seen.y, seen.a, seen.log_det)
    return lambda: any_convolution_weight(conv, turned), over_positions(seen.g)


@closed_form(nn.GroupNorm, "weight", "bias")
def group_norm(layer: nn.GroupNorm, seen: Seen) -> Gradients:
    """y = w ⊙ â + bias with â normalised in groups of channels, a (N, C, ...): the gradients are Σ_p g·â and s."""
    return (
        lambda: over_positions(seen.g * F.group_norm(seen.a, layer.num_groups, eps=layer.eps)),
        over_positions(seen.g),
    )


@closed_form(nn.LayerNorm, "weight", "bias")
def layer_norm(layer: nn.LayerNorm, seen: Seen) -> Gradients:
    """y = w ⊙ â + bias, a (N, ..., shape), p running over what is between: the gradients are Σ_p g·â and s."""
    shape = layer.normalized_shape
    return (
        lambda: over_rows(seen.g * F.layer_norm(seen.a, shape, eps=layer.eps), shape),
        over_rows(seen.g, shape),
    )


@closed_form(nn.Embedding, "weight", holds=lambda layer: layer.max_norm is None and not layer.scale_grad_by_freq)
def embedding(layer: nn.Embedding, seen: Seen) -> Gradients:
    """y = row a of w, a (N, ...): the gradient of a row is the sum of g where a names it, that of padding zero."""
    places, g = seen.a.reshape(len(seen.a), -1), in_rows(seen.g)
    if layer.padding_idx is not None:
        g = g * (places != layer.padding_idx)[:, :, None]
    return (Rows(places, g),)


@closed_form(Rescaling, "weight", "bias", log_det=True)
def rescaling(layer: Rescaling, seen: Seen) -> Gradients:
    """y = w ⊙ a + bias, and log p has P·Σ log |w| too: the gradients are Σ_p g·a + P / w and s."""
    volume = seen.g.shape[2] * seen.g.shape[3] * seen.log_det
    return lambda: total(seen.g * seen.a) + volume / layer.weight, total(seen.g)


@closed_form(Mixing, "weight", log_det=True)
def mixing(layer: Mixing, seen: Seen) -> Gradients:
    """y = V a, and log p has P·log |det V| too: the gradient is Σ_p g aᵀ + P V⁻ᵀ."""
    volume = seen.g.shape[2] * seen.g.shape[3] * seen.log_det
    return (positions(seen.g).mT @ positions(seen.a) + volume * torch.linalg.inv(layer.weight).mT,)


def factors(mixing: InvertibleConv) -> tuple[Tensor, Tensor]:
    """P·L and U, (C, C) each."""
    unit_lower = torch.tril(mixing.lower, -1) + torch.eye(len(mixing.lower)).to(mixing.lower)
    upper = torch.triu(mixing.upper, 1) + torch.diag(mixing.sign_s * torch.exp(mixing.log_s))
    return mixing.permutation @ unit_lower, upper


def convolution_weight(weight: Tensor, seen: Seen, scale: Tensor | None = None) -> Outer:
    """(E g) aᵀ, the gradient of the weight (C_out, C_in, k, k) of a convolution with "same" padding, k odd.

    The k×k neighbours of a position are laid side by side in the narrower of a and g, which costs least. Unfolding g
    instead of a gives the same numbers in another order: output p sees input q where q sees p, the kernel mirrored.
    scale: E, (C_out, 1, 1), or None for ones.
    """
    channels_out, channels_in, kernel, _ = weight.shape
    if channels_in <= channels_out:
        return Outer(neighbours(seen.a, kernel), positions(seen.g), None if scale is None else scale.flatten())
    return Outer(neighbours(seen.g if scale is None else scale * seen.g, kernel), positions(seen.a))


def any_convolution_weight(conv: Any, seen: Seen) -> Outer:
    """Σ_p g cᵀ of a convolution of any settings; of a transposed one, a and g in each other's place."""
    a, g = (groups(image_of(x), conv.groups) for x in (seen.a, seen.g))
    return Outer(Window.of(conv).patches(a, g.shape[2:]), positions(g), blocks=conv.groups)


def is_plain(conv: nn.Conv1d | nn.Conv2d) -> bool:
    """Whether convolution_weight is for it: square odd kernel, "same" padding, no stride, dilation or groups."""
    kernel, *others = conv.kernel_size
    return (
        others == [kernel]
        and kernel % 2 == 1
        and conv.groups == 1
        and {*conv.stride, *conv.dilation} == {1}
        and Window.of(conv).padding == (kernel // 2,) * 4
    )


@dataclass(frozen=True)
class Window:
    """What a position of a convolution sees: (vertical, horizontal) each; padding (left, right, top, bottom)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)

    @staticmethod
    def of(conv: Any) -> "Window":
        """That of a convolution, transposed or not, of images or of sequences as images of one row."""
        kernel, stride, dilation = ((1, *sizes)[-2:] for sizes in (conv.kernel_size, conv.stride, conv.dilation))
        if conv.padding == "same":  # an odd number of zeros has one more on the right, as in torch
            whole = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
            sides = [(zeros // 2, zeros - zeros // 2) for zeros in whole]
        else:
            sides = [(zeros, zeros) for zeros in ((0, 0) if conv.padding == "valid" else (0, *conv.padding)[-2:])]
        return Window(kernel, stride, dilation, (*sides[1], *sides[0]))

    def patches(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(N, C, H, W) → (N, P, kernel·C): what each of P = size[0]·size[1] positions sees, zero outside the image.

        As F.unfold but for the order and the speed: numbers that lie side by side are copied at once.
        """
        padded = F.pad(x, self.padding).permute(0, 2, 3, 1).contiguous()
        image, row, column, _ = padded.stride()
        steps = [distance * step for distance, step in zip((row, column), self.stride, strict=True)]
        within = [distance * step for distance, step in zip((row, column), self.dilation, strict=True)]
        shape = (len(x), *size, *self.kernel, x.shape[1])
        return padded.as_strided(shape, (image, *steps, *within, 1)).reshape(len(x), size[0] * size[1], -1)


def groups(x: Tensor, number: int) -> Tensor:
    """(N, C, H, W) → (number·N, C / number, H, W): the images of the first group of channels, of the second, …"""
    return x.unflatten(1, (number, -1)).transpose(0, 1).flatten(0, 1)


def image_of(x: Tensor) -> Tensor:
    """(N, C, H, W) as it is; (N, C, T) → (N, C, 1, T)."""
    return x if x.ndim == 4 else x.unsqueeze(2)


def in_rows(x: Tensor) -> Tensor:
    """(N, ..., features) → (N, P, features)."""
    return x.reshape(len(x), -1, x.shape[-1])


def over_rows(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Σ_p: (N, ..., *shape) → (N, *shape)."""
    return x.reshape(len(x), -1, *shape).sum(dim=1)


def over_positions(x: Tensor) -> Tensor:
    """Σ_p: (N, C, ...) → (N, C)."""
    return x.reshape(*x.shape[:2], -1).sum(dim=2)


def positions(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, P, C), a view."""
    return x.flatten(2).transpose(1, 2)


def neighbours(x: Tensor, kernel: int) -> Tensor:
    """(N, C, H, W) → (N, P, k²·C): the k×k square around each position, zero outside the image."""
    if kernel == 1:
        return positions(x)
    return Window((kernel, kernel), padding=(kernel // 2,) * 4).patches(x, x.shape[2:])


def total(x: Tensor) -> Tensor:
    """Σ_p: (N, C, H, W) → (N, C, 1, 1)."""
    return positions(x).sum(dim=1)[:, :, None, None]
