"""Features of the samples of a split: gradient norms and statistics of one checkpoint, for groups of samples."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from immature_ood.density import DensityModel
from immature_ood.dequantisation import fixed_noise, fresh_noise
from immature_ood.derived import Deriving
from immature_ood.features import LOG_NORMS, LOG_PROB, PIXELS, Features
from immature_ood.gradients import make_engine
from immature_ood.gradients.engine import Engine, Measured
from immature_ood.gradients.together import Together, statistics_of
from immature_ood.grouping import Grouping, group
from immature_ood.kinds import KindOfData
from immature_ood.noise import fixed_normal, fresh_normal
from immature_ood.registry import did_you_mean
from immature_ood.study import FeatureConfig

__all__ = ["Split", "extract", "objectives_of"]

CPU_CHUNK = 100  # samples: more are no faster
CPU_MEMORY = 2**30  # bytes, of the gradients that an engine holds at once
GPU_SHARE = 0.7  # of the free memory
LARGEST_CHUNK = 1000  # samples: more are no faster on a GPU either
KINDS_OF_NOISE = ("fixed", "fresh", "none")


@dataclass(frozen=True)
class Split:
    """Some samples of a data set.

    stored: (N, ...) as in the data set's files, of the kind that `data` is, such as images (N, C, H, W) uint8.
    dataset, name: of the data set and the split, such as "digits" and "test".
    units: N numbers, alike for samples that belong together, from which groups are made (see grouping); by default
        every sample is on its own.
    """

    stored: np.ndarray
    data: KindOfData
    dataset: str
    name: str
    units: Sequence[int] | None = None

    def groups(self, batch_sizes: Sequence[int]) -> Grouping:
        """Raises ValueError if the samples make no group of some size."""
        units = np.arange(len(self.stored)) if self.units is None else np.asarray(self.units)
        grouping = group(units, batch_sizes)
        if not all(len(grouping.images(b)) for b in batch_sizes):
            found = f"{len(self.stored)} {self.data.samples} of {len({*units.tolist()})} units"
            raise ValueError(
                f"{self.dataset}, {self.name}: {found} make no group of {max(batch_sizes)} from as many units; "
                f"lower features.batch_sizes, or choose another unit or more {self.data.samples}"
            )
        return grouping


def extract(
    model: DensityModel,
    split: Split,
    config: FeatureConfig,
    statistics: Sequence[str] = (LOG_NORMS,),
    *,
    noise_key: Sequence[object] = (),
    engine: str | None = None,
    on_chunk: Callable[[int], None] = lambda samples: None,
) -> list[Features]:
    """The features of a split, one entry a batch size, with these statistics, and log_prob if the model knows it.

    Samples that do not fill a group of every size are used for b = 1 alone: `Features.images` tells. Without
    "log_norms" among the statistics no gradient is taken. Statistics that the objectives do not give are had from
    others of the model that do, by a forward pass. config.chunk_images: samples worked on at once, a multiple of
    every batch size; it changes memory, and results only by rounding. By default 100, or fewer where gradients would
    fill more than 1 GiB; on a GPU as many as fit. Where the device has not the memory for them, it is halved.
    noise_key: names the checkpoint, for config.noise "fresh", which follows from it, the data set, the split and the
    sample's place. `on_chunk` is told the number of samples done. Raises ValueError if the samples make no group, or
    the model has no such objective or statistic.
    """
    grouping = split.groups(config.batch_sizes)
    passes = _passes(model, config, statistics, engine)
    work = Deriving(passes, model, statistics)
    feed = _Feed(model, split, config.noise, tuple(noise_key), passes.noise_numbers)
    parts: dict[int, list[dict[str, Tensor]]] = {b: [] for b in config.batch_sizes}
    for places, sizes in grouping.passes(config.batch_sizes):
        for done, measured in _in_chunks(work, feed, places, sizes, config.chunk_images):
            chosen = _chosen(measured, statistics, type(model).__name__)
            for b in sizes:
                parts[b].append(_by_group(chosen, measured, b))
            on_chunk(done)
    described = partial(_features, split, grouping, statistics, work.layers, model.dimensions)
    return [described(b, parts[b]) for b in config.batch_sizes]


def objectives_of(model: DensityModel, config: FeatureConfig) -> tuple[str, ...]:
    """The objectives whose gradients are taken; raises ValueError naming the nearest if the model has not one."""
    asked = config.objective
    names = (asked,) if isinstance(asked, str) else tuple(asked or model.scored_by)
    return tuple(model.objective(name).name for name in names)


def _passes(model: DensityModel, config: FeatureConfig, statistics: Sequence[str], engine: str | None) -> Together:
    """What is done with samples: norms are taken if they are asked for; other objectives give what is missing."""
    layers, names = config.layers or "all", objectives_of(model, config)
    norms: dict[str, Engine] = {}
    if LOG_NORMS in statistics:
        norms = {name: make_engine(model, engine, name, layers, config.precision) for name in names}
    given = dict(statistics_of(model)) if {*statistics} - {LOG_NORMS, PIXELS} else {}
    others = [] if norms else [names[0]]
    for name in given:
        found = frozenset().union(*(given[one] for one in (*norms, *others)))
        if not given[name].isdisjoint({*statistics} - found):
            others.append(name)
    return Together(model, norms, others)


@dataclass(frozen=True)
class _Feed:
    """What a model is given of the samples of a split: called with places, x and the model's own noise.

    noise: of FeatureConfig; key: see extract; numbers: of the model's noise that a sample needs, None for none.
    """

    model: DensityModel
    split: Split
    noise: str
    key: tuple[object, ...]
    numbers: int | None

    def __call__(self, places: np.ndarray) -> tuple[Tensor, Tensor | None]:
        chosen, weight = self.split.stored[places], next(self.model.parameters())
        x = self.split.data.to_input(torch.from_numpy(chosen), self._of_samples(chosen, places))
        noise = None if self.numbers is None else self._of_model(chosen, places, (self.numbers,)).to(weight)
        return self.model.taken(x), noise

    def _of_samples(self, chosen: np.ndarray, places: np.ndarray) -> Tensor | None:
        """The noise of dequantisation."""
        if self.noise not in KINDS_OF_NOISE:
            raise ValueError(f"no {self.noise!r} among the kinds of noise{did_you_mean(self.noise, [*KINDS_OF_NOISE])}")
        if self.noise == "none" or not self.split.data.noisy:
            return None
        if self.noise == "fixed":
            return fixed_noise(chosen, self.split.dataset)
        shape, key = (1, *chosen.shape[1:]), self._fresh_key
        return torch.cat([fresh_noise(shape, *key, first=place) for place in places.tolist()])

    def _of_model(self, chosen: np.ndarray, places: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        """The model's own; where samples get none, it is fixed."""
        if self.noise == "fresh":
            return fresh_normal(places.tolist(), shape, *self._fresh_key)
        return fixed_normal(chosen, self.split.dataset, shape)

    @property
    def _fresh_key(self) -> tuple[object, ...]:
        return self.split.dataset, self.split.name, *self.key


