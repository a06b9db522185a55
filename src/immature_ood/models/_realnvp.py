"""Real NVP (Dinh et al. 2017, https://arxiv.org/abs/1605.08803): affine couplings of fixed halves, and nothing else.

An image goes through the scales. One has three couplings of the squares of a checkerboard in turn, a squeeze, three
couplings of every second channel in turn, and takes every second channel out as latents; the last has four couplings of
a checkerboard. All latents are standard normal:

    log p(x) = Σ_d log N(z_d; 0, 1) + Σ log-determinants of the couplings − D·log 256.

What a Glow has besides, this has not: no actnorm, no 1×1 convolution, no learned prior.

It differs from the paper's so. There is no batch norm, for it couples the images of a batch, whose gradients are then
not theirs alone: the networks normalise each image's features (GroupNorm of one group), and nothing outside them is
normalised. Without, the loss leaps: a bright pixel where black was sure is hundreds of deviations away, and networks
further on are given that. There is no weight norm. x is not put through a logit, so that the latents are of the same
numbers as those of the other flows here. The networks have as many channels at every scale.
"""

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.density import Flow
from immature_ood.models._glow import squeeze, unsqueeze
from immature_ood.models.realnvp import Config

__all__ = ["Coupling", "RealNVP", "Residual", "Scale"]

ALTERNATING = 3  # couplings of each kind in a scale
LAST = 4  # of the checkerboard in the last scale
BOUND = 2.0  # of the log-scale of one coupling


class Residual(nn.Module):
    """h + conv(relu(norm(conv(relu(norm(h)))))): (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(2))
        self.first = convolution(channels, channels, generator)
        self.second = convolution(channels, channels, generator)

    def forward(self, h: Tensor) -> Tensor:
        within = self.first(F.relu(self.norms[0](h)))
        return cast(Tensor, h + self.second(F.relu(self.norms[1](within))))


class Coupling(nn.Module):
    """Affine coupling, eq. 9: y = b ⊙ x + (1 − b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)).

    Shapes: (N, C, H, W) → (N, C, H, W); kept, the mask b, of ones and zeros, of a shape that broadcasts to (C, H, W).
    The network puts out h and t, zero at first, and s = BOUND · tanh(h / BOUND), for which the paper learns the bound.
    """

    kept: Tensor

    def __init__(self, channels: int, kept: Tensor, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        hidden = config.hidden_channels
        self.register_buffer("kept", kept, persistent=False)
        self.first = convolution(channels, hidden, generator)
        self.residual = nn.Sequential(*(Residual(hidden, generator) for _ in range(config.residual_blocks)))
        self.norm = nn.GroupNorm(1, hidden)
        self.last = nn.utils.skip_init(nn.Conv2d, hidden, 2 * channels, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x → (y, log-determinant (N,))."""
        log_scale, shift = self._affine(x)
        return x * torch.exp(log_scale) + shift, log_scale.sum(dim=(1, 2, 3))

    def inverse(self, y: Tensor) -> Tensor:
        log_scale, shift = self._affine(y)
        return (y - shift) * torch.exp(-log_scale)

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(1 − b) ⊙ s and (1 − b) ⊙ t, of x or of y, which b ⊙ does not tell apart."""
        features = self.residual(self.first(self.kept * x))
        h, shift = self.last(F.relu(self.norm(features))).chunk(2, dim=1)
        changed = 1 - self.kept
        return changed * BOUND * torch.tanh(h / BOUND), changed * shift


class Scale(nn.Module):
    """Couplings of a checkerboard, and in all scales but the last a squeeze and couplings of channels.

    Shapes: (C, H, W) → (4C, H/2, W/2), in the last scale → (C, H, W).
    """

    checkerboard: Sequence[Coupling]
    channelwise: Sequence[Coupling]

    def __init__(self, shape: tuple[int, int, int], config: Config, generator: torch.Generator, *, last: bool) -> None:
        super().__init__()
        self.last = last
        squares = masks(checkerboard(*shape[1:]), LAST if last else ALTERNATING)
        halves = masks(every_second_channel(4 * shape[0]), 0 if last else ALTERNATING)
        of_squares = (Coupling(shape[0], kept, config, generator) for kept in squares)
        self.checkerboard = cast(Sequence[Coupling], nn.ModuleList(of_squares))
        of_halves = (Coupling(4 * shape[0], kept, config, generator) for kept in halves)
        self.channelwise = cast(Sequence[Coupling], nn.ModuleList(of_halves))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x → (z, log-determinants (N,))."""
        z, total = through(self.checkerboard, x)
        if self.last:
            return z, total
        z, log_det = through(self.channelwise, squeeze(z))
        return z, total + log_det

    def inverse(self, z: Tensor) -> Tensor:
        if not self.last:
            z = unsqueeze(back(self.channelwise, z))
        return back(self.checkerboard, z)


