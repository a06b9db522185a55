"""What checkpoint.json says of the weights it lies beside: which checkpoint they are, and what they cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.storage import StorageError, read_json

__all__ = ["Trained", "read_checkpoint", "read_checkpoints"]


@dataclass(frozen=True)
class Trained:
    """A checkpoint, and its training time in seconds."""

    checkpoint: CheckpointId
    train_seconds: float


def read_checkpoint(sidecar: str | Path) -> Trained:
    """The checkpoint that a checkpoint.json lies beside; raises StorageError if it describes none."""
    described = read_json(sidecar)
    try:
        return Trained(CheckpointId(**described["checkpoint"]), float(described["train_seconds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{sidecar}: does not describe a checkpoint ({error}); delete it and rerun") from error


def read_checkpoints(sidecars: Iterable[str | Path]) -> dict[CheckpointId, Trained]:
    """What is said of each checkpoint, from the checkpoint.json beside its weights."""
    return {trained.checkpoint: trained for trained in map(read_checkpoint, sidecars)}
