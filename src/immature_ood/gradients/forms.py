"""Closed forms: how the gradient of each layer's parameters follows from its input and its output's gradient.

One entry a layer type. Throughout, for the images one by one: a is the layer's input, y its output, g = ∂ log p / ∂y,
p runs over the P = H·W positions, s = Σ_p g, ⊙ is taken per channel. The gradients are those of log p, not of a loss.
They are of one use of the layer; where there are several, as in a tied flow, their sum is the gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.gradients.norms import Gradient, Outer
from immature_ood.models._glow import ZERO_CONV_SCALE, FlowStep, InvertibleConv, NormalisedConv, ZeroConv
from immature_ood.models._tied_flow import Mixing, Rescaling

__all__ = ["FORMS", "Form", "Seen", "closed_form"]


@dataclass(frozen=True)
class Seen:
    """What one use of a layer saw of N images: input a (N, C_in, H, W), output y and g = ∂ objective / ∂y, both
    (N, C_out, H, W); of a linear layer (N, ..., features).

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

    parameters: names inside the layer. gradients: (layer, what it saw) → the gradient of each, in the same order.
    before: y is the input of this child instead of the layer's own output.
    """

    parameters: tuple[str, ...]
    gradients: Callable[[Any, Seen], tuple[Gradient, ...]]
    before: str | None


FORMS: dict[type[nn.Module], Form] = {}  # exact types: a subclass may compute something else


def closed_form(layer: type[nn.Module], *parameters: str, before: str | None = None) -> Callable:
    """Enters a function into FORMS; for the arguments see Form."""

    def enter(gradients: Callable) -> Callable:
        FORMS[layer] = Form(parameters, gradients, before)
        return gradients

    return enter


@closed_form(NormalisedConv, "weight", "actnorm.bias", "actnorm.logs")
def normalised_conv(conv: NormalisedConv, seen: Seen) -> tuple[Gradient, ...]:
    """y = E ⊙ (w ∗ a + bias) with E = exp(logs): the gradients are (E g) aᵀ, E s and Σ_p g·y.

    y may also be what the ReLU after it made of it: g is zero where that changes y.
    """
    scale = torch.exp(conv.actnorm.logs)
    return convolution_weight(conv.weight, seen, scale), scale * total(seen.g), total(seen.g * seen.y)


@closed_form(ZeroConv, "weight", "bias", "logs")
def zero_conv(conv: ZeroConv, seen: Seen) -> tuple[Gradient, ...]:
    """y = E ⊙ (w ∗ a + bias) with E = exp(3·logs): the gradients are (E g) aᵀ, E s and 3 Σ_p g·y."""
    scale = torch.exp(ZERO_CONV_SCALE * conv.logs)
    weight = convolution_weight(conv.weight, seen, scale)
    return weight, scale * total(seen.g), ZERO_CONV_SCALE * total(seen.g * seen.y)


@closed_form(
    FlowStep, "actnorm.bias", "actnorm.logs", "mixing.lower", "mixing.log_s", "mixing.upper", before="coupling"
)
def flow_step(step: FlowStep, seen: Seen) -> tuple[Gradient, ...]:
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
def linear(layer: nn.Linear, seen: Seen) -> tuple[Gradient, ...]:
    """y = W a + bias, a (N, ..., features), p running over what is between: the gradients are Σ_p g aᵀ and s."""
    g, a = (x.reshape(len(x), -1, x.shape[-1]) for x in (seen.g, seen.a))
    return Outer(g, a), g.sum(dim=1)


@closed_form(Rescaling, "weight", "bias")
def rescaling(layer: Rescaling, seen: Seen) -> tuple[Gradient, ...]:
    """y = w ⊙ a + bias, and log p has P·Σ log |w| too: the gradients are Σ_p g·a + P / w and s."""
    volume = seen.g.shape[2] * seen.g.shape[3] * seen.log_det
    return total(seen.g * seen.a) + volume / layer.weight, total(seen.g)


@closed_form(Mixing, "weight")
def mixing(layer: Mixing, seen: Seen) -> tuple[Gradient, ...]:
    """y = V a, and log p has P·log |det V| too: the gradient is Σ_p g aᵀ + P V⁻ᵀ."""
    volume = seen.g.shape[2] * seen.g.shape[3] * seen.log_det
    return (positions(seen.g).mT @ positions(seen.a) + volume * torch.linalg.inv(layer.weight).mT,)


def factors(mixing: InvertibleConv) -> tuple[Tensor, Tensor]:
    """P·L and U, (C, C) each."""
    unit_lower = torch.tril(mixing.lower, -1) + torch.eye(len(mixing.lower)).to(mixing.lower)
    upper = torch.triu(mixing.upper, 1) + torch.diag(mixing.sign_s * torch.exp(mixing.log_s))
    return mixing.permutation @ unit_lower, upper


def convolution_weight(weight: Tensor, seen: Seen, scale: Tensor) -> Outer:
    """(E g) aᵀ, the gradient of the weight (C_out, C_in, k, k) of a convolution with "same" padding, k odd.

    The k×k neighbours of a position are laid side by side in the narrower of a and g, which costs least. Unfolding g
    instead of a gives the same numbers in another order: output p sees input q where q sees p, the kernel mirrored.
    scale: E, (C_out, 1, 1).
    """
    channels_out, channels_in, kernel, _ = weight.shape
    if channels_in <= channels_out:
        return Outer(neighbours(seen.a, kernel), positions(seen.g), scale.flatten())
    return Outer(neighbours(scale * seen.g, kernel), positions(seen.a))


def positions(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, P, C), a view."""
    return x.flatten(2).transpose(1, 2)


def neighbours(x: Tensor, kernel: int) -> Tensor:
    """(N, C, H, W) → (N, P, k²·C): the k×k square around each position, zero outside the image.

    As F.unfold but for the order and the speed: k·C numbers that lie side by side are copied at once.
    """
    if kernel == 1:
        return positions(x)
    n, c, height, width = x.shape
    padded = F.pad(x, [kernel // 2] * 4).permute(0, 2, 3, 1).contiguous()
    image, row, column, _ = padded.stride()
    squares = padded.as_strided((n, height, width, kernel, kernel * c), (image, row, column, row, 1))
    return squares.reshape(n, height * width, kernel * kernel * c)


def total(x: Tensor) -> Tensor:
    """Σ_p: (N, C, H, W) → (N, C, 1, 1)."""
    return positions(x).sum(dim=1)[:, :, None, None]
