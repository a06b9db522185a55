"""The name of a checkpoint, which files made from it bear. Needs neither torch nor numpy."""

from dataclasses import dataclass

__all__ = ["CheckpointId"]


@dataclass(frozen=True)
class CheckpointId:
    """Which checkpoint something was made from.

    seed: "all" of what is made from those of all seeds together; images_seen and run_key are then those of the first.
    """

    id_dataset: str
    model: str
    seed: int | str
    epoch: int
    images_seen: int
    run_key: str
