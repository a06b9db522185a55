"""The network of vae.py: a latent z ~ N(0, I) of L numbers, pixels that are independent given z.

    q(z | x) = N(m, diag d²),  (m, log d) = encoder(x),        P(x | z) = Π_i P(x_i),  (μ, log s) = decoder(z),
    P(v) = σ(a) − σ(b),  a = (e + 1/256 − μ) / s,  b = (e − μ) / s,  e = v/256 − 1/2,

σ the logistic function: a logistic distribution, cut into the 256 values v of a pixel at their lower edges e, of which
the first and the last take the tails (Kingma et al. 2016, arXiv 1606.04934; Salimans et al. 2017, arXiv 1701.05517).

    elbo    log P(x | z) − KL(q(z | x) ‖ p(z)),  z = m + d ⊙ ε, one sample; its mean is below log P(x),
    iwae    log 1/K Σ_k P(x | z_k) p(z_k) / q(z_k | x), K samples (Burda et al. 2016, arXiv 1509.00519): the estimate of
            log P(x), also below it on average, that is `log_prob`; of the discrete image, in nats,
    regret  max_q elbo − elbo, q a Gaussian of each image alone (Xiao et al. 2020, arXiv 2003.02977).

Encoder and decoder are those of DCGAN, as in Xiao et al., without its batch norm, which would make images depend on one
another: 4×4 convolutions of stride 2, and their transposes. Odd sides are halved down.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import grad

from immature_ood.density import DensityModel, Evaluated, Objective
from immature_ood.models._logistic import discretised_logistic
from immature_ood.models.vae import Config

__all__ = ["Vae", "log_probability"]

WIDTH = 1 / 256  # of a pixel's value, of x
KERNEL = 4
LEAST_LOG_SCALE = -8.0  # a tenth of a pixel's value
FIRST_LOG_SCALE = -2.0
GAIN = 1.68  # 1/√E[SiLU(a)²] of a standard normal a: layers keep the mean square of what they are given
FIRST_GAIN = 0.1  # of the last layers: the posterior starts near the prior, μ near the middle of the range
ADAM = 0.9, 0.999
ADAM_EPSILON = 1e-8
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Vae(DensityModel):
    """A variational autoencoder; see the top of the file."""

    trained_by = "elbo"

    def __init__(self, config: Config, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(shape)
        self.config = config
        sizes = [(shape[1] >> level, shape[2] >> level) for level in range(config.levels + 1)]
        channels = [config.channels << level for level in range(config.levels)]
        self.encoder = encoder(shape[0], channels, sizes[-1], config.latents, generator)
        self.decoder = decoder(shape[0], channels, sizes, config.latents, generator)

    def objectives(self) -> Mapping[str, Objective]:
        """elbo, iwae and regret; of the regret all but the last samples of its noise are those of the steps."""
        samples, latents = self.config.importance_samples, self.config.latents
        return {
            "elbo": Objective("elbo", Vae.elbo, noise_shape=(latents,)),
            "iwae": Objective("iwae", Vae.iwae, noise_shape=(samples, latents)),
            "regret": Objective("regret", Vae.regret, noise_shape=(self.config.regret_steps + samples, latents)),
        }

    def elbo(self, x: Tensor, noise: Any) -> Evaluated:
        """The bound of log P(x) by one sample: x (N, C, H, W), noise (N, L); kl (N,), and the mean of z as latent."""
        pixels = pixels_of(x)
        posterior = self.posterior(pixels)
        kl = divergence(posterior)
        elbo = self.log_likelihood(pixels, drawn(posterior, noise)) - kl
        return Evaluated(elbo, {"elbo": elbo, "kl": kl, "latent": posterior.chunk(2, dim=1)[0]})

    def iwae(self, x: Tensor, noise: Any) -> Evaluated:
        """The estimate of log P(x) by K samples: noise (N, K, L)."""
        pixels = pixels_of(x)
        posterior = self.posterior(pixels)
        log_weights = torch.stack([self.log_weight(pixels, posterior, own) for own in noise.unbind(1)])
        log_prob = torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))
        return Evaluated(log_prob, {"log_prob": log_prob})

    def regret(self, x: Tensor, noise: Any) -> Evaluated:
        """The likelihood regret in nats: noise (N, steps + K, L), of the steps and of the K samples that measure it.

        Both bounds are means over the same samples, which the steps have not seen: where nothing is to be gained, it
        may be a little below zero. Xiao et al. change the encoder's weights by 100 steps for each image instead, and
        compare estimates by many importance samples. What the steps find may be a local maximum. It counts as fixed in
        gradients by weights, which are so those of the regret where it is a maximum (the envelope theorem). Where the
        encoder's choice has no bound that the numbers can hold, the regret is infinite.
        """
        pixels, steps = pixels_of(x), self.config.regret_steps
        posterior = self.posterior(pixels)
        best = self._best(pixels, posterior, noise[:, :steps])
        before, after = (self.mean_elbo(pixels, each, noise[:, steps:]) for each in (posterior, best))
        gained = torch.where(torch.isfinite(after), after - before, 0.0)
        regret = torch.where(torch.isfinite(before), gained, torch.inf)
        return Evaluated(regret, {"likelihood_regret": regret})

    def posterior(self, pixels: Tensor) -> Tensor:
        """m and log d of q(z | x): pixels (N, C, H, W) of 0 … 255 → (N, 2L)."""
        posterior: Tensor = self.encoder((pixels + 0.5) / 128 - 1)
        return posterior

    def log_likelihood(self, pixels: Tensor, z: Tensor) -> Tensor:
        """log P(x | z) in nats: pixels (N, C, H, W), z (N, L) → (N,)."""
        return log_probability(pixels, *parameters_of(self.decoder(z))).flatten(1).sum(dim=1)

    def log_weight(self, pixels: Tensor, posterior: Tensor, noise: Tensor) -> Tensor:
        """log P(x | z) p(z) / q(z | x) in nats, z by noise (N, L) → (N,)."""
        z, log_deviation = drawn(posterior, noise), posterior.chunk(2, dim=1)[1]
        return self.log_likelihood(pixels, z) + (0.5 * (noise**2 - z**2) + log_deviation).sum(dim=1)

    def mean_elbo(self, pixels: Tensor, posterior: Tensor, noise: Tensor) -> Tensor:
        """The bound by K samples, noise (N, K, L) → (N,)."""
        likelihoods = [self.log_likelihood(pixels, drawn(posterior, own)) for own in noise.unbind(1)]
        return torch.stack(likelihoods).mean(dim=0) - divergence(posterior)

    @torch.no_grad()
    def _best(self, pixels: Tensor, posterior: Tensor, noise: Tensor) -> Tensor:
        """The posterior (N, 2L) with the highest elbo that is found, a step of Adam for each of noise (N, steps, L).

        Layers are not called but their forward: the steps are no uses of them to whoever watches (closed_form).
        """

        def elbo(q: Tensor, own: Tensor) -> Tensor:
            output = reduce(lambda h, layer: layer.forward(h), self.decoder, drawn(q, own))
            return log_probability(pixels, *parameters_of(output)).sum() - divergence(q).sum()

        return ascent(grad(elbo), posterior, noise.unbind(1), self.config.regret_rate)

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample: temperature multiplies z and the deviation of every pixel; the middles of values."""
        z = temperature * torch.randn(number, self.config.latents, generator=generator)
        uniform = torch.rand(number, *self.shape, generator=generator, dtype=torch.float64)
        logistic = torch.logit(uniform, eps=2**-53)  # not at 0, where it is infinite
        mean, log_scale = parameters_of(self.decoder(z.to(next(self.parameters()))))
        pixels = pixels_of(mean + temperature * torch.exp(log_scale) * logistic.to(mean))
        return (pixels + 0.5) * WIDTH - 0.5


