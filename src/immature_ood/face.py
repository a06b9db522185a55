"""The package from Python, without a study: from arrays of images to scores.

A model or a detector is named, such as "glow", or described as in a study, such as {"architecture": "glow", "blocks":
1}. `import immature_ood` offers all of it. What is wrong with a call is told by a ValueError.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError

from immature_ood import detectors, extraction, models, registry
from immature_ood.checkpoints import Run
from immature_ood.config import Config, DetectorConfig, ModelConfig
from immature_ood.density import DensityModel
from immature_ood.dequantisation import derive_seed
from immature_ood.detectors import Detector
from immature_ood.extraction import Split
from immature_ood.features import LOG_NORMS, Features
from immature_ood.intervals import Estimate, Units, evaluate
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.study import EvaluationConfig, FeatureConfig, TrainingConfig, faults_of
from immature_ood.training import start, train_epoch

__all__ = [
    "FittedDetector",
    "OfShape",
    "auroc",
    "checked",
    "extract",
    "fit",
    "make_model",
    "model_of",
    "plug_in",
    "run_of",
    "section_of",
    "train",
]

Section = TypeVar("Section", bound=Config)


class OfShape(ImageConfig):
    """Images that need not be square, as those of a study are."""

    given: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.given


def make_model(model: str | Mapping[str, Any] | ModelConfig, shape: Sequence[int], seed: int = 0) -> DensityModel:
    """An untrained model of images of a shape (C, H, W); `train` to epoch 0 sets its actnorms too, if it has such."""
    generator = torch.Generator().manual_seed(derive_seed("weights", seed))
    return models.make_model(model_of(model, tuple(shape)), tuple(shape), generator)


def train(
    model: str | Mapping[str, Any] | ModelConfig,
    images: np.ndarray,
    epochs: int,
    seed: int = 0,
    *,
    training: Mapping[str, Any] | TrainingConfig = TrainingConfig(),  # noqa: B008 frozen
    name: str = "images",
    device: str = "cpu",
) -> DensityModel:
    """The model after so many epochs on images (N, C, H, W) uint8; 0 is the untrained control.

    training: the section of that name of a study. name: of the data set, from which random numbers follow, as they do
    from the seed and the model's name. Results depend on torch's number of threads.
    """
    images, options = checked(images), section_of(TrainingConfig, training)
    run = run_of(model_of(model, images.shape[1:]), images, options, seed, name)
    if epochs < 0:
        raise ValueError(f"epochs: must be 0 or more, not {epochs}")
    if epochs and len(images) < options.images_needed:
        raise ValueError(
            f"train: {len(images)} images are too few for batch_size {options.batch_size}; lower it, or give more"
        )
    state = start(run, images, torch.device(device))
    for _ in range(epochs):
        train_epoch(state, torch.from_numpy(images))
    return state.model.eval()


def extract(
    model: DensityModel,
    images: np.ndarray,
    batch_sizes: Sequence[int] = (1,),
    *,
    objective: str | Sequence[str] | None = None,
    noise: str = "fixed",
    layers: str = "all",
    precision: str = "fp32",
    statistics: Sequence[str] = (LOG_NORMS,),
    units: Sequence[int] | None = None,
    name: str = "images",
) -> dict[int, Features]:
    """The features of images (N, C, H, W) uint8 by batch size b: what detectors are fitted on, and score.

    objective, noise, layers, precision: as in the section `features` of a study. statistics: what detectors read (see
    Features); log_prob is among them if the model knows it. units: N numbers, alike for images that belong together; by
    default each is on its own. name: of the data set, from which the noise of dequantisation follows too.
    """
    objectives = objective if isinstance(objective, str | None) else [*objective]
    asked = {"batch_sizes": [*batch_sizes], "objective": objectives, "noise": noise, "layers": layers}
    asked |= {"precision": precision}
    images, options = checked(images, model.shape), section_of(FeatureConfig, asked)
    if len(images) < max(options.batch_sizes):
        raise ValueError(f"{len(images)} images make no group of {max(options.batch_sizes)}; give more, or a smaller b")
    if units is not None and len(units) != len(images):
        raise ValueError(f"units: {len(images)}, one for each image, got {len(units)}")
    split = Split(images, OfShape(given=images.shape[1:]), name, "test", units)
    found = extraction.extract(model, split, options, statistics)
    return {features.batch_size: features for features in found}


@dataclass(frozen=True)
class FittedDetector:
    """A detector that knows what it was fitted on, and takes nothing else."""

    detector: Detector
    batch_size: int
    layers: tuple[tuple[str, ...], ...]

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """Layers left out because they carry no information on the fit set."""
        return self.detector.dead_layers

    def score(self, *features: Features) -> np.ndarray:
        """(G,) float64 of G groups, higher = more out-of-distribution; +inf for a group outside the support."""
        _check_features(features, self.batch_size)
        if self.layers != _layers(features):
            raise ValueError("features: have other layers than those of the fit; use the same model")
        return self.detector.score(*features)


def fit(detector: str | Mapping[str, Any] | DetectorConfig, *features: Features) -> FittedDetector:
    """Fits a detector on the features of in-distribution images at one batch size b; few read more than one model's."""
    _check_features(features, features[0].batch_size if features and isinstance(features[0], Features) else 0)
    fitted = detectors.fit(plug_in("detectors", detector), *features)
    return FittedDetector(fitted, features[0].batch_size, _layers(features))


