"""What the features of detectors cost, measured on a few samples: of each detector what it needs, and no more."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch

from immature_ood.costs import FeatureCost, peak_memory, restart_peak
from immature_ood.density import DensityModel
from immature_ood.extraction import Split, extract, objectives_of
from immature_ood.features import LOG_NORMS, PIXELS
from immature_ood.study import FeatureConfig

__all__ = ["feature_costs", "loop_seconds"]

SAMPLES = 100  # at most, and no more than take about
LONG = 5.0  # seconds
REPETITIONS = 3  # of which the fastest counts: other work on a machine makes it slower, never faster

Asked = tuple[tuple[str, ...], FeatureConfig]


def feature_costs(model: DensityModel, split: Split, asked: Mapping[str, Asked]) -> dict[str, FeatureCost]:
    """By detector, what its features cost of this model; those that ask for the same are measured once.

    split: samples to measure on. asked: by detector, the statistics that it reads, and how they are extracted, each
    apart.
    """
    found: dict[str, FeatureCost] = {}
    for statistics, config in asked.values():
        if _key(statistics, config) not in found:
            found[_key(statistics, config)] = _measured(model, split, statistics, config)
    return {name: found[_key(*one)] for name, one in asked.items()}


def _key(statistics: Sequence[str], config: FeatureConfig) -> str:
    return f"{sorted(statistics)} {config}"


def _measured(model: DensityModel, split: Split, statistics: Sequence[str], config: FeatureConfig) -> FeatureCost:
    if {*statistics} <= {PIXELS}:
        return FeatureCost(0.0, 0.0)  # the samples are there
    together = math.lcm(*config.batch_sizes)

    def run(samples: int) -> int:
        some = replace(split, stored=split.stored[:samples], units=None)
        extract(model, some, config, statistics, noise_key=("measured",))
        return samples

    loop = math.nan
    if LOG_NORMS in statistics:
        loop = sum(loop_seconds(model, split, objective) for objective in objectives_of(model, config))
    run(together)  # once for what is made but once
    device = next(model.parameters()).device
    before = _restart(device)
    seconds = _marginal(run, together, len(split.stored) // together * together)
    return FeatureCost(1000 * seconds, _peak(device) - before, loop)


def _restart(device: torch.device) -> float:
    """What is held of the device's memory, MiB; the peak is counted from now on."""
    if device.type != "cuda":
        return restart_peak()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 2**20


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_memory()


def _marginal(run: Callable[[int], int], least: int, most: int) -> float:
    """Seconds a sample, of up to `most` samples, less what `least` of them take; of these alone, if they take long."""
    start = min(_seconds(run, least) for _ in range(REPETITIONS))
    samples = min(most, SAMPLES // least * least, int(LONG / start) * least)
    if samples <= least:
        return start / least
    whole = min(_seconds(run, samples) for _ in range(REPETITIONS))
    return (whole - start) / (samples - least) if whole > start else whole / samples


def _seconds(run: Callable[[int], int], samples: int) -> float:
    before = perf_counter()
    run(samples)
    return perf_counter() - before


def loop_seconds(model: DensityModel, split: Split, objective: str = "log_prob") -> float:
    """Seconds for 1,000 samples, of the norms of all layers by a backward pass for each alone (arXiv 2502.00820)."""
    parameters = [parameter for _, parameter in model.layers()]
    function = model.objective(objective)
    shape = function.noise_shape

    def run(samples: int) -> int:
        for place in range(samples):
            x = model.taken(split.data.to_input(torch.from_numpy(np.array(split.stored[place : place + 1])), None))
            noise = None if shape is None else torch.zeros(1, *shape).to(next(model.parameters()))
            value = function(model, x, noise).value.sum()
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            torch.stack([each.square().sum() for each in gradients if each is not None]).cpu()
        return samples

    return 1000 * _marginal(run, 1, min(len(split.stored), 20))
