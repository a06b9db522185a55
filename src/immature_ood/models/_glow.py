"""Glow (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039), in the form of its public PyTorch versions.

An image goes through L blocks: squeeze, K flow steps, split. The density is that of the Gaussian latents times the
Jacobians on the way. A flow step is actnorm, an invertible 1×1 convolution and an affine coupling. Actnorms are folded
into the convolution beside them, which changes nothing but the cost.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.density import Flow, Network
from immature_ood.models.glow import Config

__all__ = [
    "ActNorm",
    "Block",
    "Coupling",
    "FlowStep",
    "Glow",
    "InvertibleConv",
    "NormalisedConv",
    "Split",
    "ZeroConv",
]

SMALLEST_DEVIATION = 1e-6  # of a channel at initialisation, so that a constant channel stays finite
ZERO_CONV_SCALE = 3.0  # the factor of `logs` in a zero-initialised convolution


class ActNorm(nn.Module):
    """y = exp(logs) ⊙ (x + bias), per channel: zero mean and unit variance on the initialising batch.

    Shapes: x, y (N, C, H, W); bias, logs (C, 1, 1). Log-determinant: H·W·Σ logs.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(channels, 1, 1))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(self.logs) * (x + self.bias)

    def inverse(self, y: Tensor) -> Tensor:
        return torch.exp(-self.logs) * y - self.bias

    @torch.no_grad()
    def initialise(self, x: Tensor) -> Tensor:
        """Sets bias and logs from x (N, C, H, W); returns the normalised x."""
        deviation, mean = torch.std_mean(x, dim=(0, 2, 3), correction=0)
        self.bias.copy_(-mean[:, None, None])
        self.logs.copy_(-torch.log(deviation.clamp_min(SMALLEST_DEVIATION))[:, None, None])
        self.initialised.fill_(True)
        return self(x)


class InvertibleConv(nn.Module):
    """1×1 convolution with W = P·L·U, P fixed, L unit lower triangular, diag U = sign_s·exp(log_s).

    Shapes: (N, C, H, W) → (N, C, H, W); W (C, C). Log-determinant: H·W·Σ log_s. It starts as a random rotation.
    """

    permutation: Tensor
    sign_s: Tensor

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64))
        permutation, lower, upper = torch.linalg.lu(rotation)
        s = torch.diagonal(upper)
        self.register_buffer("permutation", permutation.float())
        self.register_buffer("sign_s", torch.sign(s).float())
        self.lower = nn.Parameter(torch.tril(lower, -1).float())
        self.log_s = nn.Parameter(torch.log(torch.abs(s)).float())
        self.upper = nn.Parameter(torch.triu(upper, 1).float())

    def weight(self) -> Tensor:
        """W, (C, C)."""
        lower = torch.tril(self.lower, -1) + torch.eye(
            len(self.log_s), dtype=self.lower.dtype, device=self.lower.device
        )
        upper = torch.triu(self.upper, 1) + torch.diag(self.sign_s * torch.exp(self.log_s))
        return self.permutation @ lower @ upper

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight()[:, :, None, None])

    def inverse(self, y: Tensor) -> Tensor:
        inverse = torch.linalg.inv(self.weight().double()).to(y.dtype)
        return F.conv2d(y, inverse[:, :, None, None])


class NormalisedConv(nn.Module):
    """Convolution without bias, followed by actnorm; the scale and bias are folded into the convolution.

    Shapes: (N, C_in, H, W) → (N, C_out, H, W), "same" zero padding.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel, kernel))
        nn.init.normal_(self.weight, std=0.05, generator=generator)
        self.actnorm = ActNorm(channels_out)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.exp(self.actnorm.logs)
        weight, bias = scale[..., None] * self.weight, (scale * self.actnorm.bias).flatten()
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), padding=self.padding)

    def initialise(self, x: Tensor) -> Tensor:
        """Initialises the actnorm from its input; returns the output."""
        return self.actnorm.initialise(F.conv2d(x, self.weight, padding=self.padding))


class ZeroConv(nn.Module):
    """3×3 convolution times exp(3·logs), zero at initialisation, so that a coupling starts as a constant.

    Shapes: (N, C_in, H, W) → (N, C_out, H, W), "same" zero padding.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels_out, channels_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.logs = nn.Parameter(torch.zeros(channels_out, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.exp(ZERO_CONV_SCALE * self.logs)
        weight, bias = scale[..., None] * self.weight, scale.flatten() * self.bias
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), padding=1)


