"""A gated PixelCNN with the distribution of PixelCNN++ (Salimans et al. 2017, https://arxiv.org/abs/1701.05517).

The probability of an 8-bit image is exact: pixels are read row by row, each given those before it,

    log p(x) = Σ_{h,w} log Σ_k π_k Π_c P(x_c; μ_ck, s_ck),

where π, μ and s are what the network puts out at (h, w), P is a logistic distribution discretised to 256 levels, and
μ_ck depends linearly on the channels before c (eq. 3). Pixels x are scaled to [−1, 1] here.

Two stacks see what is before a pixel (van den Oord et al. 2016, https://arxiv.org/abs/1606.05328): a vertical one the
rows above, a horizontal one the row to the left, and both through the vertical one. They do so by padding and shifting
plain convolutions, as in PixelCNN++, so that no weight is masked. A block is gated and residual:

    h ← h + a ⊙ sigmoid(b),  (a, b) = conv(elu(conv(elu(h)) + link(elu(v)))),

with v the vertical stack, which the horizontal one alone is linked to. It differs from PixelCNN++ so: one resolution,
without downsampling and skips, elu instead of its pair elu(h), elu(−h), no dropout and no weight norm.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.density import DensityModel
from immature_ood.models._logistic import discretised_logistic
from immature_ood.models.pixelcnn import Config

__all__ = ["Gated", "Mixture", "PixelCNN", "Shifted", "log_probability"]

LEVELS = 256
HALF_LEVEL = 1 / (LEVELS - 1)  # of pixels scaled to [−1, 1]
LOWEST_LOG_SCALE = -7.0  # as in PixelCNN++, where it cuts off; here it is neared smoothly
FIRST_LOG_SCALE = -2.0

VERTICAL = (2, 3), (1, 1, 1, 0)  # kernel; padding left, right, top, bottom: rows i − 1 and i, columns j − 1 … j + 1
HORIZONTAL = (2, 2), (1, 0, 1, 0)  # rows i − 1 and i, columns j − 1 and j
ABOVE = (2, 3), (1, 1, 2, -1)  # the first vertical one, a row down: rows i − 2 and i − 1
BEFORE = (2, 2), (2, -1, 1, 0)  # the first horizontal one, a column right: columns j − 2 and j − 1
Window = tuple[tuple[int, int], tuple[int, int, int, int]]


class Shifted(nn.Module):
    """A convolution whose output (i, j) sees what its window says: (N, C_in, H, W) → (N, C_out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, window: Window, generator: torch.Generator) -> None:
        super().__init__()
        kernel, self.padding = window
        self.convolution = convolution(channels_in, channels_out, kernel, generator)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.convolution(F.pad(x, self.padding)))


class Gated(nn.Module):
    """One block of a stack: h (N, C, H, W) and, if it is linked, that of the other stack → (N, C, H, W)."""

    def __init__(self, channels: int, window: Window, generator: torch.Generator, *, linked: bool = False) -> None:
        super().__init__()
        self.first = Shifted(channels, channels, window, generator)
        self.link = convolution(channels, channels, (1, 1), generator) if linked else None
        self.second = Shifted(channels, 2 * channels, window, generator)

    def forward(self, h: Tensor, other: Tensor | None = None) -> Tensor:
        within = self.first(F.elu(h))
        if self.link is not None and other is not None:
            within = within + self.link(F.elu(other))
        a, b = self.second(F.elu(within)).chunk(2, dim=1)
        return h + a * torch.sigmoid(b)