def pixels_of(x: Tensor) -> Tensor:
    """x, dequantised in [−0.5, 0.5), → the values 0 … 255 of its pixels, of x's type."""
    return torch.floor((x + 0.5) / WIDTH).clamp(0, 255)


def drawn(posterior: Tensor, noise: Tensor) -> Tensor:
    """z = m + d ⊙ ε: (N, 2L), (N, L) → (N, L)."""
    mean, log_deviation = posterior.chunk(2, dim=1)
    return mean + torch.exp(log_deviation) * noise


def divergence(posterior: Tensor) -> Tensor:
    """KL(N(m, diag d²) ‖ N(0, I)) in nats: (N, 2L) → (N,)."""
    mean, log_deviation = posterior.chunk(2, dim=1)
    return (0.5 * (mean**2 + torch.exp(2 * log_deviation) - 1) - log_deviation).sum(dim=1)


def parameters_of(output: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder's output (N, 2C, H, W) → μ and log s, (N, C, H, W) each."""
    mean, log_scale = output.chunk(2, dim=1)
    return mean, log_scale.clamp(min=LEAST_LOG_SCALE)


def log_probability(pixels: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log P(v) of pixels of 0 … 255, of one shape all, in nats."""
    return discretised_logistic(pixels * WIDTH - 0.5 - mean, WIDTH, log_scale, pixels == 0, pixels == 255)


def ascent(
    gradient: Callable[[Tensor, Tensor], Tensor], start: Tensor, noises: Sequence[Tensor], rate: float
) -> Tensor:
    """Adam upwards from a start, by one gradient(place, noise) a step; the rate falls linearly to zero."""
    place, first, second = start, torch.zeros_like(start), torch.zeros_like(start)
    for step, noise in enumerate(noises, 1):
        g = torch.nan_to_num(gradient(place, noise), nan=0.0, posinf=0.0, neginf=0.0)  # where it overflows, no step
        first = ADAM[0] * first + (1 - ADAM[0]) * g
        second = ADAM[1] * second + (1 - ADAM[1]) * g**2
        direction = first / (1 - ADAM[0] ** step) / (torch.sqrt(second / (1 - ADAM[1] ** step)) + ADAM_EPSILON)
        place = place + rate * (1 - (step - 1) / len(noises)) * direction
    return place


def encoder(
    image_channels: int, channels: Sequence[int], size: tuple[int, int], latents: int, generator: torch.Generator
) -> nn.Sequential:
    """(N, C, H, W) → (N, 2L). channels: of each convolution. size: (height, width) after the last."""
    layers: dict[str, nn.Module] = {}
    for level, (before, after) in enumerate(zip([image_channels, *channels[:-1]], channels, strict=True)):
        conv = nn.utils.skip_init(nn.Conv2d, before, after, KERNEL, stride=2, padding=1)
        layers |= {
            f"down{level}": initialised(conv, before * KERNEL**2, generator, GAIN if level else 1),
            f"act{level}": nn.SiLU(),
        }
    features = channels[-1] * math.prod(size)
    last = nn.utils.skip_init(nn.Linear, features, 2 * latents)
    layers |= {"flatten": nn.Flatten(), "last": initialised(last, features, generator, FIRST_GAIN)}
    return nn.Sequential(OrderedDict(layers))


def decoder(
    image_channels: int,
    channels: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    latents: int,
    generator: torch.Generator,
) -> nn.Sequential:
    """(N, L) → (N, 2C, H, W). channels, sizes: of the encoder's convolutions and its levels, the image's size first."""
    shape = (channels[-1], *sizes[-1])
    first = nn.utils.skip_init(nn.Linear, latents, math.prod(shape))
    layers: dict[str, nn.Module] = {"first": initialised(first, latents, generator)}
    layers["unflatten"] = nn.Unflatten(1, shape)
    for level, conv in ups([2 * image_channels, *channels], sizes, generator):
        layers |= {f"act{level}": nn.SiLU(), f"up{level}": conv}
    nn.init.constant_(conv.get_parameter("bias")[image_channels:], FIRST_LOG_SCALE)
    return nn.Sequential(OrderedDict(layers))


def ups(
    channels: Sequence[int], sizes: Sequence[tuple[int, int]], generator: torch.Generator
) -> Iterator[tuple[int, nn.ConvTranspose2d]]:
    """The transposed convolutions with their levels, from the smallest images to the largest, which are of level 0."""
    for level in reversed(range(len(channels) - 1)):
        odd = tuple(side % 2 for side in sizes[level])
        conv = nn.utils.skip_init(
            nn.ConvTranspose2d, channels[level + 1], channels[level], KERNEL, stride=2, padding=1, output_padding=odd
        )
        seen = channels[level + 1] * (KERNEL // 2) ** 2
        yield level, initialised(conv, seen, generator, GAIN if level else FIRST_GAIN)


def initialised(layer: Layer, inputs: int, generator: torch.Generator, gain: float = 1.0) -> Layer:
    """Weights drawn with the deviation gain/√inputs, so many numbers that each output sees; biases of zero."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs), generator=generator)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer
