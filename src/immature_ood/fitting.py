"""From images to a detector of images: train until it is enough, fit, calibrate, check. Arrays in, ImageDetector out.

Four parts of the images share none: the model is *trained* on the first, the detector *fitted* on the second, on which
the held-out bits/dim are measured too, p-values are *calibrated* on the third, and on the fourth false alarms are
counted as a *check*.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from immature_ood import face
from immature_ood.checkpoints import STATE, Run
from immature_ood.config import DetectorConfig
from immature_ood.detector_file import NAME, ImageDetector, extracted, rank_of
from immature_ood.provenance import versions
from immature_ood.storage import StorageError, load_metadata
from immature_ood.study import TrainingConfig
from immature_ood.training import TrainingState, restore, save, start, train

__all__ = ["DETECTOR", "FEWEST", "MOST", "Parts", "Recipe", "fit", "model_for", "parts_of", "sizes_of", "why_enough"]

DETECTOR: Mapping[str, Any] = {  # the highest means of docs/detectors: numbers of the image, and neighbours in norms
    "detector": "combined",
    "refit": True,  # on all of the fit images; what is calibrated on others is valid all the same
    "parts": {
        "statistics": {"detector": "image_statistics"},
        "norms": {"detector": "gradient_norms_knn", "layers": "without_weights"},
    },
}
TRAINING: Mapping[str, Any] = {"learning_rate": 5e-3, "batch_size": 32, "gradient_clip": 10.0}
FALL, PASSES, SECONDS = 0.2, 12, 90  # when training is enough: see why_enough
FEWEST = 100  # images; fewer have no 19 to calibrate with, which false alarms of 5 % need
LEAST_GROUPS = 19  # to calibrate with, and 20 to fit on
MOST = {"train": 10_000, "fit": 1000, "test": 1500}  # images of each split that are used: more change little
LEVELS = (0.01, 0.05)  # at which false alarms are checked
DIGITS = 4  # of bits/dim on the card


@dataclass(frozen=True)
class Recipe:
    """How a detector is made.

    model: None: model_for the images. epochs: passes over the training images; None: until why_enough. batch_sizes: of
    groups, as far as there are enough images for them. keep_thumbnails: the detector holds the images of the fit set.
    """

    model: str | Mapping[str, Any] | None = None
    detector: str | Mapping[str, Any] = field(default_factory=lambda: DETECTOR)
    epochs: int | None = None
    seed: int = 0
    training: Mapping[str, Any] = field(default_factory=lambda: TRAINING)
    batch_sizes: Sequence[int] = (1, 5)
    keep_thumbnails: bool = False


@dataclass(frozen=True)
class Parts:
    """Images (n, C, H, W) uint8 of the four parts."""

    train: np.ndarray
    fit: np.ndarray
    calibration: np.ndarray
    check: np.ndarray


def parts_of(splits: Mapping[str, np.ndarray]) -> Parts:
    """Of the splits train, fit and test; two thirds of the test images calibrate, the others check."""
    calibration = -(-2 * len(splits["test"]) // 3)
    return Parts(splits["train"], splits["fit"], splits["test"][:calibration], splits["test"][calibration:])


def sizes_of(images: int) -> dict[str, int]:
    """How many of so many images each split gets: half, a fifth and three tenths, and no more than MOST.

    Raises ValueError if they are fewer than FEWEST.

    >>> sizes_of(1000)
    {'train': 500, 'fit': 200, 'test': 300}
    """
    if images < FEWEST:
        raise ValueError(f"{images} images are too few: a detector needs {FEWEST}, all different; give more")
    fit, test = min(images // 5, MOST["fit"]), min(3 * images // 10, MOST["test"])
    return {"train": min(images - fit - test, MOST["train"]), "fit": fit, "test": test}


def why_enough(log: Sequence[Mapping[str, Any]]) -> str:
    """Why training stops after the last row of a log, which has one an epoch from 0 on; empty: it goes on.

    Held-out bits/dim fell by less than FALL in a pass; or it made PASSES; or took SECONDS, which alone depends on the
    machine. ID images decide, and no others; docs/detectors says how little the detectors gain by more.
    """
    if len(log) < 2:
        return ""
    fell = log[-2]["fit_bits_per_dim"] - log[-1]["fit_bits_per_dim"]
    if not fell >= FALL:
        return f"held-out bits/dim fell by {fell:.3f} in the last pass, less than {FALL}"
    if log[-1]["epoch"] >= PASSES:
        return f"{PASSES} passes, the most by default"
    return f"{SECONDS} s of training, the most by default" if sum(row["seconds"] for row in log) > SECONDS else ""


def fit(
    parts: Parts,
    recipe: Recipe,
    work: Path,
    *,
    device: str = "cpu",
    card: Mapping[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
) -> ImageDetector:
    """Trains, fits, calibrates and checks. Equal images, recipe and torch threads give equal detectors.

    work: a folder for the states of training; what is there of the same training goes on. card: JSON values that its
    card has besides. Raises ValueError if images or recipe do not do, TrainingInterrupted if a signal asked to stop.
    """
    shape = parts.train.shape[1:]
    config, reads = face.model_of(recipe.model or model_for(shape), shape), _reads(recipe)
    options = face.section_of(TrainingConfig, recipe.training)
    _check_number(len(parts.train), options)
    run = face.run_of(config, face.checked(parts.train), options, recipe.seed, NAME)
    state, stopped = _trained(run, parts, recipe.epochs, work, torch.device(device), on_epoch)
    model, sizes = state.model.eval(), _batch_sizes(parts, recipe.batch_sizes)
    known = extracted(model, reads, parts.fit, sizes)
    detectors = {b: face.fit(reads, *known[b]) for b in sizes}
    bare = ImageDetector(model, config, reads, shape, detectors, {})
    scores = {b: np.sort(bare.score(parts.calibration, b)) for b in sizes}
    calibrated = ImageDetector(model, config, reads, shape, detectors, scores)
    described = {**(card or {}), **_card(calibrated, parts, state, stopped)}
    if not recipe.keep_thumbnails:
        return replace(calibrated, card=described)
    return replace(calibrated, card={**described, "thumbnails": len(parts.fit)}, thumbnails=parts.fit)


def model_for(shape: Sequence[int]) -> dict[str, Any]:
    """A small Glow for images of shape (C, H, W); raises ValueError if a side is odd.

    >>> model_for((1, 28, 28))
    {'architecture': 'glow', 'blocks': 2, 'hidden_channels': 32}
    """
    sides = shape[1:]
    if any(side % 2 for side in sides):
        raise ValueError(f"images are {sides[1]}×{sides[0]}: both sides must be even, best multiples of 4")
    return {"architecture": "glow", "blocks": 1 if any(side % 4 for side in sides) else 2, "hidden_channels": 32}


def _check_number(images: int, options: TrainingConfig) -> None:
    if images < options.images_needed:
        raise ValueError(f"{images} different images to train on are too few, {options.images_needed} are needed")


def _reads(recipe: Recipe) -> DetectorConfig:
    reads: DetectorConfig = face.plug_in("detectors", recipe.detector)
    return reads


def _batch_sizes(parts: Parts, asked: Sequence[int]) -> list[int]:
    """The sizes for which there are enough groups; raises ValueError if there is none."""
    there = [b for b in asked if len(parts.calibration) // b >= LEAST_GROUPS and len(parts.fit) // b > LEAST_GROUPS]
    if not there:
        raise ValueError(
            f"{len(parts.fit)} images to fit on and {len(parts.calibration)} to calibrate with are too few for groups "
            f"of {min(asked)}: {LEAST_GROUPS + 1} and {LEAST_GROUPS} groups are needed; give more images"
        )
    return there


def _trained(
    run: Run,
    parts: Parts,
    epochs: int | None,
    work: Path,
    device: torch.device,
    on_epoch: Callable[[dict[str, Any]], None],
) -> tuple[TrainingState, str]:
    """The state at the end of training, and why that is the end; goes on with what is in the folder."""
    scratch, done = work / "scratch", work / "trained"
    state = _begun(run, parts.train, done, device, epochs)
    log = _log_there(scratch / f"{run.key}.safetensors") or [*state.log]
    stops = why_enough if epochs is None else lambda log: ""

    def told(row: dict[str, Any]) -> None:
        log.append(row)
        on_epoch(row)
        if stops(log):
            raise _Enough

    def trained(until: int) -> TrainingState:
        return train(state, until, parts.train, parts.fit, scratch, told, lambda state: save(state, done))

    try:
        state = trained(log[-1]["epoch"] if stops(log) else PASSES if epochs is None else epochs)
    except _Enough:
        state = trained(log[-1]["epoch"])
    return state, stops(state.log) or "as asked for"


def _begun(run: Run, images: np.ndarray, done: Path, device: torch.device, epochs: int | None) -> TrainingState:
    """Where training begins: after what is done, or anew where nothing is, or too much, or of other images."""
    with suppress(StorageError):
        state = restore(run, done, device)
        if epochs is None or state.epoch <= epochs:
            return state
    return start(run, images, device)


class _Enough(Exception):
    """Training has come far enough."""


def _log_there(file: Path) -> list[dict[str, Any]]:
    """The log of an interrupted training; empty if there is none."""
    try:
        return [*load_metadata(file, STATE)["log"]] if file.exists() else []
    except (StorageError, KeyError):
        return []


def _card(detector: ImageDetector, parts: Parts, state: TrainingState, stopped: str) -> dict[str, Any]:
    seen = ("epoch", "images_seen", "train_bits_per_dim", "fit_bits_per_dim")
    rounded = [{key: _rounded(row[key]) for key in seen} for row in state.log]
    return {
        "images": {name: len(each) for name, each in vars(parts).items()},
        "shape": list(detector.shape),
        "train_sha256": state.run.train_sha256,
        "model": detector.config.model_dump(mode="json"),
        "detector": detector.reads.model_dump(mode="json"),
        "seed": state.run.seed,
        "threads": state.run.threads,
        "training": rounded,
        "stopped": stopped,
        "false_alarms": [each for b in detector.detectors for each in _false_alarms(detector, parts.check, b)],
        "versions": versions("torch", "numpy", "scipy", "safetensors"),
    }


def _rounded(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value


def _false_alarms(detector: ImageDetector, images: np.ndarray, b: int) -> list[dict[str, Any]]:
    """At each level that there can be alarms at, how many of the groups that nothing was done with are called odd."""
    p = detector.p_values(detector.score(images, b), b)
    levels = [a for a in LEVELS if rank_of(a, len(detector.calibration[b]))]
    return [{"batch_size": b, "level": a, "groups": len(p), "alarms": int((p <= a).sum())} for a in levels]
