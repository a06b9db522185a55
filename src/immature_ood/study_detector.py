"""A detector of a finished study, as it lies in results/<study>: any images are scored as the study's own were.

All that is needed stands in the files: the weights of each checkpoint that the detector reads, what was fitted, and, in
the features of the fit set, how these were extracted. P-values are against the study's calibration images, if it has
any. Images get the noise of the ID data set, so that its own test images have the scores that the study gave them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from immature_ood import conformal, registry
from immature_ood.calibration import CALIBRATION
from immature_ood.checkpoint_id import CheckpointId
from immature_ood.checkpoints import load_model
from immature_ood.density import DensityModel
from immature_ood.detector_file import rank_of
from immature_ood.detectors import Detector, load_fitted
from immature_ood.extraction import Split, extract
from immature_ood.features import Features
from immature_ood.kinds import KindOfData
from immature_ood.scores import ScoreKey, Scores, load_scores
from immature_ood.storage import StorageError, load_metadata, read_json
from immature_ood.study import FeatureConfig

__all__ = ["Choice", "StudyDetector", "choose", "load"]

FEATURES = "features/3"
FITTED = "fitted.safetensors"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Choice:
    """One place of a study: results/<study>, an ID data set, a model, a seed ("all": of all together) and an epoch."""

    study: Path
    id: str
    model: str
    seed: str
    epoch: int

    def folder(self, stage: str) -> Path:
        """Where its files of a stage are, such as "scores"."""
        return self.study / stage / self.id / self.model / f"seed={self.seed}" / f"epoch={self.epoch}"

    def __str__(self) -> str:
        return f"ID {self.id}, model {self.model}, seed {self.seed}, epoch {self.epoch}"


def choose(
    study: str | Path,
    *,
    id: str | None = None,
    model: str | None = None,
    seed: str | None = None,
    epoch: int | None = None,
) -> Choice:
    """The place that is asked for; what is not, is the first by name or number, and the epoch of the lowest bits/dim.

    That is the kept epoch with the lowest held-out bits/dim, the reference of the study's tables, or the last where no
    checkpoint says it. Raises ValueError naming what there is if the study has no scores of what is asked for.
    """
    place = Path(study)
    fitted = [path.relative_to(place / "scores").parts for path in sorted(place.glob(f"scores/*/*/*/*/{FITTED}"))]
    if not fitted:
        raise ValueError(
            f"there is no finished study in {place}: it has no scores/…/{FITTED}; run it: make run STUDY=studies/….yaml"
        )
    there = [((of, under, of_seed.removeprefix("seed=")), _number(kept)) for of, under, of_seed, kept, _ in fitted]
    chosen: tuple[str, ...] = ()
    for option, asked in (("id", id), ("model", model), ("seed", seed)):
        known = sorted({names[len(chosen)] for names, _ in there}, key=_by_number)
        chosen = (*chosen, _one_of(option, known[0] if asked is None else asked, known))
        there = [(names, kept) for names, kept in there if names[: len(chosen)] == chosen]
    epochs = sorted({kept for _, kept in there})
    last = Choice(place, chosen[0], chosen[1], chosen[2], epochs[-1])
    wanted = _reference(last, epochs) if epoch is None else epoch
    return replace(last, epoch=int(_one_of("epoch", str(wanted), [*map(str, epochs)])))


def _number(folder: str) -> int:
    return int(folder.removeprefix("epoch="))


def _by_number(name: str) -> tuple[bool, int, str]:
    """Numbers in their order, then words."""
    return not name.isdigit(), int(name) if name.isdigit() else 0, name


def _one_of(option: str, asked: str, known: Sequence[str]) -> str:
    if asked not in known:
        raise ValueError(f"--{option} {asked}: the study has {', '.join(known)}")
    return asked


def _reference(last: Choice, epochs: Iterable[int]) -> int:
    """The epoch with the lowest held-out bits/dim of those whose checkpoint says it."""
    bits: dict[int, float] = {}
    for epoch in epochs:
        for sidecar in _beside(last.study, f"{last.id}/{last.model}/seed={last.seed}/epoch={epoch}/checkpoint.json"):
            bits[epoch] = float(read_json(sidecar).get("fit_bits_per_dim", np.inf))
    return min(bits, key=lambda epoch: (bits[epoch], epoch)) if bits else last.epoch


def _beside(study: Path, file: str) -> list[Path]:
    """A file of checkpoints, in the study or in those beside it, whose checkpoints it may share."""
    studies = [study, *sorted(other for other in study.absolute().parent.iterdir() if other.is_dir())]
    return [path for each in studies if (path := each / "checkpoints" / file).is_file()]


@dataclass(frozen=True)
class _Source:
    """A checkpoint that a detector reads, and how its features were extracted."""

    model: DensityModel
    checkpoint: CheckpointId
    config: FeatureConfig
    statistics: tuple[str, ...]

    def features(self, images: np.ndarray, data: KindOfData, dataset: str, b: int) -> Features:
        config = self.config.model_copy(update={"batch_sizes": [b]})
        one = self.checkpoint
        key = (one.id_dataset, one.model, one.seed, one.epoch)
        (found,) = extract(self.model, Split(images, data, dataset, "test"), config, self.statistics, noise_key=key)
        return found


@dataclass(frozen=True)
class StudyDetector:
    """One detector of a study at one place, with all that scoring needs; see ImageDetector, which it is like.

    detectors: by b. calibration: by b, (n,) scores of the study's calibration images and the n units that they are of;
    none for a b without.
    """

    name: str
    place: Choice
    data: KindOfData
    dataset: str
    sources: tuple[_Source, ...]
    detectors: Mapping[int, Detector]
    calibration: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image."""
        return self.data.shape

    def score(self, images: np.ndarray, b: int = 1) -> np.ndarray:
        """(G,) float64 of images (N, C, H, W) uint8, group j the images j·b … j·b + b − 1; higher is more odd.

        What fills no group is left out. Raises ValueError for a b that was not fitted.
        """
        self.check_group_size(b)
        whole = images[: len(images) // b * b]
        if not len(whole):
            return np.empty(0)
        return self.detectors[b].score(*(source.features(whole, self.data, self.dataset, b) for source in self.sources))

    def p_values(self, scores: np.ndarray, b: int = 1) -> np.ndarray:
        """(G,) conformal p-values, of units of calibration images; NaN if there are none."""
        if b not in self.calibration:
            return np.full(len(scores), np.nan)
        return conformal.p_values(scores, *self.calibration[b])

    def calibrated_on(self, b: int) -> int:
        """How many units of calibration images, or groups of such, there are; 0: there are no p-values."""
        return len(np.unique(self.calibration[b][1])) if b in self.calibration else 0

    def check_level(self, level: float, b: int = 1) -> None:
        """Raises ValueError if no p-value can be as low as a level; where there are no p-values it does not matter."""
        self.check_group_size(b)
        number = self.calibrated_on(b)
        if number and not rank_of(level, number):
            raise ValueError(
                f"false alarms of {level:g} are less than {number} units of calibration images can tell; raise it"
            )

    def check_group_size(self, b: int) -> None:
        """Raises ValueError if the study has no groups of b."""
        if b not in self.detectors:
            sizes = ", ".join(map(str, self.detectors))
            raise ValueError(
                f"{self.name} was fitted to groups of {sizes} in this study, not of {b}; take one of those"
            )


def load(place: Choice, detector: str | None = None) -> StudyDetector:
    """The detector of a place, by default the first of the study.

    Raises ValueError if there is no such, if it is no study of images, or if weights that it reads are not there;
    StorageError if a file is damaged.
    """
    fitted = load_fitted(place.folder("scores") / FITTED)
    known = list(dict.fromkeys(name for name, _ in fitted.detectors))
    name = _one_of("detector", known[0] if detector is None else detector, known)
    made = _made_from(place, fitted.reads[name][0])
    data: KindOfData = registry.parse("kinds", made["data"])
    if made["data"]["kind"] != "images":
        raise ValueError(f"{place.study} is a study of {data.samples}, and only images are scored")
    return StudyDetector(
        name,
        place,
        data,
        made["original"],
        tuple(_source(place, one) for one in fitted.reads[name]),
        {b: each for (own, b), each in fitted.detectors.items() if own == name},
        _calibration(place, name),
    )


def _made_from(place: Choice, one: CheckpointId) -> dict[str, Any]:
    """How the features of a checkpoint were extracted, of the fit set of the place."""
    own = Choice(place.study, one.id_dataset, one.model, str(one.seed), one.epoch).folder("features")
    name = "fit.safetensors" if one.id_dataset == place.id else f"fit-{place.id}.safetensors"
    made = load_metadata(own / name, FEATURES).get("made_from", {})
    if missing := {"data", "features", "layers", "statistics", "original"} - made.keys():
        raise StorageError(f"{own / name}: does not say its {', '.join(sorted(missing))}; run the study again")
    return dict(made)


def _source(place: Choice, one: CheckpointId) -> _Source:
    made = _made_from(place, one)
    config = FeatureConfig.model_validate({**made["features"], "layers": made["layers"]})
    return _Source(_model(place, one), one, config, tuple(made["statistics"]))


def _model(place: Choice, one: CheckpointId) -> DensityModel:
    file = f"{one.id_dataset}/{one.model}/seed={one.seed}/epoch={one.epoch}/{WEIGHTS}"
    for path in _beside(place.study, file):
        model, found = load_model(path)
        if found == one:
            return model
    raise ValueError(
        f"the weights checkpoints/{file} that it was fitted to are neither in {place.study} nor in a study beside it; "
        "bring them back, or run the study again"
    )


def _calibration(place: Choice, detector: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    path = place.folder("scores") / f"{CALIBRATION}.safetensors"
    if not path.is_file():
        return {}
    scores: Scores = load_scores(path)
    of_detector = [key for key in scores.values if key.detector == detector]
    return {key.batch_size: (scores.values[key], _units(scores, key)) for key in of_detector}


def _units(scores: Scores, key: ScoreKey) -> np.ndarray:
    return scores.units_of(key.batch_size, key.dataset, key.split)
