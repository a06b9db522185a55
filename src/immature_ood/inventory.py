"""The studies that there are, and what of each has been made: files are counted, and none is read. Needs no torch."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from immature_ood.config_file import read_config
from immature_ood.planning import faults, results_folders
from immature_ood.shares import with_shares
from immature_ood.study import Study, StudyError

__all__ = ["Entry", "Made", "entry_of", "made_of", "purpose_of", "study_files"]


@dataclass(frozen=True)
class Made:
    """How many files of one kind a study has, and how many it will have."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Entry:
    """A config file. study: None if it holds none. faults: why, or what of the study cannot be had here."""

    path: Path
    purpose: str
    study: Study | None
    faults: tuple[str, ...] = ()

    @property
    def is_overlay(self) -> bool:
        """Whether it changes another study, and is none by itself."""
        return self.study is None and not self.faults


def study_files(folder: Path) -> list[Path]:
    """The config files of a checkout, the default study first; of a folder of studies, all that it has."""
    default, studies = folder / "config.yaml", folder / "studies"
    inside = studies if studies.is_dir() else folder
    return [*([default] if default.is_file() else []), *sorted({*inside.glob("*.yaml")} - {default})]


def entry_of(path: Path) -> Entry:
    """What a config file holds."""
    purpose = purpose_of(path)
    try:
        config = read_config(path)
        if "name" not in config and "epochs" not in config:
            return Entry(path, purpose, None)
        study = Study.parse(with_shares(config))
        return Entry(path, purpose, study, tuple(faults(study)))
    except StudyError as error:
        return Entry(path, purpose, None, tuple(str(error).splitlines()))


def purpose_of(path: Path) -> str:
    """The comment that a file begins with, as one line; empty if there is none, or no such file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))


def made_of(study: Study, folder: Path = Path()) -> list[Made]:
    """What of a study is there, its results being below a folder."""
    own, shared = results_folders(study)[0], results_folders(study)[-1]
    runs = [
        f"{dataset}/{model}/seed={seed}/epoch={epoch}"
        for dataset in study.id_datasets
        for model in study.models
        for seed in study.seeds
        for epoch in study.epochs
    ]
    places = [f"{place.id}/{place.model}/seed={place.seed}/epoch={place.epoch}" for place in study.places()]
    files = {
        "data sets": [f"{shared}/data/{name}/manifest.json" for name in study.datasets],
        "checkpoints": [f"{shared}/checkpoints/{run}/weights.safetensors" for run in runs],
        "features": [f"{own}/features/{run}/fit.safetensors" for run in runs],
        "scores": [f"{own}/scores/{place}/scores.safetensors" for place in places],
        "report": [f"{own}/report.html"],
    }
    return [Made(what, sum((folder / path).exists() for path in paths), len(paths)) for what, paths in files.items()]
