"""The maths and the network of diffusion.py: a chain of T steps from an image of discrete pixels to noise.

x₀ is the image with its 256 values in (−1, 1), and z₀, …, z_T are ever noisier. With t a step, s = t − 1 and D numbers,

    q(z_t | x₀) = N(α_t x₀, σ_t² I),    α_t² + σ_t² = 1,    λ_t = log α_t² / σ_t², from 12.5 down to −5,
    q(z_s | z_t, x₀) = N(α_s / α_t (z_t − c_t σ_t ε), σ_s² c_t I),    c_t = 1 − exp(λ_t − λ_s) = β_t / σ_t²,

where z_t = α_t x₀ + σ_t ε: Ho et al.'s (2020, arXiv 2006.11239, equations 4 and 6), with α_t² their ᾱ_t. The model has
the network's ε_θ(z_t, t) in the place of ε, which makes the bound (their equations 5 and 8; Kingma et al. 2021, arXiv
2107.00630, equations 11 to 14)

    log P(x) ≥ E log P(x | z₀) − KL(q(z_T | x₀) ‖ N(0, I)) − Σ_t E w_t ‖ε − ε_θ(z_t, t)‖²,
    w_t = (e^{λ_s − λ_t} − 1) / 2.

P(x | z₀) is Ho et al.'s discretised Gaussian (their equation 13) about z₀ / α₀, of deviation σ₀ / α₀, a quarter of a
grey level: with Kingma et al. the network has no part in it, so that no step stands out and the sum may be estimated at
a few t.

The sum is estimated at S steps, one of each S-th of 1…T, unbiased. Where λ falls linearly all w_t are alike: then the
bound *is* Ho et al.'s simple loss, but for constants. So one objective trains and is an honest curve in bits/dim.

    elbo             the bound, nats, estimated at training_times steps,
    bound            the same at bound_times steps: `log_prob`, a lower bound of log P(x) of the 8-bit image up to the
                     estimate's error; and the mean squared errors at these steps, of one number each, denoising_errors,
    denoising_<t>    −w_t ‖ε − ε_θ(z_t, t)‖², that step's term of the bound, nats, with noise that is fixed for an
                     image: the gradients of Dauncey et al. (2024, arXiv 2403.01485) of a diffusion model,
    path             −Σ ‖ε_θ‖² over the deterministic path from x₀ to noise (DDIM, Song et al. 2021, arXiv 2010.02502,
                     run forward): of it path_eps and path_rate, the sums over an image of |ε_θ|^p and |dε_θ / dt|^p,
                     p = 1, 2, 3, t from 0 to 1 (as Heng et al. 2024, arXiv 2405.11881, read it).

The network f is a U-Net of plain layers and gives ε_θ = σ_t z_t + α_t f, so that f is the velocity of Salimans & Ho
(2022, arXiv 2202.00512): at f = 0 the errors are σ₀ to 1 to 0 as noise grows, and no end of the chain is badly scaled.
It is given sines of z_t, too, which show differences far below a grey level (Kingma et al., appendix C). It is written
here, in a few lines, because the `diffusers` library brings a client of a hub along, and layers of its own types.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from immature_ood.density import DensityModel, Evaluated, Objective
from immature_ood.models.diffusion import Config

__all__ = ["Diffusion", "UNet", "decoded_log_prob", "log_snr"]

HIGHEST, LOWEST = 12.5, -5.0  # λ₀ and λ_T
GREY = 2 / 256  # a grey level in (−1, 1)
FREQUENCIES = (4, 6, 8)  # n of sin 2ⁿπz and cos 2ⁿπz, which have 8 to 128 periods in (−1, 1)
POWERS = (1, 2, 3)  # p of the norms along the path
FINEST = 1000.0  # the largest frequency of the time's embedding; the smallest is a 10,000th of it
FIRST_GAIN = 0.1  # of the last convolution: f begins small, but no layer's gradient is zero
LEAST = 1e-30  # of a probability
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Diffusion(DensityModel):
    """A diffusion model; see the top of the file.

    log_snr, alpha, sigma, weight: (T + 1,), λ, α, σ and w of the steps 0…T; w₀ is no step's, and 0.
    exact: the same by name, float64, whatever the model is turned into.
    """

    trained_by = "elbo"
    log_snr: Tensor
    alpha: Tensor
    sigma: Tensor
    weight: Tensor

    def __init__(self, config: Config, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(shape)
        self.config = config
        self.network = UNet(shape[0], config.channels, config.levels, generator)
        self.exact = tables(log_snr(config.schedule, config.steps))
        for name, table in self.exact.items():
            self.register_buffer(name, table, persistent=False)

    def objectives(self) -> Mapping[str, Objective]:
        """See the top of the file."""
        config, numbers = self.config, self.dimensions + 1
        steps = zip(config.scored_by(), config.scored_steps(), strict=True)
        return {
            **{
                name: Objective(name, partial(_denoising, name=name, step=step), noise_shape=(self.dimensions,))
                for name, step in steps
            },
            "elbo": Objective("elbo", Diffusion.elbo, noise_shape=(config.training_times, numbers)),
            "bound": Objective("bound", Diffusion.bound, noise_shape=(config.bound_times, numbers)),
            "path": Objective("path", Diffusion.path),
        }

    @property
    def scored_by(self) -> tuple[str, ...]:
        """See DensityModel.scored_by."""
        return self.config.scored_by()

    def elbo(self, x: Tensor, noise: Any) -> Evaluated:
        """The bound, estimated at S steps: x (N, C, H, W), noise (N, S, 1 + D), of each a time and ε."""
        bound, _ = self.estimated(x, noise)
        return Evaluated(bound, {"elbo": bound})

    def bound(self, x: Tensor, noise: Any) -> Evaluated:
        """The same, with denoising_errors (N, S)."""
        bound, errors = self.estimated(x, noise)
        return Evaluated(bound, {"log_prob": bound, "denoising_errors": errors / self.dimensions})

    def path(self, x: Tensor, noise: Tensor | None) -> Evaluated:
        """path_eps (N, K, 3) and path_rate (N, K − 1, 3) of the K = path_steps steps to noise."""
        eps = [*self.along_path(scaled(pixels_of(x)))]
        sums = torch.stack([sums_of_powers(one) for one in eps], dim=1)
        rates = [(after - before) * len(eps) for before, after in pairwise(eps)]
        rate = torch.stack([sums_of_powers(one) for one in rates], dim=1)
        return Evaluated(-sums[:, :, POWERS.index(2)].sum(dim=1), {"path_eps": sums, "path_rate": rate})

    def estimated(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The bound (N,), nats, and ‖ε − ε_θ‖² (N, S) at the S steps that it is estimated at."""
        pixels, strata = pixels_of(x), noise.unbind(dim=1)
        x0 = scaled(pixels)
        errors, terms = [], []
        for stratum, own in enumerate(strata):
            step, eps = self.step_of(own[:, 0], stratum, len(strata)), own[:, 1:].reshape(x.shape)
            errors.append(self.error(x0, eps, step))
            terms.append(self.at(self.weight, step, x)[:, 0, 0, 0] * errors[-1])
        return (
            self.decoded(pixels, strata[0][:, 1:].reshape(x.shape))
            - self.divergence(x0)
            - self.config.steps / len(strata) * torch.stack(terms).sum(dim=0),
            torch.stack(errors, dim=1),
        )

    def step_of(self, normal: Tensor, stratum: int, strata: int) -> Tensor:
        """Standard normal numbers (N,) → steps, uniform in that one of the equal parts of 1…T."""
        place = (stratum + torch.special.ndtr(normal)) / strata * self.config.steps
        return place.floor().clamp(max=self.config.steps - 1).long() + 1

    def error(self, x0: Tensor, eps: Tensor, step: Tensor) -> Tensor:
        """‖ε − ε_θ(z_t, t)‖², (N,), of the steps t (N,)."""
        z = self.at(self.alpha, step, x0) * x0 + self.at(self.sigma, step, x0) * eps
        return (eps - self.eps(z, step)).square().sum(dim=(1, 2, 3))

    def eps(self, z: Tensor, step: Tensor) -> Tensor:
        """ε_θ(z_t, t) of z (N, C, H, W) and steps (N,)."""
        time = (HIGHEST - self.at(self.log_snr, step, z)[:, 0, 0, 0]) / (HIGHEST - LOWEST)
        return self.at(self.sigma, step, z) * z + self.at(self.alpha, step, z) * self.network(z, time)

    def at(self, table: Tensor, step: Tensor, like: Tensor) -> Tensor:
        """The numbers of steps (N,) in a table, (N, 1, 1, 1)."""
        return table[step].to(like.dtype)[:, None, None, None]

    def number(self, name: str, step: int) -> float:
        """The number of a step in one of the tables."""
        return float(self.exact[name][step])

    def decoded(self, pixels: Tensor, eps: Tensor) -> Tensor:
        """log P(x | z₀), (N,), z₀ = α₀ x₀ + σ₀ ε."""
        deviation = self.number("sigma", 0) / self.number("alpha", 0)
        return decoded_log_prob(pixels, scaled(pixels) + deviation * eps, deviation).sum(dim=(1, 2, 3))

    def divergence(self, x0: Tensor) -> Tensor:
        """KL(q(z_T | x₀) ‖ N(0, I)), (N,)."""
        variance = self.number("sigma", -1) ** 2
        each = (1 - variance) * x0.square() + variance - 1 - math.log(variance)
        return 0.5 * each.sum(dim=(1, 2, 3))

    def along_path(self, x0: Tensor) -> Iterator[Tensor]:
        """ε_θ at the K steps of the path, which begins at α₀ x₀ and leads on by ε_θ itself."""
        places = torch.linspace(0, self.config.steps, self.config.path_steps + 1).round().long().tolist()
        z = self.number("alpha", 0) * x0
        for now, after in pairwise(places):
            step = torch.full((len(z),), now, device=z.device)
            eps = self.eps(z, step)
            yield eps
            clean = (z - self.number("sigma", now) * eps) / self.number("alpha", now)
            z = self.number("alpha", after) * clean + self.number("sigma", after) * eps

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample: ancestral, temperature multiplies all noise; x̂₀ is clipped, as Ho et al. do."""
        place = next(self.parameters())

        def normal() -> Tensor:
            return temperature * torch.randn(number, *self.shape, generator=generator).to(place)

        z = normal()
        for step in range(self.config.steps, 0, -1):
            mean, deviation = self.previous(z, step)
            z = mean + deviation * normal()
        return z / self.number("alpha", 0) / 2

    def previous(self, z: Tensor, step: int) -> tuple[Tensor, float]:
        """Of z_t the mean of z_{t−1} and its deviation, a number."""
        (before, alpha), (less, sigma) = (self.exact[name][[step - 1, step]].tolist() for name in ("alpha", "sigma"))
        eps = self.eps(z, torch.full((len(z),), step, device=z.device))
        clean = ((z - sigma * eps) / alpha).clamp(-1, 1)
        eps = (z - alpha * clean) / sigma
        share = -math.expm1(self.number("log_snr", step) - self.number("log_snr", step - 1))
        return before / alpha * (z - share * sigma * eps), less * math.sqrt(share)


class UNet(nn.Module):
    """f(z, time): (N, C, H, W), (N,) in [0, 1] → (N, C, H, W); sides are divisible by 2^(levels − 1).

    A residual block at each size on the way down and up, and one more at the smallest; what the way down had is laid
    beside what comes up.
    """

    shrink: Sequence[nn.Conv2d]
    grow: Sequence[nn.ConvTranspose2d]

    def __init__(self, colours: int, channels: int, levels: int, generator: torch.Generator) -> None:
        super().__init__()
        layer, block = partial(drawn, generator), partial(Block, time=4 * channels, generator=generator)
        widths = [channels << level for level in range(levels)]
        pairs = [*pairwise(widths)]
        self.time = layer(nn.Linear, 2 * channels, 4 * channels)
        self.first = layer(nn.Conv2d, colours * (1 + 2 * len(FREQUENCIES)), channels, kernel_size=3, padding=1)
        self.down = nn.ModuleList(block(width, width) for width, _ in pairs)
        self.shrink = _list(layer(nn.Conv2d, a, b, kernel_size=3, stride=2, padding=1) for a, b in pairs)
        self.middle = block(widths[-1], widths[-1])
        self.grow = _list(layer(nn.ConvTranspose2d, b, a, kernel_size=2, stride=2) for a, b in reversed(pairs))
        self.up = nn.ModuleList(block(2 * width, width) for width, _ in reversed(pairs))
        self.norm = normalisation(channels)
        self.last = layer(nn.Conv2d, channels, colours, kernel_size=3, padding=1, gain=FIRST_GAIN)

    def forward(self, z: Tensor, time: Tensor) -> Tensor:
        embedded = F.silu(self.time(waves(time, self.time.in_features)))
        h, beside = self.first(torch.cat([z, *_sines(z)], dim=1)), []
        for down, shrink in zip(self.down, self.shrink, strict=True):
            h = down(h, embedded)
            beside.append(h)
            h = shrink(h)
        h = self.middle(h, embedded)
        for grow, up in zip(self.grow, self.up, strict=True):
            h = up(torch.cat([grow(h), beside.pop()], dim=1), embedded)
        output: Tensor = self.last(F.silu(self.norm(h)))
        return output


class Block(nn.Module):
    """A residual block that is told the time: (N, C, H, W), (N, time) → (N, C', H, W)."""

    def __init__(self, channels_in: int, channels: int, *, time: int, generator: torch.Generator) -> None:
        super().__init__()
        layer = partial(drawn, generator)
        self.norm_in = normalisation(channels_in)
        self.conv_in = layer(nn.Conv2d, channels_in, channels, kernel_size=3, padding=1)
        self.time = layer(nn.Linear, time, channels)
        self.norm = normalisation(channels)
        self.conv = layer(nn.Conv2d, channels, channels, kernel_size=3, padding=1)
        self.across = None if channels_in == channels else layer(nn.Conv2d, channels_in, channels, kernel_size=1)

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        inner = self.conv_in(F.silu(self.norm_in(h))) + self.time(time)[:, :, None, None]
        inner = self.conv(F.silu(self.norm(inner)))
        return inner + (h if self.across is None else self.across(h))


def drawn(generator: torch.Generator, kind: type[Layer], *sizes: int, gain: float = 1.0, **options: int) -> Layer:
    """A layer whose weights are normal of the deviation gain / √inputs, drawn from the generator alone; bias zero."""
    layer: Layer = skip_init(kind, *sizes, **options)
    inputs = layer.weight.shape[0] if kind is nn.ConvTranspose2d else layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs), generator=generator)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


