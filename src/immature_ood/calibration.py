"""What fitted detectors say of calibration images: ID images that neither the model nor any detector has seen."""

import os

import numpy as np

from immature_ood.detectors import Fitted, load_fitted
from immature_ood.features import Features, load_features
from immature_ood.scores import ScoreKey, Scores
from immature_ood.storage import StorageError

__all__ = ["CALIBRATION", "score_calibration"]

CALIBRATION = "calibration"  # the name of the split: images of the fit set after those that detectors are fitted on


def score_calibration(fitted_path: str | os.PathLike[str], features_path: str | os.PathLike[str]) -> Scores:
    """Scores the calibration images of one checkpoint with the detectors that were fitted to it alone.

    Raises StorageError if the features are of another checkpoint, of other batch sizes or another split.
    """
    fitted = load_fitted(fitted_path)
    checkpoint, features = load_features(features_path)
    if checkpoint != fitted.checkpoint or {one.split for one in features.values()} != {CALIBRATION}:
        raise StorageError(
            f"{features_path}: is not of the calibration images under {fitted.checkpoint}; delete it and rerun"
        )
    alone = _of_one_checkpoint(fitted)
    if missing := {b for _, b in alone} - features.keys():
        raise StorageError(f"{features_path}: has no groups of b={min(missing)}, which detectors are for; rerun both")
    return Scores(
        checkpoint,
        features[min(features)].bits_per_dim,
        {key: fitted.detectors[key].dead_layers for key in alone},
        {_key(key[0], features[key[1]]): _score(fitted, key, features[key[1]]) for key in alone},
        {(b, one.dataset, one.split): one.units for b, one in features.items()},
    )


def _of_one_checkpoint(fitted: Fitted) -> list[tuple[str, int]]:
    """The detectors, by name and b, that read the checkpoint of their rows and no other."""
    return [(name, b) for name, b in fitted.detectors if fitted.reads[name] == (fitted.checkpoint,)]


def _key(detector: str, features: Features) -> ScoreKey:
    return ScoreKey(detector, features.batch_size, features.dataset, features.split)


def _score(fitted: Fitted, key: tuple[str, int], features: Features) -> np.ndarray:
    return fitted.detectors[key].score(features)
