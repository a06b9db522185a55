"""What detectors cost, as measured where the work is done: files of JSON beside the results. Needs no torch."""

import ctypes
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.storage import StorageError, read_json, write_json

__all__ = [
    "FeatureCost",
    "ScoreCosts",
    "Stopwatch",
    "peak_memory",
    "read_feature_costs",
    "read_score_costs",
    "restart_peak",
    "write_feature_costs",
    "write_score_costs",
]


@dataclass(frozen=True)
class FeatureCost:
    """Of what one detector reads of one model, at one place.

    seconds: for 1,000 samples. mebibytes: at most, beyond those of the process with the model; NaN where it is not
    known. loop_seconds: for 1,000 samples, of a backward pass for each alone; NaN for what needs no gradients.
    """

    seconds: float
    mebibytes: float = math.nan
    loop_seconds: float = math.nan


@dataclass(frozen=True)
class ScoreCosts:
    """Of the scores of one place.

    seconds: for 1,000 samples, by detector and b. reads: by detector, the checkpoints whose features it reads.
    """

    checkpoint: CheckpointId
    seconds: Mapping[tuple[str, int], float]
    reads: Mapping[str, tuple[CheckpointId, ...]]


class Stopwatch:
    """Adds up seconds and samples by detector and b: what scores.score_all tells of each split that it scored."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], tuple[float, int]] = {}

    def __call__(self, detector: str, batch_size: int, seconds: float, samples: int) -> None:
        before = self._found.get((detector, batch_size), (0.0, 0))
        self._found[detector, batch_size] = before[0] + seconds, before[1] + samples

    @property
    def seconds(self) -> dict[tuple[str, int], float]:
        """For 1,000 samples, by detector and b."""
        return {key: 1000 * seconds / samples for key, (seconds, samples) in self._found.items()}


def peak_memory() -> float:
    """The most memory that this process has had since restart_peak, MiB; NaN where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.nan
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), math.nan)


def restart_peak() -> float:
    """Gives back what is free, and has peak_memory count anew; returns what is held, MiB, NaN where that cannot be."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # of glibc
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets the peak
    except (OSError, AttributeError):
        return math.nan
    return peak_memory()


def write_feature_costs(path: str | os.PathLike[str], model: str, costs: Mapping[str, FeatureCost]) -> None:
    """costs: by detector. Numbers that are not known are null."""
    write_json(path, {"model": model, "detectors": {name: _known(asdict(cost)) for name, cost in costs.items()}})


def read_feature_costs(paths: Iterable[str | os.PathLike[str]]) -> dict[tuple[str, str], FeatureCost]:
    """By model and detector; raises StorageError if a file does not hold that."""
    return {key: cost for path in paths for key, cost in _read(path, _feature_costs).items()}


def write_score_costs(path: str | os.PathLike[str], costs: ScoreCosts) -> None:
    """Writes the costs of the scores of one place."""
    seconds = [[*key, value] for key, value in costs.seconds.items()]
    reads = {name: [asdict(one) for one in checkpoints] for name, checkpoints in costs.reads.items()}
    write_json(path, {"checkpoint": asdict(costs.checkpoint), "seconds": seconds, "reads": reads})


def read_score_costs(path: str | os.PathLike[str]) -> ScoreCosts:
    """Reads what write_score_costs wrote; raises StorageError if it is not that."""
    costs: ScoreCosts = _read(path, _score_costs)
    return costs


def _feature_costs(described: Mapping[str, Any]) -> dict[tuple[str, str], FeatureCost]:
    given = {name: {key: value for key, value in cost.items() if value is not None} for name, cost in _items(described)}
    return {(described["model"], name): FeatureCost(**cost) for name, cost in given.items()}


def _items(described: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    return [*described["detectors"].items()]


def _score_costs(described: Mapping[str, Any]) -> ScoreCosts:
    return ScoreCosts(
        CheckpointId(**described["checkpoint"]),
        {(detector, b): seconds for detector, b, seconds in described["seconds"]},
        {name: tuple(CheckpointId(**one) for one in checkpoints) for name, checkpoints in described["reads"].items()},
    )


def _known(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _read(path: str | os.PathLike[str], parse: Any) -> Any:
    try:
        return parse(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"{path}: does not say what detectors cost ({error}); delete it and rerun") from error
