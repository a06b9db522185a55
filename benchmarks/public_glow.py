"""Glow operation by operation, as the public PyTorch versions compute it: the baseline, and what the peers can take.

Every module with parameters has one input and one output, as Opacus and BackPACK need it. The parameters are those of
immature_ood's Glow under nearly the same names (see own_name), and so is log p.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.models import _glow as glow


class ActNorm(nn.Module):
    """(x + bias) · exp(logs); the log-determinant is added by the flow step."""

    def __init__(self, like: glow.ActNorm) -> None:
        super().__init__()
        self.bias, self.logs = nn.Parameter(like.bias.data.clone()), nn.Parameter(like.logs.data.clone())

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bias) * torch.exp(self.logs)


class Mixing(nn.Module):
    """1×1 convolution with W = P·L·U."""

    def __init__(self, like: glow.InvertibleConv) -> None:
        super().__init__()
        self.register_buffer("permutation", like.permutation.clone())
        self.register_buffer("sign_s", like.sign_s.clone())
        self.lower, self.log_s, self.upper = (
            nn.Parameter(tensor.data.clone()) for tensor in (like.lower, like.log_s, like.upper)
        )

    def factors(self) -> tuple[Tensor, Tensor]:
        """P·L and U, (C, C)."""
        eye = torch.eye(len(self.log_s), dtype=self.log_s.dtype)
        upper = torch.triu(self.upper, 1) + torch.diag(self.sign_s * torch.exp(self.log_s))
        return self.permutation @ (torch.tril(self.lower, -1) + eye), upper

    def forward(self, x: Tensor) -> Tensor:
        lower, upper = self.factors()
        return F.conv2d(x, (lower @ upper)[:, :, None, None])


class Scale(nn.Module):
    """x · exp(3·logs)."""

    def __init__(self, logs: Tensor) -> None:
        super().__init__()
        self.logs = nn.Parameter(logs.data.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.exp(3 * self.logs)


class NormalisedConv(nn.Module):
    """Convolution, then actnorm."""

    def __init__(self, like: glow.NormalisedConv) -> None:
        super().__init__()
        self.conv, self.actnorm = _conv(like.weight, None), ActNorm(like.actnorm)

    def forward(self, x: Tensor) -> Tensor:
        return self.actnorm(self.conv(x))


class ZeroConv(nn.Module):
    """Convolution, then a scale."""

    def __init__(self, like: glow.ZeroConv) -> None:
        super().__init__()
        self.conv, self.scale = _conv(like.weight, like.bias), Scale(like.logs)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(self.conv(x))


class Step(nn.Module):
    """Actnorm, 1×1 convolution, affine coupling."""

    def __init__(self, like: glow.FlowStep) -> None:
        super().__init__()
        self.actnorm, self.mixing, self.coupling = ActNorm(like.actnorm), Mixing(like.mixing), nn.Module()
        self.coupling.first = NormalisedConv(like.coupling.first)
        self.coupling.second = NormalisedConv(like.coupling.second)
        self.coupling.last = ZeroConv(like.coupling.last)
        self.kept = like.coupling.kept

    def forward(self, z: Tensor, *, constants: bool) -> tuple[Tensor, Tensor]:
        """constants: whether the log-determinants of actnorm and the 1×1 convolution get gradients."""
        z = self.mixing(self.actnorm(z))
        volume = z.shape[2] * z.shape[3] * (self.actnorm.logs.sum() + self.mixing.log_s.sum())
        z1, z2 = z[:, : self.kept], z[:, self.kept :]
        h = self.coupling.last(F.relu(self.coupling.second(F.relu(self.coupling.first(z1)))))
        log_scale = F.logsigmoid(h[:, 1::2] + 2)
        z2 = (z2 + h[:, 0::2]) * torch.exp(log_scale)
        return torch.cat([z1, z2], dim=1), log_scale.sum(dim=(1, 2, 3)) + (volume if constants else volume.detach())


class PublicGlow(nn.Module):
    """Glow with the weights of `like`."""

    def __init__(self, like: glow.Glow) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for block in like.blocks:
            own = nn.Module()
            own.steps = nn.ModuleList(Step(step) for step in block.steps)
            if block.split is not None:
                own.split = nn.Module()
                own.split.prior = ZeroConv(block.split.prior)
            self.blocks.append(own)
        self.top = ZeroConv(like.top)
        self.dimensions = like.dimensions

    def log_prob(self, x: Tensor, *, constants: bool = True) -> Tensor:
        """Log-density in nats, (N, C, H, W) → (N,); for constants see Step."""
        return self.log_prob_and_latent(x, constants=constants)[0]

    def log_prob_and_latent(self, x: Tensor, *, constants: bool = True) -> tuple[Tensor, Tensor]:
        """log_prob (N,), and the last latent z (N, C, H, W)."""
        z, total = x, x.new_zeros(len(x)) - self.dimensions * math.log(256)
        for block in self.blocks:
            z = glow.squeeze(z)
            for step in block.steps:
                z, log_det = step(z, constants=constants)
                total = total + log_det
            if hasattr(block, "split"):
                half = z.shape[1] // 2
                z, taken = z[:, :half], z[:, half:]
                total = total + glow.gaussian_log_prob(taken, block.split.prior(z))
        zeros = z.new_zeros(len(z), 2 * z.shape[1], *z.shape[2:])
        return total + glow.gaussian_log_prob(z, self.top(zeros)), z

    def forward(self, x: Tensor) -> Tensor:
        """log p without the gradients of the constants: for peers, which must add them by hand."""
        return self.log_prob(x, constants=False)


def own_name(name: str) -> str:
    """The name that immature_ood's Glow gives a parameter of PublicGlow."""
    return name.replace(".conv.", ".").replace(".scale.", ".")


def _conv(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    channels_out, channels_in, kernel, _ = weight.shape
    conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=bias is not None, dtype=weight.dtype)
    conv.weight.data.copy_(weight.data)
    if bias is not None:
        conv.bias.data.copy_(bias.data)
    return conv
