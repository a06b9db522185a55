"""Samples drawn from a model: to be looked at, or to train another model on them."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import SAMPLES
from immature_ood.density import DensityModel
from immature_ood.dequantisation import derive_seed
from immature_ood.kinds import KindOfData
from immature_ood.progress import progress
from immature_ood.storage import write_array, write_json

__all__ = ["LOOKS", "Drawn", "draw", "write_samples"]

CHUNK = 250  # samples drawn at once
LOOKS = 0.7  # temperature of the samples drawn to be looked at, as Kingma & Dhariwal draw theirs


@dataclass(frozen=True)
class Drawn:
    """Samples drawn from a model.

    stored: (N, *shape), as in data sets' files. clipped: the share of numbers, such as pixels, that fell out of range
    and were set to the nearer end.
    """

    stored: np.ndarray
    clipped: float


def draw(model: DensityModel, data: KindOfData, number: int, temperature: float, name: str) -> Drawn:
    """Draws so many samples of a kind of data; the name, such as that of their data set, is the seed."""
    parts, outside = [], 0
    with progress(f"samples {name}", number) as advance:
        for start in range(0, number, CHUNK):
            generator = torch.Generator().manual_seed(derive_seed("samples", name, start))
            x = model.sample(min(CHUNK, number - start), generator, temperature)
            stored, beyond = data.to_stored(x)
            parts.append(stored.cpu().numpy())
            outside += beyond
            advance(len(x))
    drawn = np.concatenate(parts)
    return Drawn(drawn, outside / drawn.size)


def write_samples(
    folder: str | os.PathLike[str],
    name: str,
    drawn: Drawn,
    checkpoint: CheckpointId,
    made_from: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Writes folder/train.npy and, last, folder/manifest.json; equal samples give equal bytes.

    made_from: JSON values of all that the samples follow from but the checkpoint, which the manifest keeps (validity).
    """
    write_array(Path(folder, "train.npy"), drawn.stored)
    digest = hashlib.sha256(drawn.stored.tobytes()).hexdigest()
    manifest = {
        "schema": "samples/1",
        "name": name,
        "source": SAMPLES,
        "checkpoint": asdict(checkpoint),
        "clipped": drawn.clipped,
        "splits": {"train": {"count": len(drawn.stored), "sha256": digest}},
        "made_from": dict(made_from),
    }
    write_json(Path(folder, "manifest.json"), manifest)
