"""What of a study is set beside what: of studies it is compared with (its `audits`), and of published tables.

Plain Python, for the graph is built with it.
"""

from collections.abc import Iterator, Sequence

from immature_ood.registry import did_you_mean
from immature_ood.study import Study

__all__ = ["audit_faults", "choice", "counterparts", "published_names"]


def choice(study: Study, audited: Study) -> str:
    """What a study that is compared with this one is called in tables: its name without this one's.

    >>> sets = {"digits": {}, "glyphs": {}}
    >>> base, other = (Study(name=name, datasets=sets, epochs=[1]) for name in ("audit", "audit-jpeg"))
    >>> choice(base, other)
    'jpeg'
    """
    return audited.name.removeprefix(f"{study.name}-")


def counterparts(audited: Study) -> dict[str, str]:
    """What each data set of a study is called in the one that it is compared with, where it is called otherwise."""
    names = {name: audited.stands_for(name) for name in audited.real_datasets}
    return {name: other for name, other in names.items() if name != other}


def published_names(study: Study) -> dict[str, str]:
    """What published tables call each data set: what it stands for, else its source.

    Where it stands for a set of the study, it is called what that one is.

    >>> cifar10 = {"source": "array", "path": "cifar10.npz", "stands_for": "cifar10"}
    >>> jpeg = {**cifar10, "stands_for": "mine", "jpeg_quality": 75}
    >>> published_names(Study(name="s", datasets={"mine": cifar10, "jpeg": jpeg, "digits": {}}, epochs=[1]))
    {'mine': 'cifar10', 'jpeg': 'cifar10', 'digits': 'digits'}
    """
    return {name: _published_name(study, study.stands_for(name)) for name in study.real_datasets}


def _published_name(study: Study, name: str) -> str:
    dataset = study.datasets.get(name)
    return (dataset.stands_for or dataset.source) if dataset else name


def audit_faults(study: Study, audits: Sequence[tuple[str, Study]]) -> list[str]:
    """One line a fault of the studies that are compared with this one, each with the path of its config."""
    choices: dict[str, list[str]] = {}
    for path, audited in audits:
        choices.setdefault(choice(study, audited), []).append(path)
    twice = [f"audits: {' and '.join(paths)} are both called {name}" for name, paths in choices.items() if paths[1:]]
    return twice + [f"audits: {path}: {fault}" for path, audited in audits for fault in _audit(study, audited)]


def _audit(study: Study, audited: Study) -> Iterator[str]:
    for kind, names, known in (
        ("detectors", [*audited.detectors], [*study.detectors]),
        ("models", [*audited.models], [*study.models]),
    ):
        for name in names:
            baseline = audited.baselines.get(name, name)
            if baseline not in known:
                nearest = did_you_mean(baseline, known)
                yield f"baselines.{name}: {study.name} has no {baseline!r} among its {kind}{nearest}"
    standing = [counterparts(audited).get(name, name) for name in audited.real_datasets]
    for name in {*standing}:
        if standing.count(name) > 1:
            yield f"datasets: {standing.count(name)} of them stand for {name}; which is to be compared with it?"
