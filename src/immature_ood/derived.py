"""Statistics of flows by passes of their own: their latents, the prior of these, the stretching of the decoder.

They are of the same samples and noise as the objective's statistics, so that
log p(x) = log_prior + log |det ∂ latents / ∂ x| − D·log 256. No gradient by weights is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import jacrev

from immature_ood.density import DensityModel, Flow
from immature_ood.gradients.engine import Engine, Measured

__all__ = ["DERIVED", "Deriving"]

TOGETHER = 64  # rows of a Jacobian at once, for the memory that they take


def _latents(model: Flow, latents: Tensor) -> Tensor:
    return latents


def _log_prior(model: Flow, latents: Tensor) -> Tensor:
    return model.prior_log_prob(latents)


def _log_singular_values(model: Flow, latents: Tensor) -> Tensor:
    """log σ_i of the decoder's Jacobian J = ∂ x / ∂ latents, (N, D) → (N, D), the largest first; −inf for a zero.

    Of all D² numbers of J, in float64: for D = 3,072 it takes the time of thousands of likelihoods, an image.
    """
    return torch.stack([torch.linalg.svdvals(_jacobian(model, each).double()).log() for each in latents])


def _jacobian(model: Flow, latents: Tensor) -> Tensor:
    """∂ x / ∂ latents of one sample: (D,) → (D, D)."""

    def decoded(one: Tensor) -> Tensor:
        return model.from_latents(one[None]).flatten()

    jacobian: Tensor = jacrev(decoded, chunk_size=TOGETHER)(latents)
    return jacobian


# By name, what follows from the standardised latents (N, D) of a flow: (N,) or (N, ...).
DERIVED: Mapping[str, Callable[[Flow, Tensor], Tensor]] = {
    "latents": _latents,
    "log_prior": _log_prior,
    "log_singular_values": _log_singular_values,
}


class Deriving:
    """An engine whose samples' statistics hold derived ones too; of a model that is no flow there are none."""

    def __init__(self, engine: Engine, model: DensityModel, names: Sequence[str]) -> None:
        self._engine, self._model = engine, model
        self._names = [name for name in names if name in DERIVED]

    @property
    def layers(self) -> tuple[str, ...]:
        """See Engine."""
        return self._engine.layers

    @property
    def gradient_bytes(self) -> int:
        """See Engine."""
        return self._engine.gradient_bytes

    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        """See Engine."""
        measured = self._engine(x, batch_sizes, noise)
        statistics = {**measured.evaluated.statistics, **self._derived(x)}
        return replace(measured, evaluated=measured.evaluated._replace(statistics=statistics))

    @torch.no_grad()
    def _derived(self, x: Tensor) -> dict[str, Tensor]:
        if not self._names or not isinstance(self._model, Flow):
            return {}
        latents = self._model.latents(x)
        return {name: DERIVED[name](self._model, latents) for name in self._names}
