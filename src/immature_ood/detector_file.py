"""A detector of images in one file: weights, what was fitted, calibration scores, and a card that says what it is.

The file is safetensors with one key of sorted JSON: nothing in it is pickled, and reading it runs no code of its own.
Equal detectors give equal bytes. `ImageDetector` is what is in it, and all that scoring needs.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from immature_ood import conformal, face, registry
from immature_ood.config import DetectorConfig, ModelConfig
from immature_ood.density import DensityModel
from immature_ood.detectors._packing import packed, unpacked
from immature_ood.face import FittedDetector
from immature_ood.features import Features
from immature_ood.models import make_model
from immature_ood.storage import StorageError, load_arrays, load_metadata, save_arrays

__all__ = ["NAME", "SUFFIX", "DetectorFileError", "ImageDetector", "card_of", "extracted", "load", "rank_of"]

SCHEMA = "detector/1"
SUFFIX = ".iood"
NAME = "images"  # of the data set, from which the noise of dequantisation follows
THUMBNAILS = "thumbnails"
CHUNK = 500  # images that are worked on at once
MEND = "; delete it and rerun"  # what storage advises of files that a study makes anew


class DetectorFileError(ValueError):
    """A file that is no detector, or a detector that cannot be a file; the message names the mend."""


@dataclass(frozen=True)
class ImageDetector:
    """A trained model, detectors fitted on what it says of images, and what they say of images to calibrate with.

    config, reads: the model, and what is fitted. shape: (C, H, W) of an image.
    detectors, calibration: by the number b of images that are scored together; calibration (n,) float64, sorted scores
        of n ID groups on which nothing was fitted.
    card: JSON values for people: what the images were, what was done, and how well it did.
    thumbnails: (N, C, H, W) uint8, the images of the fit set, if they are kept: it then holds pictures.
    """

    model: DensityModel
    config: ModelConfig
    reads: DetectorConfig
    shape: tuple[int, int, int]
    detectors: Mapping[int, FittedDetector]
    calibration: Mapping[int, np.ndarray]
    card: Mapping[str, Any] = field(default_factory=dict)
    thumbnails: np.ndarray | None = None

    def score(self, images: np.ndarray, b: int = 1) -> np.ndarray:
        """(G,) float64 of images (N, C, H, W) uint8, group j the images j·b … j·b + b − 1; higher is more odd.

        What fills no group is left out. Raises ValueError for other images, or a b that was not fitted.
        """
        self.check_group_size(b)
        step = CHUNK // b * b or b
        chunks = (images[start : start + step] for start in range(0, len(images) // b * b, step))
        scores = [self.detectors[b].score(*extracted(self.model, self.reads, chunk, [b])[b]) for chunk in chunks]
        return np.concatenate([np.empty(0), *scores])

    def p_values(self, scores: np.ndarray, b: int = 1) -> np.ndarray:
        """(G,) conformal p-values of scores: an ID group has one of a or less in a share of at most a of all cases."""
        self.check_group_size(b)
        return conformal.p_values(scores, self.calibration[b])

    def threshold(self, level: float, b: int = 1) -> float:
        """The score above which p ≤ level; raises ValueError if there are too few calibration groups for any."""
        self.check_group_size(b)
        if not 0 <= level < 1:
            raise ValueError(f"false alarms are a share, 0 to 1, not {level:g}")
        number = len(self.calibration[b])
        rank = rank_of(level, number)
        if not rank:
            needed = int(np.ceil(round(1 / level, 9))) - 1 if level > 0 else 0
            mend = f"{needed} are needed: fit on more images, or raise it" if needed else "raise it"
            raise ValueError(f"false alarms of {level:g} are less than {number} calibration groups can tell; {mend}")
        return float(self.calibration[b][number - rank])

    def calibrated_on(self, b: int) -> int:
        """How many calibration groups there are."""
        self.check_group_size(b)
        return len(self.calibration[b])

    def check_level(self, level: float, b: int = 1) -> None:
        """Raises ValueError as threshold does."""
        self.threshold(level, b)

    def check_group_size(self, b: int) -> None:
        """Raises ValueError if no detector was fitted to groups of b."""
        if b not in self.detectors:
            sizes = ", ".join(map(str, self.detectors))
            raise ValueError(
                f"this detector was fitted to groups of {sizes}, not of {b}; fit one that is, or take those"
            )

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all; raises DetectorFileError if a plug-in is a file of one's own."""
        arrays, entries = self._packed()
        metadata = {"model": self.config.model_dump(mode="json"), "detector": self.reads.model_dump(mode="json")}
        if own := [name for name in _names(metadata, entries) if not _is_ours(name)]:
            raise DetectorFileError(
                f"{own[0]} is a file of your own, which no detector file holds; use a named plug-in"
            )
        save_arrays(path, SCHEMA, arrays, {**metadata, "shape": self.shape, "fitted": entries, "card": dict(self.card)})

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"detector{SUFFIX}")
            self.save(path)
            return path.read_bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "ImageDetector":
        """What to_bytes gave; raises DetectorFileError if it is anything else."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"detector{SUFFIX}")
            path.write_bytes(content)
            return load(path)

    def _packed(self) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        weights = self.model.state_dict()
        arrays = {f"weights/{name}": each.detach().cpu().contiguous().numpy() for name, each in weights.items()}
        entries = []
        for b, fitted in self.detectors.items():
            own, entry = packed(fitted.detector, f"fitted/b={b}")
            arrays |= own | {f"calibration/b={b}": self.calibration[b]}
            entries.append({**entry, "batch_size": b, "layers": fitted.layers})
        if self.thumbnails is not None:
            arrays[THUMBNAILS] = self.thumbnails
        return arrays, entries


def extracted(
    model: DensityModel, reads: DetectorConfig, images: np.ndarray, batch_sizes: Sequence[int]
) -> dict[int, tuple[Features, ...]]:
    """By b, what a detector reads of images (N, C, H, W) uint8, at the least cost."""
    layers = "all" if reads.reads_weights() else "without_weights"
    found = face.extract(model, images, batch_sizes, layers=layers, statistics=reads.needs(), name=NAME)
    return {b: (features,) for b, features in found.items()}


def rank_of(level: float, number: int) -> int:
    """⌊(n + 1) level⌋: p ≤ level if fewer than so many of n calibration scores are as high."""
    return min(int(np.floor(round((number + 1) * level, 12))), number)


def load(path: str | Path) -> ImageDetector:
    """Reads what ImageDetector.save wrote; raises DetectorFileError if it is anything else, and runs nothing of it."""
    arrays, metadata = _read(path, load_arrays)
    try:
        return _restored(arrays, metadata)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, RecursionError) as error:
        raise DetectorFileError(f"{path}: is no whole detector ({error}); fit it again") from error


def card_of(path: str | Path) -> dict[str, Any]:
    """The card of a detector file; no weight is read."""
    _, metadata = _read(path, lambda file, schema: ({}, load_metadata(file, schema)))
    card = metadata.get("card")
    if not isinstance(card, dict):
        raise DetectorFileError(f"{path}: is no whole detector (it has no card); fit it again")
    return card


def _read(path: str | Path, reader: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not Path(path).is_file():
        raise DetectorFileError(
            f"there is no detector file {path}; make one by: immature-ood fit PICTURES --out {path}"
        )
    try:
        found: tuple[dict[str, np.ndarray], dict[str, Any]] = reader(path, SCHEMA)
        return found
    except (StorageError, RecursionError) as error:
        reason = str(error).removeprefix(f"{path}: ").removesuffix(MEND)
        raise DetectorFileError(f"{path}: is no detector file, or a damaged one: {reason}; fit it again") from error


def _restored(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> ImageDetector:
    for name in _names(metadata, metadata["fitted"]):
        if not _is_ours(name):
            raise ValueError(f"it names {name!r}, which is no plug-in of this package")
    config: ModelConfig = registry.parse("models", metadata["model"])
    reads: DetectorConfig = registry.parse("detectors", metadata["detector"])
    shape = _shape(metadata["shape"])
    model = make_model(config, shape, torch.Generator())
    weights = {name.removeprefix("weights/"): array for name, array in arrays.items() if name.startswith("weights/")}
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    detectors = {entry["batch_size"]: _fitted(arrays, entry) for entry in metadata["fitted"]}
    calibration = {b: arrays[f"calibration/b={b}"] for b in detectors}
    thumbnails = face.checked(arrays[THUMBNAILS], shape) if THUMBNAILS in arrays else None
    return ImageDetector(model.eval(), config, reads, shape, detectors, calibration, metadata["card"], thumbnails)


def _shape(found: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = map(int, found)
    return channels, height, width


def _fitted(arrays: Mapping[str, np.ndarray], entry: Mapping[str, Any]) -> FittedDetector:
    layers = tuple(tuple(each) for each in entry["layers"])
    return FittedDetector(unpacked(arrays, entry, f"fitted/b={entry['batch_size']}"), entry["batch_size"], layers)


def _names(metadata: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """All that names a plug-in or a module in a file's metadata."""
    yield from _named(metadata["model"], ("architecture",))
    yield from _named(metadata["detector"], ("detector",))
    yield from _named(entries, ("file",))


def _named(value: Any, keys: Sequence[str]) -> Iterator[str]:
    """The values of these keys, at any depth."""
    if isinstance(value, Mapping):
        yield from (str(value[key]) for key in keys if key in value)
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for each in inside:
        yield from _named(each, keys)


def _is_ours(name: str) -> bool:
    """Whether a name is that of a file of this package: letters, digits and _ alone, which no path is."""
    return name.isidentifier()
