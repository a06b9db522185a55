"""Scores: what each fitted detector says of each group of test images, for one checkpoint. NumPy only."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from immature_ood.detectors import Detector, Fitted, load_fitted
from immature_ood.features import Features, load_features
from immature_ood.provenance import CheckpointId
from immature_ood.storage import StorageError, load_arrays, save_arrays

__all__ = ["ScoreKey", "Scores", "load_scores", "save_scores", "score_all"]

SCHEMA = "scores/2"


@dataclass(frozen=True, order=True)
class ScoreKey:
    """Which detector, at which batch size b, scored which split of which data set."""

    detector: str
    batch_size: int
    dataset: str
    split: str

    def __str__(self) -> str:
        return f"{self.detector}/b={self.batch_size}/{self.dataset}/{self.split}"


@dataclass(frozen=True)
class Scores:
    """All scores of one checkpoint; higher = more OOD.

    bits_per_dim: of the ID test set (groups of the smallest b).
    dead_layers:  by (detector, b), the layers the detector left out.
    values:       (G,) float64 by key, +inf allowed. ID data has the splits "fit" and "test", OOD data "test".
    units:        (G,) int64 by (b, data set, split): groups of the same number are not independent of one another.
    """

    checkpoint: CheckpointId
    bits_per_dim: float
    dead_layers: Mapping[tuple[str, int], tuple[str, ...]]
    values: Mapping[ScoreKey, np.ndarray]
    units: Mapping[tuple[int, str, str], np.ndarray] = field(default_factory=dict)

    @property
    def ood_datasets(self) -> list[str]:
        """The data sets that were scored as out-of-distribution, sorted."""
        return sorted({key.dataset for key in self.values} - {self.checkpoint.id_dataset})

    def of(self, detector: str, batch_size: int, dataset: str, split: str = "test") -> np.ndarray:
        """(G,) float64; raises KeyError if that was not scored."""
        return self.values[ScoreKey(detector, batch_size, dataset, split)]

    def units_of(self, batch_size: int, dataset: str, split: str = "test") -> np.ndarray:
        """(G,) int64: groups of the same number are not independent; raises KeyError if that was not scored."""
        return self.units[batch_size, dataset, split]


def score_all(fitted_path: str | os.PathLike[str], feature_paths: Iterable[str | os.PathLike[str]]) -> Scores:
    """Scores files of features (ID fit, ID test, each OOD test) with the detectors fitted to the same checkpoint.

    Raises StorageError if a file is of another checkpoint or of other batch sizes than the detectors, or if an ID
    split is missing; ValueError if a score is NaN.
    """
    checkpoint, fitted = load_fitted(fitted_path)
    values: dict[ScoreKey, np.ndarray] = {}
    units: dict[tuple[int, str, str], np.ndarray] = {}
    bits_per_dim = {}
    for path in feature_paths:
        features = _features_of(checkpoint, {b for _, b in fitted}, path)
        values |= {key: score for each in features.values() for key, score in _scored(fitted, each)}
        units |= {(b, each.dataset, each.split): each.units for b, each in features.items()}
        smallest = features[min(features)]
        bits_per_dim[smallest.dataset, smallest.split] = smallest.bits_per_dim
    for split in ("fit", "test"):
        if (checkpoint.id_dataset, split) not in bits_per_dim:
            raise StorageError(f"no features of {checkpoint.id_dataset}/{split} among the inputs; add that file")
    dead_layers = {key: detector.dead_layers for key, detector in fitted.items()}
    return Scores(checkpoint, bits_per_dim[checkpoint.id_dataset, "test"], dead_layers, values, units)


def save_scores(path: str | os.PathLike[str], scores: Scores) -> None:
    """Writes the scores of one checkpoint."""
    dead_layers = [[*key, layers] for key, layers in scores.dead_layers.items()]
    metadata = {
        "checkpoint": asdict(scores.checkpoint),
        "bits_per_dim": scores.bits_per_dim,
        "dead_layers": dead_layers,
        "keys": [asdict(key) for key in scores.values],
        "units": [*scores.units],
    }
    arrays = {str(key): value for key, value in scores.values.items()}
    save_arrays(path, SCHEMA, arrays | {_units_name(*key): each for key, each in scores.units.items()}, metadata)


def _units_name(b: int, dataset: str, split: str) -> str:
    """Of an array in the file; no key of scores begins like it, since no detector is called b=…."""
    return f"b={b}/{dataset}/{split}"


def load_scores(path: str | os.PathLike[str]) -> Scores:
    """Reads what save_scores wrote; raises StorageError if it is not that."""
    arrays, metadata = load_arrays(path, SCHEMA)
    try:
        keys = [ScoreKey(**key) for key in metadata["keys"]]
        return Scores(
            checkpoint=CheckpointId(**metadata["checkpoint"]),
            bits_per_dim=metadata["bits_per_dim"],
            dead_layers={(detector, b): tuple(layers) for detector, b, layers in metadata["dead_layers"]},
            values={key: arrays[str(key)] for key in keys},
            units={
                (b, dataset, split): arrays[_units_name(b, dataset, split)] for b, dataset, split in metadata["units"]
            },
        )
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: incomplete scores ({error}); delete it and rerun") from error


def _features_of(checkpoint: CheckpointId, batch_sizes: set[int], path: str | os.PathLike[str]) -> dict[int, Features]:
    found, features = load_features(path)
    if found != checkpoint:
        raise StorageError(f"{path}: is of {found}, but the detectors were fitted to {checkpoint}; delete it and rerun")
    if features.keys() != batch_sizes:
        raise StorageError(f"{path}: has groups of b={[*features]}, the detectors b={[*batch_sizes]}; rerun both")
    return features


def _scored(fitted: Fitted, features: Features) -> Iterator[tuple[ScoreKey, np.ndarray]]:
    """The scores of all detectors fitted at the batch size of the features."""
    for (name, b), detector in fitted.items():
        if b == features.batch_size:
            key = ScoreKey(name, b, features.dataset, features.split)
            yield key, _checked_score(key, detector, features)


def _checked_score(key: ScoreKey, detector: Detector, features: Features) -> np.ndarray:
    score = detector.score(features)
    if score.shape != features.log_prob.shape or np.isnan(score).any():
        raise ValueError(
            f"{key}: the detector gave {np.isnan(score).sum()} NaN among scores of shape {score.shape}; "
            f"it must give a number for each of the {len(features.log_prob)} groups"
        )
    return score