class Coupling(Network):
    """Affine coupling: z₂ ← (z₂ + t(z₁)) ⊙ sigmoid(s(z₁) + 2), z₁ unchanged.

    Shapes: (N, C, H, W) → (N, C, H, W), z₁ the first C // 2 channels. t and s are interleaved in the channels that the
    network (conv 3×3, 1×1, 3×3) puts out. The network computes in `network_dtype`, by default z's own.
    """

    def __init__(self, channels: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kept = channels // 2
        self.first = NormalisedConv(self.kept, hidden, 3, generator)
        self.second = NormalisedConv(hidden, hidden, 1, generator)
        self.last = ZeroConv(hidden, 2 * (channels - self.kept))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z → (z', log-determinant (N,))."""
        z1, z2 = z[:, : self.kept], z[:, self.kept :]
        shift, log_scale = self._affine(z1)
        z2 = (z2 + shift) * torch.exp(log_scale)
        return torch.cat([z1, z2], dim=1), log_scale.sum(dim=(1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        z1, z2 = z[:, : self.kept], z[:, self.kept :]
        shift, log_scale = self._affine(z1)
        return torch.cat([z1, z2 * torch.exp(-log_scale) - shift], dim=1)

    def initialise(self, z: Tensor) -> Tensor:
        """Initialises the actnorms of the network; returns the coupling's output."""
        hidden = F.relu(self.first.initialise(z[:, : self.kept]))
        self.second.initialise(hidden)
        return self(z)[0]

    def _affine(self, z1: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.first(z1.to(self.network_dtype or z1.dtype)))
        h = self.last(F.relu(self.second(h))).to(z1.dtype)
        return h[:, 0::2], F.logsigmoid(h[:, 1::2] + 2.0)


class FlowStep(nn.Module):
    """Actnorm, invertible 1×1 convolution, affine coupling: (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.mixing = InvertibleConv(channels, generator)
        self.coupling = Coupling(channels, hidden, generator)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z → (z', log-determinant (N,)); actnorm and mixing are one convolution, W e ⊙ (z + b)."""
        positions = z.shape[2] * z.shape[3]
        weight = self.mixing.weight() * torch.exp(self.actnorm.logs).flatten()
        bias = weight @ self.actnorm.bias.flatten()
        z, log_det = self.coupling(F.conv2d(z, weight[:, :, None, None], bias))
        return z, log_det + positions * (self.actnorm.logs.sum() + self.mixing.log_s.sum())

    def inverse(self, z: Tensor) -> Tensor:
        return self.actnorm.inverse(self.mixing.inverse(self.coupling.inverse(z)))

    def initialise(self, z: Tensor) -> Tensor:
        """Initialises all actnorms from the step's input; returns its output."""
        return self.coupling.initialise(self.mixing(self.actnorm.initialise(z)))


class Split(nn.Module):
    """Takes half of the channels out as latents, with a Gaussian prior given the other half (Split2d).

    Shapes: (N, C, H, W) → (N, C // 2, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kept = channels // 2
        self.prior = ZeroConv(self.kept, 2 * (channels - self.kept))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z → (z₁, log p(z₂ | z₁) (N,))."""
        z1, z2 = z[:, : self.kept], z[:, self.kept :]
        return z1, gaussian_log_prob(z2, self.prior(z1))

    def inverse(self, z1: Tensor, noise: Tensor) -> Tensor:
        """z₁ and standard normal noise of z₂'s shape → z."""
        return torch.cat([z1, gaussian_sample(noise, self.prior(z1))], dim=1)

    def noise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z → (z₁, the standard normal noise that stands for z₂), the inverse of inverse."""
        z1, z2 = z[:, : self.kept], z[:, self.kept :]
        return z1, gaussian_noise(z2, self.prior(z1))


class Block(nn.Module):
    """Squeeze, K flow steps, and, but for the last block, a split: (N, C, H, W) → (N, 2C or 4C, H/2, W/2)."""

    steps: Sequence[FlowStep]

    def __init__(self, channels: int, config: Config, generator: torch.Generator, *, last: bool) -> None:
        super().__init__()
        steps = (FlowStep(4 * channels, config.hidden_channels, generator) for _ in range(config.steps))
        self.steps = cast(Sequence[FlowStep], nn.ModuleList(steps))
        self.split = None if last else Split(4 * channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x → (z, log-determinants of the steps plus log-density of the latents taken out (N,))."""
        z, total = self.flow(x)
        if self.split is None:
            return z, total
        z, log_prob = self.split(z)
        return z, total + log_prob

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x → (z before the split, log-determinants of the steps (N,))."""
        z, total = squeeze(x), x.new_zeros(())
        for step in self.steps:
            z, log_det = step(z)
            total = total + log_det
        return z, total

    def inverse(self, z: Tensor, noise: Tensor | None) -> Tensor:
        """z and, where there is a split, standard normal noise for the latents it took out → x."""
        if self.split is not None and noise is not None:
            z = self.split.inverse(z, noise)
        for step in reversed(self.steps):
            z = step.inverse(z)
        return unsqueeze(z)

    def initialise(self, x: Tensor) -> Tensor:
        """Initialises all actnorms from the block's input; returns its output."""
        z = squeeze(x)
        for step in self.steps:
            z = step.initialise(z)
        return z if self.split is None else self.split(z)[0]


class Glow(Flow):
    """L blocks of K flow steps, with a learned Gaussian prior of the last latent."""

    dead_layers = frozenset({"top.weight"})  # a convolution of zeros
    blocks: Sequence[Block]

    def __init__(self, config: Config, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(shape)
        channels, height, width = shape
        factor = 2**config.blocks
        if height % factor or width % factor:
            raise ValueError(
                f"Glow with {config.blocks} blocks needs sides divisible by {factor}, got {height}×{width}"
            )
        lasts = [i == config.blocks - 1 for i in range(config.blocks)]
        blocks = (Block(channels * 2**i, config, generator, last=last) for i, last in enumerate(lasts))
        self.blocks = cast(Sequence[Block], nn.ModuleList(blocks))
        # Block i of L has 2·C·2^i of its 4·C·2^i channels split off; the last keeps all.
        widths = [channels * 2 ** (i + (2 if last else 1)) for i, last in enumerate(lasts)]
        self.latent_shapes = [(w, height // 2 ** (i + 1), width // 2 ** (i + 1)) for i, w in enumerate(widths)]
        self.top = ZeroConv(2 * widths[-1], 2 * widths[-1])

    def log_prob_and_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x) (N,) and the last latent z (N, C, H, W)."""
        z, log_prob = self.encode(x)
        return log_prob + gaussian_log_prob(z, self._top_prior()), z

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W) → the last latent z, and log p(x) without the log-density of z, (N,)."""
        z, total = x, x.new_zeros(len(x)) - self.dimensions * math.log(256)
        for block in self.blocks:
            z, log_prob = block(z)
            total = total + log_prob
        return z, total

    def decode(self, z: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """The last latent z and the standard normal noise of each split, first block first → x (N, C, H, W)."""
        for block, own_noise in zip(reversed(self.blocks), [None, *reversed(noise)], strict=True):
            z = block.inverse(z, own_noise)
        return z

    def latents(self, x: Tensor) -> Tensor:
        """See Flow.latents: those that the splits take out, first block first, then the last, standardised."""
        z, taken = x, []
        for block in self.blocks:
            z, _ = block.flow(z)
            if block.split is not None:
                z, noise = block.split.noise(z)
                taken.append(noise)
        return torch.cat([part.flatten(1) for part in (*taken, gaussian_noise(z, self._top_prior()))], dim=1)

    def from_latents(self, latents: Tensor) -> Tensor:
        """See Flow.from_latents."""
        parts = latents.split([math.prod(shape) for shape in self.latent_shapes], dim=1)
        *noise, top = (part.unflatten(1, shape) for part, shape in zip(parts, self.latent_shapes, strict=True))
        return self.decode(gaussian_sample(top, self._top_prior()), noise)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """See Flow.prior_log_prob: standard normal."""
        return -0.5 * (latents**2 + math.log(2 * math.pi)).sum(dim=1)

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample; temperature multiplies the deviation of every latent."""
        *noise, top = (
            temperature * torch.randn(number, *shape, generator=generator).to(self.top.weight)
            for shape in self.latent_shapes
        )
        return self.decode(gaussian_sample(top, self._top_prior()), noise)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Data-dependent initialisation of every actnorm, in the order of the data's way."""
        for block in self.blocks:
            x = block.initialise(x)

    def _top_prior(self) -> Tensor:
        channels, height, width = self.latent_shapes[-1]
        return self.top(self.top.weight.new_zeros(1, 2 * channels, height, width))


def squeeze(x: Tensor) -> Tensor:
    """Each 2×2 square of positions becomes channels: (N, C, H, W) → (N, 4C, H/2, W/2)."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def unsqueeze(z: Tensor) -> Tensor:
    """The inverse of squeeze: (N, 4C, H, W) → (N, C, 2H, 2W)."""
    n, c, h, w = z.shape
    return z.reshape(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


def gaussian_log_prob(z: Tensor, prior: Tensor) -> Tensor:
    """Σ log N(z; mean, exp(logs)²), in nats: z (N, C, H, W), prior (N or 1, 2C, H, W) alternates them → (N,)."""
    mean, logs = prior[:, 0::2], prior[:, 1::2]
    density = -0.5 * ((z - mean) ** 2 * torch.exp(-2.0 * logs) + math.log(2 * math.pi)) - logs
    return density.sum(dim=(1, 2, 3))


def gaussian_noise(z: Tensor, prior: Tensor) -> Tensor:
    """The inverse of gaussian_sample: (z − mean)·exp(−logs)."""
    mean, logs = prior[:, 0::2], prior[:, 1::2]
    return (z - mean) * torch.exp(-logs)


def gaussian_sample(noise: Tensor, prior: Tensor) -> Tensor:
    """mean + exp(logs)·noise; shapes as in gaussian_log_prob."""
    mean, logs = prior[:, 0::2], prior[:, 1::2]
    return mean + torch.exp(logs) * noise
