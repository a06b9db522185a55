"""What is on disk of a training run: weights and training states as safetensors, data and never code."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from immature_ood import registry
from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import AugmentationConfig, ModelConfig
from immature_ood.density import DensityModel
from immature_ood.kinds import KindOfData
from immature_ood.models import make_model
from immature_ood.storage import StorageError, load_arrays, save_arrays
from immature_ood.study import TrainingConfig

__all__ = ["Run", "load_model", "load_tensors", "save_tensors"]

WEIGHTS = "weights/1"
STATE = "training-state/1"


@dataclass(frozen=True)
class Run:
    """Everything that defines the weights of each epoch; never the list of kept epochs.

    stands_for: the data set whose random numbers are taken; empty: id_dataset.
    """

    id_dataset: str
    model_name: str
    model: ModelConfig
    training: TrainingConfig
    data: KindOfData
    seed: int
    threads: int
    train_sha256: str
    source: Mapping[str, str]
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    stands_for: str = ""

    @property
    def random_key(self) -> tuple[int, str, str]:
        """What all random numbers of the run follow from: seed, data set and model, never the key.

        An edit of the sources then changes no initial weights, and a data set that stands for another, such as the
        same photographs stored as JPEG, begins with that one's weights.
        """
        return self.seed, self.stands_for or self.id_dataset, self.model_name

    @property
    def dequantised(self) -> bool:
        """Whether training samples get noise."""
        return self.data.noisy and self.training.dequantisation == "uniform"

    @property
    def description(self) -> dict[str, Any]:
        """JSON values of every field."""
        sections = ("model", "training", "data", "augmentation")
        configs = {key: getattr(self, key).model_dump(mode="json") for key in sections}
        return {**asdict(self), **configs, "source": dict(self.source)}

    @property
    def key(self) -> str:
        """16 hexadecimal digits: runs with the same key have the same weights, byte for byte."""
        return sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:16]

    def checkpoint(self, epoch: int, images_seen: int) -> CheckpointId:
        """The name of one epoch's weights."""
        return CheckpointId(self.id_dataset, self.model_name, self.seed, epoch, images_seen, self.key)


def save_tensors(
    path: str | os.PathLike[str], schema: str, tensors: Mapping[str, Tensor], run: Run, extra: Mapping[str, Any]
) -> None:
    """Writes weights or a training state of a run, whole or not at all; equal tensors give equal bytes."""
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
    save_arrays(path, schema, arrays, {"run": run.description, **extra})


def load_tensors(
    path: str | os.PathLike[str], schema: str, run: Run | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what save_tensors wrote: (tensors, metadata).

    With a run, raises StorageError naming the first field in which the file's run differs from it.
    """
    arrays, metadata = load_arrays(path, schema)
    if run is not None:
        _refuse_other_run(path, metadata.get("run"), run)
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, metadata


def load_model(path: str | os.PathLike[str]) -> tuple[DensityModel, CheckpointId]:
    """The model of a weights file, in evaluation mode, and which checkpoint it is."""
    tensors, metadata = load_tensors(path, WEIGHTS)
    try:
        config = registry.parse("models", metadata["run"]["model"])
        data = registry.parse("kinds", metadata["run"]["data"])
        model = make_model(config, data.shape, torch.Generator())
        model.load_state_dict(tensors)
        return model.eval(), CheckpointId(**metadata["checkpoint"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StorageError(f"{path}: weights and their description disagree ({error}); delete it and rerun") from error


def _refuse_other_run(path: str | os.PathLike[str], found: Any, run: Run) -> None:
    expected = run.description
    if not isinstance(found, dict):
        raise StorageError(f"{path}: does not say which run it is of; delete it and rerun")
    for name, value in expected.items():
        if found.get(name) != value:
            raise StorageError(
                f"{path}: is of another run: {name} is {found.get(name)!r}, expected {value!r}; set it back, or give "
                "the study another name to keep this file, or delete it to have it made anew"
            )