def _in_chunks(
    engine: Engine, feed: _Feed, places: np.ndarray, batch_sizes: Sequence[int], chunk: int | None
) -> Iterator[tuple[int, Measured]]:
    """How many samples, and what was measured; as many at once as there is memory for."""
    start, together = 0, math.lcm(*batch_sizes)
    chunk = chunk or _chunk(engine, *feed(places[:together]), batch_sizes)
    while start < len(places):
        x, noise = feed(places[start : start + chunk])
        try:
            measured = engine(x, batch_sizes, noise)
        except torch.OutOfMemoryError:
            if len(x) == together:
                raise
            chunk = max(len(x) // 2 // together, 1) * together
            continue
        yield len(x), measured
        start += len(x)


def _chunk(engine: Engine, x: Tensor, noise: Tensor | None, batch_sizes: Sequence[int]) -> int:
    """How many samples to work on at once: on a GPU as many as fit, judged by x, one group of every size."""
    together = math.lcm(*batch_sizes)
    samples = min(CPU_CHUNK, CPU_MEMORY // max(engine.gradient_bytes, 1))
    if x.device.type == "cuda" and len(x):
        engine(x, batch_sizes, noise)  # once for what is allocated but once, such as cuBLAS's workspace
        torch.cuda.reset_peak_memory_stats(x.device)
        before = torch.cuda.memory_allocated(x.device)
        engine(x, batch_sizes, noise)
        a_sample = (torch.cuda.max_memory_allocated(x.device) - before) / len(x)
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(x.device)
        samples = min(int(GPU_SHARE * free / max(a_sample, 1)), LARGEST_CHUNK)
    return max(samples // together, 1) * together


def _chosen(measured: Measured, statistics: Sequence[str], who: str) -> dict[str, Tensor]:
    """Of the samples' statistics those that are asked for, and log_prob if it is there."""
    there = measured.evaluated.statistics
    asked = {*statistics} - {LOG_NORMS, PIXELS}
    if missing := asked - there.keys():
        raise ValueError(f"{who} gives no {' or '.join(sorted(missing))}, only {', '.join(there)}")
    return {name: each for name, each in there.items() if name in asked or name == LOG_PROB}


def _by_group(statistics: dict[str, Tensor], measured: Measured, b: int) -> dict[str, Tensor]:
    """Of each group its squared norms and the mean of each number, else all its samples' own."""
    norms = {LOG_NORMS: measured.squared[b]} if b in measured.squared else {}
    grouped = {name: each.unflatten(0, (-1, b)) for name, each in statistics.items()}
    return norms | {name: each.mean(dim=1) if each.dim() == 2 else each.float() for name, each in grouped.items()}


def _features(
    split: Split,
    grouping: Grouping,
    statistics: Sequence[str],
    layers: tuple[str, ...],
    dimensions: int,
    b: int,
    parts: Sequence[dict[str, Tensor]],
) -> Features:
    """Groups in the order of their first images where b = 1, else in that of the grouping."""
    images, cells = grouping.images(b), grouping.cells(b)
    order = np.argsort(images[:, 0]) if b == 1 else np.arange(len(images))
    found = {name: _joined(name, [part[name] for part in parts])[order] for name in parts[0]}
    if PIXELS in statistics:
        found[PIXELS] = split.stored[images[order]]
    return Features(split.dataset, split.name, found, images[order], layers, dimensions, cells[order])


def _joined(name: str, parts: Sequence[Tensor]) -> np.ndarray:
    """Norms as the logarithm of their squares, float32; means float64; what is of single samples float32."""
    whole = torch.cat([*parts]).cpu()
    if name != LOG_NORMS:
        return (whole.double() if whole.dim() == 1 else whole).numpy()
    with np.errstate(divide="ignore"):  # log 0 = −inf is how a zero gradient is told
        logs: np.ndarray = np.log(whole.double().numpy()).astype(np.float32)
    return logs
