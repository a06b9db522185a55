"""Layer-wise gradient norms: f_k(x) = log ‖∇_{θ_k} Σ_{i in group} log p(x_i)‖² (arXiv 2502.00820, arXiv 2403.01485).

They are per-example gradient norms (Goodfellow 2015, arXiv 1510.01799), layer by layer, and for b > 1 those of groups.
See closed_form for the engine that needs no gradients of all images at once, and generic for the one that does.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from immature_ood.density import DensityModel
from immature_ood.dequantisation import fixed_noise, fresh_noise, no_noise
from immature_ood.features import Features
from immature_ood.gradients.closed_form import ClosedForm, Uncovered
from immature_ood.gradients.generic import Generic
from immature_ood.gradients.independence import check_independence
from immature_ood.grouping import Grouping, group
from immature_ood.kinds.images.tensors import dequantise
from immature_ood.registry import did_you_mean

__all__ = ["ENGINES", "Engine", "LayerNorms", "extract", "layer_norms", "make_engine"]


LOG = logging.getLogger(__name__)
CPU_CHUNK = 100  # images: more are no faster
CPU_MEMORY = 2**30  # bytes, of the gradients that an engine holds at once
GPU_SHARE = 0.7  # of the free memory
LARGEST_CHUNK = 1000  # images: more are no faster on a GPU either


@dataclass(frozen=True)
class LayerNorms:
    """Of G groups of b images and K layers.

    squared: (G, K), ‖∇_{θ_k} Σ log p‖² of each group; exactly zero where the gradient is.
    log_prob: (G,), the mean log-likelihood of the group's images, nats.
    """

    squared: Tensor
    log_prob: Tensor


class Engine(Protocol):
    """Squared gradient norms of one model's layers, and log p.

    gradient_bytes: of the gradients that are held at once, for each image.
    """

    @property
    def gradient_bytes(self) -> int: ...

    def __call__(self, x: Tensor, batch_sizes: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
        """x (N, C, H, W) → squared norms (N / b, layers) for each b, and log p (N,) in nats."""


ENGINES: dict[str, Callable[[DensityModel, str], Engine]] = {"closed-form": ClosedForm, "generic": Generic}


def make_engine(model: DensityModel, name: str | None = None, objective: str = "log_prob") -> Engine:
    """The engine of that name, by default the fastest that covers all layers, for the model's weights as they are now.

    "closed-form" is fast and small, for models whose layers all have a closed form; "generic" takes any model. Where it
    is taken because the other does not cover the model, a warning is logged that says why.
    objective: see DensityModel.objective. Raises ValueError if there is no such engine, it does not cover the model, or
    the model does not treat images one by one.
    """
    if name is not None and name not in ENGINES:
        raise ValueError(f"no {name!r} among the engines{did_you_mean(name, [*ENGINES])}")
    check_independence(model)
    if name is not None:
        return ENGINES[name](model, objective)
    try:
        return ClosedForm(model, objective)
    except Uncovered as reason:
        LOG.warning("%s takes the generic engine, which is slower: %s", type(model).__name__, reason.why)
        return Generic(model, objective)


def layer_norms(
    model: DensityModel,
    x: Tensor,
    batch_sizes: Sequence[int],
    engine: str | None = None,
    objective: str = "log_prob",
) -> dict[int, LayerNorms]:
    """Squared gradient norms of every layer for groups of b consecutive images, for all b in one pass.

    x: (N, C, H, W), dequantised, all in memory at once; N a multiple of every b. Layers in the order of
    `model.layers()`. engine, objective: see make_engine. Raises ValueError if some b does not divide N.
    """
    return _layer_norms(make_engine(model, engine, objective), x, batch_sizes)


def extract(
    model: DensityModel,
    pixels: np.ndarray,
    dataset: str,
    split: str,
    batch_sizes: Sequence[int],
    chunk: int | None = None,
    on_chunk: Callable[[int], None] = lambda images: None,
    engine: str | None = None,
    objective: str = "log_prob",
    noise: str = "fixed",
    noise_key: Sequence[object] = (),
    units: Sequence[int] | None = None,
) -> list[Features]:
    """The features of pixels (N, C, H, W) uint8, one entry a batch size.

    units: N numbers, alike for images that belong together, from which groups are made (see grouping); by default every
    image is on its own. What does not fill a group of every size is used for b = 1 alone: `Features.images` tells.
    chunk: images worked on at once, a multiple of every batch size; it changes memory, and results only by rounding.
    By default 100, or fewer where gradients would fill more than 1 GiB; on a GPU as many as fit. Where the device has
    not the memory for them, it is halved.
    `on_chunk` is told the number of images done.
    engine, objective: see make_engine.
    noise: of dequantisation. "fixed" is that of the image, alike at every checkpoint; "fresh" follows from the data
    set, the split, the image's place and noise_key, which names the checkpoint; "none" is none.
    Raises ValueError if the images make no group.
    """
    grouping = group(np.arange(len(pixels)) if units is None else np.asarray(units), batch_sizes)
    if not all(len(grouping.images(b)) for b in batch_sizes):
        raise ValueError(
            f"{dataset}, {split}: {len(pixels)} images of {len({*grouping.units.tolist()})} units make no group of "
            f"{max(batch_sizes)} from as many units; lower features.batch_sizes, or choose another unit or more images"
        )
    norms_of, device = make_engine(model, engine, objective), next(model.parameters())

    def images(places: np.ndarray) -> Tensor:
        chosen = pixels[places]
        drawn = _noise(noise, chosen, places, dataset, split, noise_key)
        return dequantise(torch.from_numpy(chosen), drawn).to(device)

    parts: dict[int, list[LayerNorms]] = {b: [] for b in batch_sizes}
    for places, sizes in grouping.passes(batch_sizes):
        for done, norms_by_size in _in_chunks(norms_of, images, places, sizes, chunk):
            for b, norms in norms_by_size.items():
                parts[b].append(norms)
            on_chunk(done)
    layers = tuple(name for name, _ in model.layers())
    return [_features(parts[b], grouping, b, dataset, split, layers, model.dimensions) for b in batch_sizes]


def _noise(
    kind: str, pixels: np.ndarray, places: np.ndarray, dataset: str, split: str, key: Sequence[object]
) -> Tensor:
    """The noise of the images at these places of a split."""
    if kind == "fixed":
        return fixed_noise(pixels, dataset)
    if kind == "fresh":
        shape = (1, *pixels.shape[1:])
        return torch.cat([fresh_noise(shape, dataset, split, *key, first=place) for place in places.tolist()])
    return no_noise(pixels.shape)


def _in_chunks(
    norms_of: Engine,
    images: Callable[[np.ndarray], Tensor],
    places: np.ndarray,
    batch_sizes: Sequence[int],
    chunk: int | None,
) -> Iterator[tuple[int, dict[int, LayerNorms]]]:
    """How many images, and their norms; as many at once as there is memory for."""
    start, together = 0, math.lcm(*batch_sizes)
    chunk = chunk or _chunk(norms_of, images(places[:together]), batch_sizes)
    while start < len(places):
        x = images(places[start : start + chunk])
        try:
            norms = _layer_norms(norms_of, x, batch_sizes)
        except torch.OutOfMemoryError:
            if len(x) == together:
                raise
            chunk = max(len(x) // 2 // together, 1) * together
            continue
        yield len(x), norms
        start += len(x)


def _chunk(engine: Engine, x: Tensor, batch_sizes: Sequence[int]) -> int:
    """How many images to work on at once: on a GPU as many as fit, judged by x, one group of every size."""
    together = math.lcm(*batch_sizes)
    images = min(CPU_CHUNK, CPU_MEMORY // max(engine.gradient_bytes, 1))
    if x.device.type == "cuda" and len(x):
        engine(x, batch_sizes)  # once for what is allocated but once, such as cuBLAS's workspace
        torch.cuda.reset_peak_memory_stats(x.device)
        before = torch.cuda.memory_allocated(x.device)
        engine(x, batch_sizes)
        an_image = (torch.cuda.max_memory_allocated(x.device) - before) / len(x)
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(x.device)
        images = min(int(GPU_SHARE * free / max(an_image, 1)), LARGEST_CHUNK)
    return max(images // together, 1) * together


def _layer_norms(engine: Engine, x: Tensor, batch_sizes: Sequence[int]) -> dict[int, LayerNorms]:
    for b in batch_sizes:
        if len(x) % b:
            raise ValueError(f"{len(x)} images do not make groups of {b}")
    squared, log_prob = engine(x, batch_sizes)
    return {b: LayerNorms(squared[b], log_prob.reshape(-1, b).mean(dim=1)) for b in batch_sizes}


def _features(
    parts: list[LayerNorms],
    grouping: Grouping,
    b: int,
    dataset: str,
    split: str,
    layers: tuple[str, ...],
    dimensions: int,
) -> Features:
    """Groups in the order of their first images where b = 1, else in that of the grouping."""
    squared = torch.cat([part.squared for part in parts]).double().cpu().numpy()
    log_prob = torch.cat([part.log_prob for part in parts]).double().cpu().numpy()
    with np.errstate(divide="ignore"):  # log 0 = −inf is how a zero gradient is told
        log_norms = np.log(squared).astype(np.float32)
    images, cells = grouping.images(b), grouping.cells(b)
    order = np.argsort(images[:, 0]) if b == 1 else np.arange(len(images))
    return Features(
        dataset, split, log_norms[order], log_prob[order], images[order], layers, dimensions, units=cells[order]
    )
