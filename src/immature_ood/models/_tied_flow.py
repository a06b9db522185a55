"""A flow of one MLP coupling that every step uses: the grey model of the code released with arXiv 2502.00820.

    z₀ = u·(x + 0.5),  z_{k+1} = coupling_{k mod 2}(V (w ⊙ z_k + b))  for k = 0 … steps − 1,
    log p(x) = Σ logistic(z_steps) + steps·H·W·(Σ log |w| + log |det V|) + Σ_k log-det of coupling k − D·log (256 / u),

where u is 1, or with `unit_range` 256 / 255, so that of pixels without noise z₀ is pixels / 255, as in that code.
All steps share all parameters; only the halves of the pixels change places. It computes in float64, whose range the
powers of w V need. The released code adds 1 to the log-determinant of every step; it is left out here, for it has no
gradient and moves log p of every image by `steps` nats.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from immature_ood.density import Flow
from immature_ood.models.tied_flow import Config

__all__ = ["Coupling", "Mixing", "Rescaling", "TiedFlow"]

DTYPE = torch.float64


class Rescaling(nn.Module):
    """y = weight ⊙ x + bias, per channel, an actnorm that starts at random instead of from data.

    Shapes: x, y (N, C, H, W); weight, bias (C, 1, 1). Log-determinant: H·W·Σ log |weight|.
    """

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 1, 1, generator=generator, dtype=DTYPE))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1, dtype=DTYPE))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x + self.bias

    def inverse(self, y: Tensor) -> Tensor:
        return (y - self.bias) / self.weight


class Mixing(nn.Module):
    """1×1 convolution with a plain matrix V, without bias; of grey images a scalar.

    Shapes: (N, C, H, W) → (N, C, H, W); V (C, C). Log-determinant: H·W·log |det V|.
    """

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, dtype=DTYPE))
        nn.init.xavier_uniform_(self.weight, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None])

    def inverse(self, y: Tensor) -> Tensor:
        return F.conv2d(y, torch.linalg.inv(self.weight)[:, :, None, None])


class Coupling(nn.Module):
    """Affine coupling of every second number: x₁ ← x₁ ⊙ exp(tanh(s(x₀))) + t(x₀), x₀ unchanged.

    Shapes: (N, D) → (N, D). x₀ is x with zeros at the odd places (parity 0) or at the even ones (parity 1). s and t
    are networks of `hidden_layers` + 2 linear layers with ReLUs between them.
    """

    even: Tensor

    def __init__(self, dimensions: int, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        widths = [dimensions, *[config.hidden_features] * (config.hidden_layers + 1), dimensions]
        self.scale = network(widths, generator)
        self.shift = network(widths, generator)
        self.register_buffer("even", (torch.arange(dimensions) % 2 == 0).to(DTYPE), persistent=False)

    def forward(self, x: Tensor, parity: int) -> tuple[Tensor, Tensor]:
        """x → (y, log-determinant (N,))."""
        changed, x0 = self._parts(x, parity)
        log_scale = changed * torch.tanh(self.scale(x0))
        y = x0 + changed * (x * torch.exp(log_scale) + self.shift(x0))
        return y, log_scale.sum(dim=1)

    def inverse(self, y: Tensor, parity: int) -> Tensor:
        changed, y0 = self._parts(y, parity)
        return y0 + changed * ((y - self.shift(y0)) * torch.exp(-torch.tanh(self.scale(y0))))

    def _parts(self, x: Tensor, parity: int) -> tuple[Tensor, Tensor]:
        """The mask (D,) of the places that change, and x (N, D) with zeros there."""
        changed = self.even if parity else 1 - self.even
        return changed, (1 - changed) * x


class TiedFlow(Flow):
    """`steps` times the same rescaling, 1×1 convolution and coupling, with a standard logistic prior."""

    def __init__(self, config: Config, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(shape)
        self.steps = config.steps
        self.unit = 256 / 255 if config.unit_range else 1.0
        self.rescaling = Rescaling(shape[0], generator)
        self.mixing = Mixing(shape[0], generator)
        self.coupling = Coupling(self.dimensions, config, generator)

    def log_prob_and_latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x) (N,) and the latent z (N, C, H, W)."""
        z, log_prob = self.encode(x)
        return log_prob + logistic_log_prob(z), z

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W) → the latent z, and log p(x) without the log-density of z, (N,)."""
        z = self.unit * (x.to(self.mixing.weight.dtype) + 0.5)
        total = self.steps * self._linear_log_det() - self.dimensions * math.log(256 / self.unit)
        for parity in self._parities():
            z, log_det = self.coupling(self.mixing(self.rescaling(z)).flatten(1), parity)
            z, total = z.unflatten(1, self.shape), total + log_det
        return z, total

    def decode(self, z: Tensor) -> Tensor:
        """The latent z (N, C, H, W) → x."""
        for parity in reversed([*self._parities()]):
            z = self.coupling.inverse(z.flatten(1), parity).unflatten(1, self.shape)
            z = self.rescaling.inverse(self.mixing.inverse(z))
        return z / self.unit - 0.5

    def latents(self, x: Tensor) -> Tensor:
        """See Flow.latents."""
        return self.encode(x)[0].flatten(1)

    def from_latents(self, latents: Tensor) -> Tensor:
        """See Flow.from_latents."""
        return self.decode(latents.unflatten(1, self.shape))

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """See Flow.prior_log_prob: standard logistic."""
        return logistic_log_prob(latents.unflatten(1, self.shape))

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample; temperature multiplies every latent."""
        uniform = torch.rand(number, *self.shape, generator=generator, dtype=DTYPE)
        z = temperature * torch.logit(uniform, eps=2**-53)  # not at 0, where it is infinite
        return self.decode(z.to(self.mixing.weight))

    def _parities(self) -> Iterator[int]:
        """Which places each step keeps: 0 the even ones, 1 the odd ones."""
        return (step % 2 for step in range(self.steps))

    def _linear_log_det(self) -> Tensor:
        """H·W·(Σ log |w| + log |det V|), of the rescaling and the 1×1 convolution of one step."""
        _, height, width = self.shape
        log_det = torch.linalg.slogdet(self.mixing.weight).logabsdet
        return height * width * (torch.log(torch.abs(self.rescaling.weight)).sum() + log_det)


def network(widths: list[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers from each width to the next, with ReLUs between them: (N, widths[0]) → (N, widths[-1])."""
    first, *others = (linear(*pair, generator) for pair in pairwise(widths))
    return nn.Sequential(first, *(module for layer in others for module in (nn.ReLU(), layer)))


def linear(features_in: int, features_out: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer that starts as torch's own, uniform in ±1/√features_in, but drawn from the generator."""
    layer = nn.utils.skip_init(nn.Linear, features_in, features_out, dtype=DTYPE)
    bound = 1 / math.sqrt(features_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def logistic_log_prob(z: Tensor) -> Tensor:
    """Σ log of the standard logistic density, −softplus(z) − softplus(−z), in nats: z (N, C, H, W) → (N,)."""
    return (F.logsigmoid(z) + F.logsigmoid(-z)).sum(dim=(1, 2, 3))
