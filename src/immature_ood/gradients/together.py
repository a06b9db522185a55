"""Several passes of one model as one engine: the norms of each objective side by side, the statistics of all."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from immature_ood.density import DensityModel, Evaluated
from immature_ood.gradients.engine import Engine, Forward, Measured
from immature_ood.gradients.independence import trial

__all__ = ["Together", "statistics_of"]


class Together:
    """An Engine of others, by the names of their objectives.

    Where several take norms, a layer is called "objective/layer". Of a statistic that several give, the first counts.
    Noise is one line of numbers a sample, (N, noise_numbers), of which each objective takes as many as it needs, from
    the first on; None if none needs any.
    """

    def __init__(self, model: DensityModel, norms: Mapping[str, Engine], forward: Sequence[str] = ()) -> None:
        self._engines: dict[str, Engine] = {**norms, **{name: Forward(model, name) for name in forward}}
        self._shapes = {name: model.objective(name).noise_shape for name in self._engines}
        self._of_norms = norms or dict([*self._engines.items()][:1])

    @property
    def layers(self) -> tuple[str, ...]:
        """See Engine."""
        if len(self._of_norms) == 1:
            return next(iter(self._of_norms.values())).layers
        return tuple(f"{name}/{layer}" for name, engine in self._of_norms.items() for layer in engine.layers)

    @property
    def gradient_bytes(self) -> int:
        """See Engine: of the one that holds most."""
        return max(engine.gradient_bytes for engine in self._engines.values())

    @property
    def noise_numbers(self) -> int | None:
        """How many numbers of noise a sample needs, None if none of the objectives needs any."""
        return max((math.prod(shape) for shape in self._shapes.values() if shape is not None), default=None)

    def __call__(self, x: Tensor, batch_sizes: Sequence[int], noise: Tensor | None = None) -> Measured:
        found = [engine(x, batch_sizes, self._own(name, noise)) for name, engine in self._engines.items()]
        statistics = {name: each for one in reversed(found) for name, each in one.evaluated.statistics.items()}
        with_norms = [one.squared for one in found if one.squared]
        squared = {b: torch.cat([each[b] for each in with_norms], dim=1) for b in batch_sizes if with_norms}
        return Measured(squared, Evaluated(found[0].evaluated.value, statistics))

    def _own(self, objective: str, noise: Tensor | None) -> Tensor | None:
        """The noise of one objective, (N, *noise_shape)."""
        shape = self._shapes[objective]
        return None if noise is None or shape is None else noise[:, : math.prod(shape)].reshape(len(noise), *shape)


@torch.no_grad()
def statistics_of(model: DensityModel) -> Iterator[tuple[str, frozenset[str]]]:
    """Each objective of a model and the statistics that it gives, of which one sample tells."""
    for name, objective in model.objectives().items():
        yield name, frozenset(objective(model, *trial(model, objective, 1)).statistics)
