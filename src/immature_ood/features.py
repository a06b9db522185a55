"""Features: layer-wise gradient norms and log-likelihoods of groups of images. Needs no torch."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from immature_ood.provenance import CheckpointId
from immature_ood.storage import StorageError, load_arrays, save_arrays

__all__ = ["Features", "load_features", "save_features"]

SCHEMA = "features/2"
ARRAYS = ("log_norms", "log_prob", "images", "units")


@dataclass(frozen=True)
class Features:
    """What one checkpoint says of one split, for groups of b images (G groups, K layers).

    log_norms: (G, K) float32, log ‖∇_{θ_k} Σ_{i in group} log p(x_i)‖² ; −inf where the gradient is exactly zero.
    log_prob:  (G,) float64, the mean log-likelihood of the group's images, nats per image.
    images:    (G, b) int64, the place in the split of each image used.
    layers:    K names of parameter tensors.
    dimensions: D = C·H·W of an image, so that bits/dim = −log_prob / (D ln 2).
    units:     (G,) int64, groups of the same number are not independent of one another (see grouping).
    """

    dataset: str
    split: str
    log_norms: np.ndarray
    log_prob: np.ndarray
    images: np.ndarray
    layers: tuple[str, ...]
    dimensions: int
    units: np.ndarray

    @property
    def batch_size(self) -> int:
        """b, the number of images a group."""
        return self.images.shape[1]

    @property
    def bits_per_dim(self) -> float:
        """Mean bits per dimension of the split."""
        return float(-self.log_prob.mean() / (self.dimensions * np.log(2)))


def save_features(
    path: str | os.PathLike[str],
    checkpoint: CheckpointId,
    features: Iterable[Features],
    made_from: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Writes the features of one split, one entry a batch size; made_from: JSON values of the settings (validity)."""
    features = list(features)
    arrays = {f"b={f.batch_size}/{name}": getattr(f, name) for f in features for name in ARRAYS}
    common = {name: getattr(features[0], name) for name in ("dataset", "split", "layers", "dimensions")}
    batch_sizes = [f.batch_size for f in features]
    described = {"batch_sizes": batch_sizes, "checkpoint": asdict(checkpoint), "made_from": dict(made_from)}
    save_arrays(path, SCHEMA, arrays, common | described)


def load_features(path: str | os.PathLike[str]) -> tuple[CheckpointId, dict[int, Features]]:
    """Reads what save_features wrote: the checkpoint, and the features by batch size b."""
    arrays, metadata = load_arrays(path, SCHEMA)
    try:
        checkpoint = CheckpointId(**metadata["checkpoint"])
        return checkpoint, {b: _features(arrays, metadata, b) for b in metadata["batch_sizes"]}
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: incomplete features ({error}); delete it and rerun") from error


def _features(arrays: dict[str, np.ndarray], metadata: dict[str, Any], b: int) -> Features:
    return Features(
        dataset=metadata["dataset"],
        split=metadata["split"],
        **{name: arrays[f"b={b}/{name}"] for name in ARRAYS},
        layers=tuple(metadata["layers"]),
        dimensions=metadata["dimensions"],
    )