class RealNVP(Flow):
    """`scales` scales with standard normal latents, which are taken out between two of them."""

    scales: Sequence[Scale]

    def __init__(self, config: Config, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(shape)
        if faults := [*config.faults(shape)]:
            raise ValueError(f"Real NVP: {faults[0]}")
        channels, height, width = shape
        # Scale i is of 2^i times the channels of an image, and puts out four times as many, half of which go on.
        shapes = [(channels * 2**i, height // 2**i, width // 2**i) for i in range(config.scales)]
        lasts = [i == config.scales - 1 for i in range(config.scales)]
        scales = (Scale(s, config, generator, last=last) for s, last in zip(shapes, lasts, strict=True))
        self.scales = cast(Sequence[Scale], nn.ModuleList(scales))
        self.latent_shapes = [*shapes[1:], shapes[-1]]

    def log_prob_and_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x) (N,) and the last latent z (N, C, H, W)."""
        parts, total = self.encode(x)
        density = sum(normal_log_prob(part.flatten(1)) for part in parts)
        return total + density - self.dimensions * math.log(256), parts[-1]

    def encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """x (N, C, H, W) → the latents of each scale, first scale first, and the log-determinant (N,)."""
        z, parts, total = x, [], x.new_zeros(len(x))
        for scale in self.scales:
            z, log_det = scale(z)
            total = total + log_det
            if not scale.last:
                z, taken = z[:, 0::2], z[:, 1::2]
                parts.append(taken)
        return [*parts, z], total

    def decode(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse: the latents of each scale → x (N, C, H, W)."""
        *taken, z = parts
        z = self.scales[-1].inverse(z)
        for scale, part in zip(reversed(self.scales[:-1]), reversed(taken), strict=True):
            z = scale.inverse(torch.stack([z, part], dim=2).flatten(1, 2))
        return z

    def latents(self, x: Tensor) -> Tensor:
        """See Flow.latents: those that are taken out, first scale first, then the last."""
        return torch.cat([part.flatten(1) for part in self.encode(x)[0]], dim=1)

    def from_latents(self, latents: Tensor) -> Tensor:
        """See Flow.from_latents."""
        parts = latents.split([math.prod(shape) for shape in self.latent_shapes], dim=1)
        return self.decode([part.unflatten(1, shape) for part, shape in zip(parts, self.latent_shapes, strict=True)])

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """See Flow.prior_log_prob: standard normal."""
        return normal_log_prob(latents)

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample; temperature multiplies every latent."""
        latents = temperature * torch.randn(number, self.dimensions, generator=generator)
        return self.from_latents(self.taken(latents))


def through(couplings: Sequence[Coupling], z: Tensor) -> tuple[Tensor, Tensor]:
    """z (N, C, H, W) after all couplings, and their log-determinants (N,)."""
    total = z.new_zeros(len(z))
    for coupling in couplings:
        z, log_det = coupling(z)
        total = total + log_det
    return z, total


def back(couplings: Sequence[Coupling], z: Tensor) -> Tensor:
    """The inverse of through: (N, C, H, W) → (N, C, H, W)."""
    for coupling in reversed(couplings):
        z = coupling.inverse(z)
    return z


def masks(first: Tensor, number: int) -> Iterator[Tensor]:
    """The mask of each of so many couplings: first, what it leaves out, first again, and so on."""
    return (1 - first if place % 2 else first for place in range(number))


def checkerboard(height: int, width: int) -> Tensor:
    """(1, H, W): one where row and column are both even or both odd, else zero."""
    return 1 - ((torch.arange(height)[:, None] + torch.arange(width)) % 2).float()[None]


def every_second_channel(channels: int) -> Tensor:
    """(C, 1, 1): one for the even channels, else zero."""
    return 1 - (torch.arange(channels) % 2).float()[:, None, None]


def convolution(channels_in: int, channels_out: int, generator: torch.Generator) -> nn.Conv2d:
    """3×3, "same" zero padding; weights start normal with variance 2 / inputs (He et al. 2015), biases at zero."""
    conv = nn.utils.skip_init(nn.Conv2d, channels_in, channels_out, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(conv.bias)
    return conv


def normal_log_prob(z: Tensor) -> Tensor:
    """Σ log N(z; 0, 1), in nats: (N, D) → (N,)."""
    return -0.5 * (z**2 + math.log(2 * math.pi)).sum(dim=1)
