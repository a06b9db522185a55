"""A study as it is planned: all that is wrong with it as written, with its sources and folders, and in this place."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from immature_ood import registry
from immature_ood.config import DatasetConfig
from immature_ood.config_file import faults_of_file, read_config
from immature_ood.datasets import chosen_labels, class_faults, unit_of
from immature_ood.kinds import KindOfData
from immature_ood.shares import with_shares
from immature_ood.storage import StorageError, check_writable
from immature_ood.study import Study, StudyError

__all__ = [
    "faults",
    "faults_here",
    "faults_of_processor",
    "faults_of_threads",
    "plan",
    "plan_of_file",
    "results_folders",
]

CPU_INFO = Path("/proc/cpuinfo")
GPUS = [Path(place) for place in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")]  # of NVIDIA, AMD, and Windows' Linux


def plan(config: Mapping[str, Any], files: Iterable[str | Path] = (), *, here: bool = True) -> Study:
    """The study of a config as read from files of YAML (and, perhaps, a command line). here: whether it is to run here.

    Raises StudyError with all faults, a line each: of the files, of the keys and, where these are well, of sources,
    folders and results.
    """
    found = [line for file in files for line in faults_of_file(file)]
    try:
        study = Study.parse(with_shares(config) if isinstance(config, Mapping) else config)
        found += [*faults(study), *(faults_here(study) if here else [])]
    except StudyError as error:
        said = {_key(line) for line in found}  # what YAML reads as something else is often no value either
        found += [line for line in str(error).splitlines() if _key(line) not in said]
    if found:
        raise StudyError("\n".join(found))
    return study


def plan_of_file(path: str | Path, *, here: bool = True) -> Study:
    """The study of a config file, as plan has it; raises StudyError, whose lines begin with the path."""
    try:
        return plan(read_config(path), here=here)
    except StudyError as error:
        raise StudyError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def _key(line: str) -> str:
    return line.partition(":")[0]


def faults(study: Study) -> list[str]:
    """One line a fault: key path, what is wrong, the mend."""
    found = [f"datasets.{name}.{fault}" for name in study.real_datasets for fault in _faults(study.datasets[name])]
    found += _overlaps({name: study.datasets[name] for name in study.real_datasets})
    every = (part for name in study.real_datasets for _, part in study.datasets[name].with_parts())
    return [*found, *_too_large(study.data, {part.source for part in every})]


def faults_here(study: Study) -> list[str]:
    """One line a folder of results that cannot be written to."""
    found = []
    for path in results_folders(study):
        try:
            check_writable(path)
        except StorageError as error:
            found.append(str(error))
    return found


def faults_of_threads(study: Study, cores: int) -> list[str]:
    """A line if a job would compute with more threads than there are cores, which wait for one another."""
    if study.threads <= cores:
        return []
    return [f"threads: {study.threads}, but the cores to run on are {cores}; give --cores {study.threads} or more"]


def faults_of_processor(study: Study) -> list[str]:
    """A line if norms are to be taken in bfloat16, and jobs that run here would have to emulate it.

    Where there is a GPU, or nothing is known of the processor, there is none: the job looks itself.
    """
    of_gpu = study.device == "cuda" or (study.device == "auto" and any(place.exists() for place in GPUS))
    if study.features.precision == "fp32" or of_gpu or not CPU_INFO.exists():
        return []
    flags = CPU_INFO.read_text(encoding="utf-8", errors="replace").split()
    if any(flag.endswith("bf16") for flag in flags):
        return []
    return [
        f"features.precision: {study.features.precision}, but this processor has no instructions for bfloat16 (such as "
        "avx512_bf16), and would be slower by it; take fp32"
    ]


def results_folders(study: Study) -> list[str]:
    """Where a study writes: its own folder first; last, that of the images and checkpoints, which it may share."""
    return [f"results/{name}" for name in dict.fromkeys([study.name, study.shares or study.name])]


def _faults(dataset: DatasetConfig) -> Iterator[str]:
    try:
        unit_of(dataset)
    except StudyError as error:
        yield str(error)
    yield from class_faults(dataset)
    yield from dataset.faults()
    for key, part in dataset.parts_of().items():
        yield from (f"{key}.{fault}" for fault in _faults(part))


def _overlaps(datasets: Mapping[str, DatasetConfig]) -> Iterator[str]:
    """Sets of one source of which one has some classes, and the other some of these and others.

    Each deals its own images into splits, so that one set's training images may be among the other's test images.
    """
    for (one, first), (other, second) in combinations(datasets.items(), 2):
        if _origin(first) != _origin(second) or not (first.chooses_classes or second.chooses_classes):
            continue
        mine, its = {*chosen_labels(first)}, {*chosen_labels(second)}
        if mine != its and mine & its:
            key = f"datasets.{other if second.chooses_classes else one}.{'classes' if second.classes else 'without'}"
            shared = sorted(label[0] for label in mine & its)
            yield (
                f"{key}: {one} and {other} share {', '.join(shared[:5])}{', …' * (len(shared) > 5)} of one source, and "
                "what one trains on may be what the other tests on; let them have the same classes, or none in common"
            )


def _origin(dataset: DatasetConfig) -> tuple[object, ...]:
    """What tells where images come from: the source, and its path or data set."""
    return dataset.source, *(repr(getattr(dataset, key, None)) for key in ("path", "dataset", "options"))


def _too_large(data: KindOfData, sources: set[str]) -> Iterator[str]:
    for source in sorted(sources):
        largest = getattr(registry.load("datasets", source), "LARGEST_SIDE", None)
        if largest is not None and max(data.shape) > largest:
            yield f"image.side: {source} has blocks of {largest}; lower image.side, or take another source"
