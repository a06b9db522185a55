"""Detectors: one file a score, each fitted on the features of the in-distribution (ID) fit set. NumPy only.

What a detector reads of the features it says in `Config.needs`; by default log_norms.

A file, found by its name (see registry), has `fit(config, features)`, which gives a Detector, and, if it has options,
`Config`, a DetectorConfig; and `KINDS`, if it is not for all kinds of data: the names of those. A detector is a frozen
dataclass of arrays, numbers, strings and other such dataclasses, of the file that fits it or of one beside it: what it
knows is what is saved. Adding one is adding a file and a line to the study's `detectors`. Densities of vectors are in
_densities, what detectors on log norms share in _norms.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from immature_ood import registry
from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import DetectorConfig
from immature_ood.detectors._packing import packed, unpacked
from immature_ood.features import Features
from immature_ood.storage import StorageError, load_arrays, save_arrays

__all__ = [
    "Detector",
    "Fitted",
    "check_layers",
    "checked_log_norms",
    "checked_log_prob",
    "fit",
    "fit_all",
    "load_fitted",
    "mean_over_group",
    "save_fitted",
]

SCHEMA = "detectors/3"


class Detector(Protocol):
    """Scores groups of images (G groups); the higher the score, the more out-of-distribution (OOD)."""

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Layers left out because they carry no information on the fit set; empty if the detector uses no layers."""
        ...

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64, +inf for a group outside the support; raises ValueError if the features hold NaN.

        features: of the checkpoints that it was fitted on, in the same order.
        """
        ...


@dataclass(frozen=True)
class Fitted:
    """Detectors fitted at one place of a study.

    checkpoint: of the rows that they give.
    detectors: by name and batch size b.
    files: by name, the plug-in, as the study has it.
    reads: by name, the checkpoints whose features it was fitted on, and is to be given, in this order.
    """

    checkpoint: CheckpointId
    detectors: Mapping[tuple[str, int], Detector]
    files: Mapping[str, str]
    reads: Mapping[str, tuple[CheckpointId, ...]]


def fit(config: DetectorConfig, *features: Features) -> Detector:
    """Learns from the features of the ID fit set what its config describes; raises ValueError if they hold NaN.

    Most detectors take those of one checkpoint; one that reads several (DetectorConfig.reads) those of each.
    """
    detector: Detector = registry.load("detectors", config.detector).fit(config, *features)
    return detector


def fit_all(
    checkpoint: CheckpointId,
    detectors: Mapping[str, DetectorConfig],
    features: Mapping[CheckpointId, Mapping[int, Features]],
    reads: Mapping[str, Sequence[CheckpointId]] = MappingProxyType({}),
) -> Fitted:
    """Fits each detector, by its name, on the features of the ID fit set at each batch size b.

    checkpoint: of the rows that they give. features: by checkpoint and b. reads: by name, the checkpoints that a
    detector reads, where it is not that of its rows alone.
    """
    of_each = {name: tuple(reads.get(name, [checkpoint])) for name in detectors}
    fitted = {
        (name, b): fit(config, *(features[one][b] for one in of_each[name]))
        for name, config in detectors.items()
        for b in features[of_each[name][0]]
    }
    return Fitted(checkpoint, fitted, {name: config.detector for name, config in detectors.items()}, of_each)


def mean_over_group(samples: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(G,) float64: the mean score of each group's samples, (G, b, ...), of a score (n, ...) → (n,) of single ones."""
    groups, b = samples.shape[:2]
    scores = score(samples.reshape(groups * b, *samples.shape[2:]))
    return np.asarray(scores, dtype=np.float64).reshape(groups, b).mean(axis=1)


def checked_log_prob(features: Features) -> np.ndarray:
    """(G,) float64, the log-likelihoods; raises ValueError if one is NaN."""
    if np.isnan(features.log_prob).any():
        raise ValueError(
            f"the log-likelihood of {features.dataset}/{features.split} is NaN for "
            f"{np.isnan(features.log_prob).sum()} groups: did training diverge? lower its learning rate"
        )
    return features.log_prob.astype(np.float64)


def check_layers(layers: tuple[str, ...], features: Features) -> None:
    """Raises ValueError naming the first layer of the features that is not that of the fit."""
    for place, (fitted, found) in enumerate(zip_longest(layers, features.layers)):
        if fitted != found:
            raise ValueError(
                f"{features.dataset}/{features.split}: layer {place} is {found!r}, but the detector was fitted "
                f"with {fitted!r}; use features of the same model"
            )


def checked_log_norms(features: Features) -> np.ndarray:
    """(G, K) float64; raises ValueError naming the first layer with a NaN."""
    broken = np.isnan(features.log_norms).any(axis=0)
    if broken.any():
        raise ValueError(
            f"the gradient norm of layer {features.layers[broken.argmax()]!r} is NaN on "
            f"{features.dataset}/{features.split}: did training diverge? lower its learning rate"
        )
    return features.log_norms.astype(np.float64)


def save_fitted(path: str | os.PathLike[str], fitted: Fitted) -> None:
    """Writes fitted detectors: arrays as tensors "name/b=1/mean", the rest as metadata."""
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for (name, b), detector in fitted.detectors.items():
        own, entry = packed(detector, f"{name}/b={b}")
        arrays |= own
        entries.append({"name": name, "detector": fitted.files[name], "batch_size": b, **entry})
    reads = {name: [asdict(one) for one in checkpoints] for name, checkpoints in fitted.reads.items()}
    save_arrays(path, SCHEMA, arrays, {"checkpoint": asdict(fitted.checkpoint), "detectors": entries, "reads": reads})


def load_fitted(path: str | os.PathLike[str]) -> Fitted:
    """Reads what save_fitted wrote; raises StorageError if it is not that."""
    arrays, metadata = load_arrays(path, SCHEMA)
    try:
        entries, reads = metadata["detectors"], metadata["reads"]
        return Fitted(
            CheckpointId(**metadata["checkpoint"]),
            {(entry["name"], entry["batch_size"]): _restored(arrays, entry) for entry in entries},
            {entry["name"]: entry["detector"] for entry in entries},
            {name: tuple(CheckpointId(**one) for one in checkpoints) for name, checkpoints in reads.items()},
        )
    except (KeyError, TypeError, registry.PluginError) as error:
        raise StorageError(f"{path}: incomplete detectors ({error}); delete it and rerun") from error


def _restored(arrays: Mapping[str, np.ndarray], entry: Mapping[str, Any]) -> Detector:
    detector: Detector = unpacked(arrays, entry, f"{entry['name']}/b={entry['batch_size']}")
    return detector
