"""A study as it is planned: what its sources and folders tell before any job, whatever the config alone does not."""

from collections.abc import Iterator, Mapping
from typing import Any

from immature_ood import registry
from immature_ood.datasets import folder, unit_of
from immature_ood.shares import with_shares
from immature_ood.study import DatasetConfig, ImageConfig, Study, StudyError

__all__ = ["faults", "plan"]


def plan(config: Mapping[str, Any]) -> Study:
    """The study of a config as read from YAML. Raises StudyError with a line a fault, those of all folders together."""
    study = Study.parse(with_shares(config))
    if found := faults(study):
        raise StudyError("\n".join(found))
    return study


def faults(study: Study) -> list[str]:
    """One line a fault: key path, what is wrong, the mend."""
    found = [f"datasets.{name}.{fault}" for name in study.real_datasets for fault in _faults(study.datasets[name])]
    return [*found, *_too_large(study.image, {study.datasets[name].source for name in study.real_datasets})]


def _faults(dataset: DatasetConfig) -> Iterator[str]:
    try:
        unit_of(dataset)
    except StudyError as error:
        yield str(error)
    if dataset.source == "folder":
        yield from folder.faults(dataset)


def _too_large(image: ImageConfig, sources: set[str]) -> Iterator[str]:
    for source in sorted(sources):
        largest = getattr(registry.load("datasets", source), "LARGEST_SIDE", image.side)
        if image.side > largest:
            yield f"image.side: {source} has blocks of {largest}; lower image.side, or take another source"
