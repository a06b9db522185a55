"""A diffusion model (Ho et al. 2020, arXiv 2006.11239; Kingma et al. 2021, arXiv 2107.00630); see _diffusion.py.

The small size trains in minutes on a core. A big one for a GPU, near that of Ho et al. for CIFAR-10: steps 1000,
channels 128, levels 3, with training.batch_size 128 and learning_rate 2e-4.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from immature_ood.config import ModelConfig, Positive, Real

if TYPE_CHECKING:
    import torch

    from immature_ood.models._diffusion import Diffusion

__all__ = ["Config", "make"]

FEWEST_OF_COSINE = 1000  # steps, of which the first then weighs 263 times the median one; of 250, 478 times


class Config(ModelConfig):
    """The size of a diffusion model, and the steps at which it is looked at."""

    architecture: str = "diffusion"
    steps: Positive = 250
    """The diffusion has so many steps, T: more make the bound tighter and samples slower, not training."""
    schedule: Literal["log_linear", "cosine"] = "log_linear"
    """The log signal-to-noise ratio falls linearly, or as of a cosine, which is for some 1000 steps and more."""
    channels: Positive = 16
    """The network has so many channels at full size, and twice as many at each level below."""
    levels: Positive = 3
    """The network works at so many sizes, each half of the one before."""
    training_times: Positive = 1
    """The bound that training raises is estimated at so many steps an image, one drawn from each part of the way."""
    bound_times: Positive = 32
    """The bound that stands for log p is estimated at so many."""
    times: Annotated[list[Annotated[Real, Field(gt=0, le=1)]], Field(min_length=1)] = Field(default=[0.3, 0.5, 0.7])
    """Gradients are of the denoising errors at these steps, fractions of all, by default."""
    path_steps: Annotated[Positive, Field(ge=2)] = 10
    """The deterministic path from an image to noise is followed in so many steps."""

    def scored_steps(self) -> tuple[int, ...]:
        """The steps 1…T of `times`."""
        return tuple(max(1, round(time * self.steps)) for time in self.times)

    def scored_by(self) -> tuple[str, ...]:
        """See ModelConfig.scored_by: the denoising errors at all of `times`."""
        return tuple(f"denoising_{step}" for step in self.scored_steps())

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """See ModelConfig.objectives."""
        return {
            **{name: (name,) for name in self.scored_by()},
            "elbo": ("elbo",),
            "bound": ("log_prob", "denoising_errors"),
            "path": ("path_eps", "path_rate"),
        }

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """See ModelConfig.examples: grey, colour with several steps an image, and a single size of oblong images."""
        yield cls(steps=20, channels=4, levels=2, bound_times=5, path_steps=3), (1, 8, 8)
        yield cls(steps=40, channels=3, levels=2, training_times=4, bound_times=2, times=[0.5], path_steps=2), (3, 4, 4)
        yield cls(steps=9, channels=2, levels=1, bound_times=3, path_steps=2), (1, 3, 2)

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """Lines if (C, H, W) cannot be halved so often, a cosine has few steps, or two of `times` are one step."""
        side = shape[-1]
        if side % 2 ** (self.levels - 1):
            yield f"levels: {self.levels} levels halve the side {self.levels - 1} times, but image.side is {side}"
        if self.schedule == "cosine" and self.steps < FEWEST_OF_COSINE:
            yield f"schedule: cosine weighs few steps too unalike to train; take steps: {FEWEST_OF_COSINE} or more"
        step, number = Counter(self.scored_steps()).most_common(1)[0]
        if number > 1:
            yield f"times: {number} of {self.times} are step {step} of {self.steps}; take others or more steps"


def make(config: Config, shape: tuple[int, int, int], generator: "torch.Generator") -> "Diffusion":
    """A diffusion model for images of shape (C, H, W)."""
    from immature_ood.models._diffusion import Diffusion

    return Diffusion(config, shape, generator)