def auroc(
    id_scores: Sequence[float] | np.ndarray,
    ood_scores: Sequence[float] | np.ndarray,
    *,
    units: tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The probability that an OOD score (m,) is higher than an ID score (n,), ties half, with its interval.

    units: of both, such as `Features.units`: groups of the same number are not independent; by default all are. low and
    high are NaN with fewer than 10 units of ID or of OOD.
    """
    config = section_of(EvaluationConfig, {"confidence": confidence})
    of_id, of_ood = _row("id_scores", id_scores), _row("ood_scores", ood_scores)
    if units and tuple(map(len, units)) != (len(of_id), len(of_ood)):
        raise ValueError(f"units: {len(of_id)} and {len(of_ood)}, one for each score, got {[*map(len, units)]}")
    return evaluate(of_id, of_ood, config, units and Units.numbered(*map(np.asarray, units)))["auroc"]


def run_of(config: ModelConfig, images: np.ndarray, options: TrainingConfig, seed: int, name: str) -> Run:
    """What the weights of a training on images (N, C, H, W) uint8 follow from, with torch's number of threads."""
    return Run(
        id_dataset=name,
        model_name=registry.own_name(config.architecture),
        model=config,
        training=options,
        data=OfShape(given=images.shape[1:]),
        seed=seed,
        threads=torch.get_num_threads(),
        train_sha256=hashlib.sha256(images.tobytes()).hexdigest(),
        source={},
    )


def model_of(model: str | Mapping[str, Any] | ModelConfig, shape: tuple[int, ...]) -> ModelConfig:
    """The config of a model that is named or described; raises ValueError if there is none for samples of a shape."""
    config: ModelConfig = plug_in("models", model)
    if faults := [*config.faults(shape)]:
        raise ValueError("\n".join(faults))
    return config


def plug_in(kind: registry.Kind, given: str | Mapping[str, Any] | Config) -> Any:
    """The config of a plug-in that is named or described; raises ValueError if there is no such."""
    key = registry.KEYS[kind]
    described = {key: given} if isinstance(given, str) else given
    if isinstance(described, Mapping) and not isinstance(described.get(key), str):
        raise ValueError(f"{key}: is missing; name one of {', '.join(registry.names(kind))}")
    if isinstance(described, Config):
        return described
    return section_of(registry.config_class(kind, described[key]), described)


def section_of(section: type[Section], given: Mapping[str, Any] | Section) -> Section:
    """A section of a study; raises ValueError with one line a fault."""
    if isinstance(given, section):
        return given
    try:
        return section.model_validate(given)
    except ValidationError as error:
        raise ValueError("\n".join(faults_of(section, error, given))) from None


def checked(images: np.ndarray, shape: Sequence[int] | None = None) -> np.ndarray:
    """A copy, in one piece of memory; raises ValueError if that is not images (N, C, H, W) uint8 of this shape."""
    if fault := _fault(images):
        raise ValueError(f"images: {fault}")
    if shape is not None and images.shape[1:] != tuple(shape):
        raise ValueError(f"images: are {images.shape[1:]} each, but the model takes {tuple(shape)}")
    return np.array(images, order="C")


def _fault(images: Any) -> str:
    """What is wrong with an array of images, and how to mend it; empty if nothing is."""
    if not isinstance(images, np.ndarray):
        return f"must be a NumPy array, not {type(images).__name__}"
    if images.dtype.kind == "f" and np.isnan(images).any():
        return "hold NaN"
    if images.dtype != np.uint8:
        mend = "; if they are in 0 … 1, take (255 * images).round().astype('uint8')" if images.dtype.kind == "f" else ""
        return f"must be uint8, not {images.dtype}{mend}"
    if images.ndim != 4:
        return f"must be (N, C, H, W), not {images.shape}{'; take images[:, None]' if images.ndim == 3 else ''}"
    if images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        return f"must be (N, C, H, W), not {images.shape}; take images.transpose(0, 3, 1, 2)"
    return "" if images.size else f"are none, {images.shape}"


def _row(name: str, scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """(n,) float64; raises ValueError if that is not some numbers."""
    row = np.asarray(scores, dtype=np.float64)
    if row.ndim != 1 or not row.size or np.isnan(row).any():
        fault = "hold NaN" if np.isnan(row).any() else f"must be some numbers in a row, (n,), not {row.shape}"
        raise ValueError(f"{name}: {fault}")
    return row


def _layers(features: Sequence[Features]) -> tuple[tuple[str, ...], ...]:
    return tuple(each.layers for each in features)


def _check_features(features: Sequence[object], batch_size: int) -> None:
    """Raises ValueError if that is not features of groups of b."""
    if not features:
        raise ValueError("features: there are none; give what extract found, such as features[1]")
    for each in features:
        if not isinstance(each, Features):
            raise ValueError(f"features: must be of one batch size, such as features[1], not {type(each).__name__}")
        if each.batch_size != batch_size:
            raise ValueError(f"features: must be of groups of {batch_size}, not of {each.batch_size}")
