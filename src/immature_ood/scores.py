"""Scores: what each fitted detector says of each group of test images, for one checkpoint. NumPy only."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter

import numpy as np

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import POOLED
from immature_ood.detectors import Detector, Fitted, load_fitted
from immature_ood.features import Features, load_features
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


def score_all(
    fitted_path: str | os.PathLike[str],
    feature_paths: Iterable[str | os.PathLike[str]],
    on_scored: Callable[[str, int, float, int], None] = lambda detector, b, seconds, samples: None,
) -> Scores:
    """Scores files of features (ID fit, ID test, each OOD test) with the detectors fitted to the same checkpoints.

    on_scored: is told of each detector, b and split how many seconds its samples took, and how many they are. Raises
    StorageError if a file is of a checkpoint that no detector reads or of other batch sizes than the detectors, or if
    an ID split is missing; ValueError if a score is NaN.
    """
    fitted = load_fitted(fitted_path)
    checkpoint = fitted.checkpoint
    features: dict[tuple[str, str], dict[CheckpointId, dict[int, Features]]] = {}
    for path in feature_paths:
        found, by_size = _features_of(fitted, path)
        smallest = by_size[min(by_size)]
        features.setdefault((smallest.dataset, smallest.split), {})[found] = by_size
    for split in ("fit", "test"):
        if (checkpoint.id_dataset, split) not in features:
            raise StorageError(f"no features of {checkpoint.id_dataset}/{split} among the inputs; add that file")
    return Scores(
        checkpoint,
        _bits_per_dim(checkpoint, features[checkpoint.id_dataset, "test"]),
        {key: detector.dead_layers for key, detector in fitted.detectors.items()},
        {key: score for each in features.values() for key, score in _scored(fitted, each, on_scored)},
        {
            (b, one.dataset, one.split): one.units
            for by_checkpoint in features.values()
            for b, one in next(iter(by_checkpoint.values())).items()
        },
    )


def _bits_per_dim(checkpoint: CheckpointId, features: Mapping[CheckpointId, Mapping[int, Features]]) -> float:
    """Of the groups of the smallest b, of the checkpoint or, of all seeds together, the mean over theirs."""
    own = [by_size for one, by_size in features.items() if _belongs(one, checkpoint)]
    return float(np.mean([by_size[min(by_size)].bits_per_dim for by_size in own]))


def _belongs(one: CheckpointId, checkpoint: CheckpointId) -> bool:
    """Whether a checkpoint is the one that rows are of, or one of those that are pooled in them."""
    return one == checkpoint or (checkpoint.seed == POOLED and _setting(one) == _setting(checkpoint))


def _setting(one: CheckpointId) -> tuple[str, str, int]:
    """All that seeds have in common."""
    return one.id_dataset, one.model, one.epoch


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


def _features_of(fitted: Fitted, path: str | os.PathLike[str]) -> tuple[CheckpointId, dict[int, Features]]:
    found, features = load_features(path)
    known = {one for checkpoints in fitted.reads.values() for one in checkpoints}
    if found not in known and not _belongs(found, fitted.checkpoint):
        raise StorageError(
            f"{path}: is of {found}, but the detectors were fitted to {fitted.checkpoint}; delete it and rerun"
        )
    if features.keys() != (sizes := {b for _, b in fitted.detectors}):
        raise StorageError(f"{path}: has groups of b={[*features]}, the detectors b={sorted(sizes)}; rerun both")
    return found, features


def _scored(
    fitted: Fitted,
    features: Mapping[CheckpointId, Mapping[int, Features]],
    on_scored: Callable[[str, int, float, int], None],
) -> Iterator[tuple[ScoreKey, np.ndarray]]:
    """The scores of all detectors on one split, whose features are by checkpoint and b."""
    for (name, b), detector in fitted.detectors.items():
        given = [features[checkpoint][b] for checkpoint in fitted.reads[name]]
        key = ScoreKey(name, b, given[0].dataset, given[0].split)
        before = perf_counter()
        score = _checked_score(key, detector, given)
        on_scored(name, b, perf_counter() - before, given[0].images.size)
        yield key, score


def _checked_score(key: ScoreKey, detector: Detector, features: Sequence[Features]) -> np.ndarray:
    score, groups = detector.score(*features), len(features[0].units)
    if score.shape != (groups,) or np.isnan(score).any():
        raise ValueError(
            f"{key}: the detector gave {np.isnan(score).sum()} NaN among scores of shape {score.shape}; "
            f"it must give a number for each of the {groups} groups"
        )
    return score
