"""What is wrong with a study that its sources tell, before any job: whatever the config alone does not."""

from collections.abc import Iterator

from immature_ood.datasets import unit_of
from immature_ood.study import DatasetConfig, Study, StudyError

__all__ = ["faults"]


def faults(study: Study) -> list[str]:
    """One line a fault: key path, what is wrong, the mend."""
    return [f"datasets.{name}.{fault}" for name in study.real_datasets for fault in _faults(study.datasets[name])]


def _faults(dataset: DatasetConfig) -> Iterator[str]:
    try:
        unit_of(dataset)
    except StudyError as error:
        yield str(error)
