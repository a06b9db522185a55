"""What checkpoint.json says of the weights it lies beside: which checkpoint they are, and what they cost."""

from collections.abc import Iterable
from pathlib import Path

from immature_ood.provenance import CheckpointId
from immature_ood.storage import StorageError, read_json

__all__ = ["read_checkpoint", "train_seconds"]


def read_checkpoint(sidecar: str | Path) -> tuple[CheckpointId, float]:
    """Which checkpoint a checkpoint.json lies beside, and its training time in seconds."""
    described = read_json(sidecar)
    try:
        return CheckpointId(**described["checkpoint"]), float(described["train_seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{sidecar}: does not describe a checkpoint ({error}); delete it and rerun") from error


def train_seconds(sidecars: Iterable[str | Path]) -> dict[CheckpointId, float]:
    """Training time of each checkpoint, from the checkpoint.json beside its weights."""
    return dict(read_checkpoint(path) for path in sidecars)