def normalisation(channels: int) -> nn.GroupNorm:
    """Groups of some 8 channels."""
    return nn.GroupNorm(math.gcd(max(channels // 8, 1), channels), channels)


def waves(time: Tensor, number: int) -> Tensor:
    """(N,) in [0, 1] → (N, number): sines and cosines of frequencies from 0.1 to 1000 (Vaswani et al. 2017)."""
    half = number // 2
    frequencies = FINEST * torch.logspace(-4, 0, half, dtype=time.dtype, device=time.device)
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def log_snr(schedule: str, steps: int) -> Tensor:
    """λ₀, …, λ_T, (T + 1,) float64: linear, or of α_t = cos of an angle that grows so (Nichol & Dhariwal 2021)."""
    place = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if schedule == "log_linear":
        return HIGHEST + place * (LOWEST - HIGHEST)
    first, last = (math.atan(math.exp(-end / 2)) for end in (HIGHEST, LOWEST))
    return -2 * torch.log(torch.tan(first + place * (last - first)))


def tables(log_ratio: Tensor) -> dict[str, Tensor]:
    """What depends on the step alone, of λ (T + 1,)."""
    weight = torch.cat([torch.zeros(1, dtype=log_ratio.dtype), 0.5 * torch.expm1(log_ratio[:-1] - log_ratio[1:])])
    alpha, sigma = torch.sigmoid(log_ratio).sqrt(), torch.sigmoid(-log_ratio).sqrt()
    return {"log_snr": log_ratio, "alpha": alpha, "sigma": sigma, "weight": weight}


def pixels_of(x: Tensor) -> Tensor:
    """Dequantised x in [−0.5, 0.5) → the grey levels 0…255 that it was made of, of the same type."""
    return ((x + 0.5) * 256).floor().clamp(0, 255)


def scaled(pixels: Tensor) -> Tensor:
    """Grey levels → their middles in (−1, 1)."""
    return (pixels + 0.5) * GREY - 1


def decoded_log_prob(pixels: Tensor, mean: Tensor, deviation: float) -> Tensor:
    """log P(v) of grey levels v given a mean in (−1, 1): N(mean, deviation²) cut at the levels' edges, (…) → (…).

    The first and the last level take the tails, so that the probabilities of all 256 add to 1.
    """
    lower, upper = (((pixels + edge) * GREY - 1 - mean) / deviation for edge in (0, 1))
    below = torch.where(pixels <= 0, 0.0, torch.special.ndtr(lower))
    above = torch.where(pixels >= 255, 1.0, torch.special.ndtr(upper))
    return (above - below).clamp_min(LEAST).log()


def sums_of_powers(eps: Tensor) -> Tensor:
    """Σ |ε|^p over an image, p = 1, 2, 3: (N, C, H, W) → (N, 3)."""
    return torch.stack([eps.abs().pow(power).sum(dim=(1, 2, 3)) for power in POWERS], dim=1)


def _sines(z: Tensor) -> Iterator[Tensor]:
    for frequency in FREQUENCIES:
        yield torch.sin(2**frequency * math.pi * z)
        yield torch.cos(2**frequency * math.pi * z)


def _list(modules: Iterator[Layer]) -> Sequence[Layer]:
    return cast(Sequence[Layer], nn.ModuleList(modules))


def _denoising(model: Diffusion, x: Tensor, noise: Any, *, name: str, step: int) -> Evaluated:
    """The term of one step: noise (N, D), ε."""
    x0 = scaled(pixels_of(x))
    steps = torch.full((len(x),), step, device=x.device)
    value = -model.number("weight", step) * model.error(x0, noise.reshape(x.shape), steps)
    return Evaluated(value, {name: value})
