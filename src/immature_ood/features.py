"""Features: what one checkpoint says of groups of samples, such as layer-wise gradient norms. Needs no torch."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.storage import StorageError, load_arrays, save_arrays

__all__ = ["LOG_NORMS", "LOG_PROB", "PIXELS", "Features", "load_features", "save_features"]

SCHEMA = "features/3"
LOG_NORMS, LOG_PROB, PIXELS = "log_norms", "log_prob", "pixels"


@dataclass(frozen=True)
class Features:
    """What one checkpoint says of one split, for groups of b images (G groups, K layers): what was asked for.

    statistics: by name,
        log_norms: (G, K) float32, log ‖∇_{θ_k} Σ_{i in group} value(x_i)‖² of the objective, mostly log p; −inf where
            the gradient is exactly zero;
        log_prob: (G,) float64, the mean log-likelihood of the group's images, nats per image;
        latent: (G, b, ...) float32, the final latent of each image;
        pixels: (G, b, C, H, W) uint8, the images themselves;
        latents, log_singular_values: (G, b, D) float32, and log_prior: (G,) float64, of flows (see derived);
        and what else the model's objective gives: of numbers the group's mean, (G,) float64, else (G, b, ...) float32.
    images:    (G, b) int64, the place in the split of each image used.
    layers:    K names of parameter tensors.
    dimensions: D = C·H·W of an image, so that bits/dim = −log_prob / (D ln 2).
    units:     (G,) int64, groups of the same number are not independent of one another (see grouping).
    """

    dataset: str
    split: str
    statistics: Mapping[str, np.ndarray]
    images: np.ndarray
    layers: tuple[str, ...]
    dimensions: int
    units: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """A statistic; raises ValueError if it was not asked for."""
        if name not in self.statistics:
            raise ValueError(
                f"{self.dataset}/{self.split}: the features hold {', '.join(self.statistics)}, but no {name}; a "
                "detector that reads it has it among its needs"
            )
        return self.statistics[name]

    def taken(self, groups: np.ndarray) -> "Features":
        """Those of some groups alone: places, or (G,) true and false."""
        statistics = {name: each[groups] for name, each in self.statistics.items()}
        return replace(self, statistics=statistics, images=self.images[groups], units=self.units[groups])

    @property
    def log_norms(self) -> np.ndarray:
        """(G, K) float32; raises ValueError if there are none."""
        return self.of(LOG_NORMS)

    @property
    def log_prob(self) -> np.ndarray:
        """(G,) float64; raises ValueError if there is none."""
        return self.of(LOG_PROB)

    @property
    def batch_size(self) -> int:
        """b, the number of images a group."""
        return self.images.shape[1]

    @property
    def bits_per_dim(self) -> float:
        """Mean bits per dimension of the split; NaN where the likelihood is not known."""
        if LOG_PROB not in self.statistics:
            return float("nan")
        return float(-self.log_prob.mean() / (self.dimensions * np.log(2)))


def save_features(
    path: str | os.PathLike[str],
    checkpoint: CheckpointId,
    features: Iterable[Features],
    made_from: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Writes the features of one split, one entry a batch size; made_from: JSON values of the settings (validity)."""
    features = list(features)
    arrays = {f"b={f.batch_size}/{name}": array for f in features for name, array in _arrays(f).items()}
    common = {name: getattr(features[0], name) for name in ("dataset", "split", "layers", "dimensions")}
    common["statistics"] = [*features[0].statistics]
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


def _arrays(features: Features) -> dict[str, np.ndarray]:
    return {"images": features.images, "units": features.units, **features.statistics}


def _features(arrays: dict[str, np.ndarray], metadata: dict[str, Any], b: int) -> Features:
    return Features(
        dataset=metadata["dataset"],
        split=metadata["split"],
        statistics={name: arrays[f"b={b}/{name}"] for name in metadata["statistics"]},
        images=arrays[f"b={b}/images"],
        layers=tuple(metadata["layers"]),
        dimensions=metadata["dimensions"],
        units=arrays[f"b={b}/units"],
    )