class Mixture(NamedTuple):
    """The distribution of every pixel given those before it: mixtures of K logistics of C channels.

    logits: (N, K, H, W). means, log_scales: (N, C, K, H, W). slopes: (N, C (C − 1) / 2, K, H, W), of how the mean of
    a channel depends on each before it, in the order of `pairs`.
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    slopes: Tensor

    def given(self, pixels: Tensor) -> Tensor:
        """The means (N, C, K, H, W) given the channels before each, of pixels (N, C, H, W) in [−1, 1]."""
        means = [*self.means.unbind(dim=1)]
        for (earlier, later), slope in zip(pairs(len(means)), self.slopes.unbind(dim=1), strict=True):
            means[later] = means[later] + slope * pixels[:, earlier, None]
        return torch.stack(means, dim=1)

    def log_prob(self, pixels: Tensor) -> Tensor:
        """The log-probability of each pixel, in nats: (N, C, H, W) in [−1, 1] → (N, H, W)."""
        of_channels = log_probability(pixels[:, :, None], self.given(pixels), self.log_scales)
        return torch.logsumexp(F.log_softmax(self.logits, dim=1) + of_channels.sum(dim=1), dim=1)

    def at(self, row: int, column: int) -> "Mixture":
        """That of one place, which stays an image of one row and one column."""
        return Mixture(*(each[..., row : row + 1, column : column + 1] for each in self))

    def draw(self, gumbel: Tensor, logistic: Tensor) -> Tensor:
        """Pixels (N, C, H, W) in [−1, 1] of one of the 256 levels.

        gumbel: (N, K, H, W), noise that chooses a logistic. logistic: (N, C, H, W), noise of the chosen one.
        """
        chosen = (self.logits + gumbel).argmax(dim=1)[:, None, None]
        scales = torch.take_along_dim(self.log_scales, chosen, dim=2)[:, :, 0].exp()
        pixels = torch.zeros_like(logistic)
        for channel in range(pixels.shape[1]):
            mean = torch.take_along_dim(self.given(pixels), chosen, dim=2)[:, channel, 0]
            pixels[:, channel] = nearest_level(mean + scales[:, channel] * logistic[:, channel])
        return pixels


class PixelCNN(DensityModel):
    """Two stacks of `blocks` gated blocks, and a 1×1 convolution that puts out each pixel's mixture of logistics."""

    vertical: Sequence[Gated]
    horizontal: Sequence[Gated]

    def __init__(self, config: Config, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(shape)
        hidden, channels, self.logistics = config.hidden_channels, shape[0], config.logistics
        self.rows_above = 2 * config.blocks + 3
        self.above = Shifted(channels + 1, hidden, ABOVE, generator)
        self.before = Shifted(channels + 1, hidden, BEFORE, generator)
        vertical = (Gated(hidden, VERTICAL, generator) for _ in range(config.blocks))
        self.vertical = cast(Sequence[Gated], nn.ModuleList(vertical))
        horizontal = (Gated(hidden, HORIZONTAL, generator, linked=True) for _ in range(config.blocks))
        self.horizontal = cast(Sequence[Gated], nn.ModuleList(horizontal))
        self.parts = (1, channels, channels, len([*pairs(channels)]))
        self.head = convolution(hidden, sum(self.parts) * self.logistics, (1, 1), generator)
        self._spread()

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log-probability of the 8-bit images, in nats: (N, C, H, W) in [−0.5, 0.5), of any noise → (N,)."""
        pixels = torch.floor((x + 0.5) * LEVELS).clamp(0, LEVELS - 1) * (2 * HALF_LEVEL) - 1
        return self.mixture(pixels).log_prob(pixels).sum(dim=(1, 2))

    def mixture(self, pixels: Tensor) -> Mixture:
        """The distribution of every pixel given those before it: (N, C, H, W) in [−1, 1]."""
        parts = self.head(F.elu(self._stacks(pixels))).unflatten(1, (-1, self.logistics)).split(self.parts, dim=1)
        logits, means, log_scales, slopes = parts
        log_scales = LOWEST_LOG_SCALE + F.softplus(log_scales - LOWEST_LOG_SCALE)
        return Mixture(logits[:, 0], means, log_scales, torch.tanh(slopes))

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample; a pass of the network for each pixel, of the rows that it sees.

        temperature multiplies the noise that chooses a logistic of the mixture and that of the logistic itself.
        """
        channels, height, width = self.shape
        uniform = torch.rand(number, self.logistics + channels, height, width, generator=generator, dtype=torch.float64)
        uniform = uniform.clamp(2**-53, 1 - 2**-53)  # not at the ends, where noise is infinite
        gumbel = self.taken(-temperature * torch.log(-torch.log(uniform[:, : self.logistics])))
        logistic = self.taken(temperature * torch.logit(uniform[:, self.logistics :]))
        pixels = torch.zeros_like(logistic)
        for row, column in product(range(height), range(width)):
            top, place = max(0, row - self.rows_above), (..., slice(row, row + 1), slice(column, column + 1))
            mixture = self.mixture(pixels[:, :, top : row + 1]).at(row - top, column)
            pixels[place] = mixture.draw(gumbel[place], logistic[place])
        return ((pixels + 1) / (2 * HALF_LEVEL) + 0.5) / LEVELS - 0.5

    def _stacks(self, pixels: Tensor) -> Tensor:
        """What the horizontal stack puts out, (N, hidden_channels, H, W); a channel of ones says where the image is."""
        x = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
        v, h = self.above(x), self.before(x)
        for vertical, horizontal in zip(self.vertical, self.horizontal, strict=True):
            v = vertical(v)
            h = horizontal(h, v)
        return h

    @torch.no_grad()
    def _spread(self) -> None:
        """The logistics start side by side, with means evenly spread over the grey levels."""
        _, means, log_scales, _ = cast(Tensor, self.head.bias).unflatten(0, (-1, self.logistics)).split(self.parts)
        means += 2 * (torch.arange(self.logistics) + 0.5) / self.logistics - 1
        log_scales += FIRST_LOG_SCALE


def pairs(channels: int) -> Iterator[tuple[int, int]]:
    """Each channel with each after it."""
    return combinations(range(channels), 2)


def log_probability(pixels: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """log P of pixels of 256 levels in [−1, 1], in nats; shapes broadcast."""
    lower = pixels - means - HALF_LEVEL
    return discretised_logistic(lower, 2 * HALF_LEVEL, log_scales, pixels <= -1, pixels >= 1)


def nearest_level(values: Tensor) -> Tensor:
    """The nearest of the 256 levels in [−1, 1]."""
    return torch.round((values.clamp(-1, 1) + 1) / (2 * HALF_LEVEL)) * (2 * HALF_LEVEL) - 1


def convolution(channels_in: int, channels_out: int, kernel: tuple[int, int], generator: torch.Generator) -> nn.Conv2d:
    """Without padding; weights start normal with variance 1 / inputs, biases at zero."""
    conv = nn.utils.skip_init(nn.Conv2d, channels_in, channels_out, kernel)
    nn.init.normal_(conv.weight, std=1 / math.sqrt(channels_in * math.prod(kernel)), generator=generator)
    nn.init.zeros_(conv.bias)
    return conv
