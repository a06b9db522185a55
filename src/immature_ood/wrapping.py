"""A PyTorch module of another library as a DensityModel, so that a study can train and score it.

What such a module is called with and gives is said by two or three short functions; see Wrapped.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from immature_ood.density import DensityModel, Evaluated, Objective

__all__ = ["Wrapped"]

Function = Callable[[Any, Tensor], Tensor]


class Wrapped(DensityModel):
    """A module with a log-density, or with a loss of each sample.

    build: makes the module; whatever it draws at random follows from the generator, not from torch's own.
    log_prob: (module, x (N, *shape)) → (N,), the log-density in nats of x in [−0.5, 0.5), to which −D·log 256 is added,
        so that it is one of 8-bit images; of samples that are whole numbers, such as tokens, nothing is added.
    loss: (module, x) → (N,) in its stead, in nats, of a module without a known density: minus the loss is raised, and
        its gradients are scored. Its Config then says `objectives = {"loss": ("loss",)}`.
    sample: (module, number, temperature) → (number, *shape), drawn by torch's own generator, which is seeded; without
        it there are no samples.

    Exactly one of log_prob and loss is given, or ValueError is raised. Each sample must be treated alone (no batch norm
    in training mode, no dropout), which the engine checks.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        log_prob: Function | None = None,
        loss: Function | None = None,
        sample: Callable[[Any, int, float], Tensor] | None = None,
    ) -> None:
        super().__init__(shape)
        if (log_prob is None) == (loss is None):
            raise ValueError("Wrapped: give either log_prob or loss")
        with _drawing_from(generator):
            self.module = build()
        self._log_prob, self._loss, self._sample = log_prob, loss, sample
        self.trained_by = "log_prob" if loss is None else "loss"

    def log_prob(self, x: Tensor) -> Tensor:
        """See DensityModel.log_prob."""
        if self._log_prob is None:
            return super().log_prob(x)
        log_prob = self._log_prob(self.module, x)
        return log_prob - self.dimensions * math.log(256) if x.is_floating_point() else log_prob

    def objectives(self) -> Mapping[str, Objective]:
        """See DensityModel.objectives."""
        return super().objectives() if self._loss is None else {"loss": Objective("loss", Wrapped._minus_loss)}

    def _minus_loss(self, x: Tensor, noise: Tensor | None) -> Evaluated:
        assert self._loss is not None
        loss = self._loss(self.module, x)
        return Evaluated(-loss, {"loss": loss})

    @torch.no_grad()
    def sample(self, number: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """See DensityModel.sample."""
        if self._sample is None:
            return super().sample(number, generator, temperature)
        with _drawing_from(generator):
            return self._sample(self.module, number, temperature)


@contextmanager
def _drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's own generators are seeded by a draw of this one; afterwards they are what they were."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
