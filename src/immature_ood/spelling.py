"""What a config says before it is checked: sections that name what they are of, and keys of older configs.

All take what was read from YAML, whatever it is; what is wrong is left for the checks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from immature_ood import registry
from immature_ood.config import SAMPLES, ChangedConfig

__all__ = ["DEFAULT_MODEL", "DETECTORS", "IMAGES", "named", "retired", "said_twice", "unknown_sets", "without_retired"]

RETIRED = {  # keys of older configs: where they went, or None where nothing follows from them any more
    ("training", "samples"): "samples",
    ("evaluation", "resamples"): None,
    ("evaluation", "seed"): None,
}
DEFAULT_MODEL = "glow"  # of a study that names none, and of a model whose name is no file's
DETECTORS = ("gradient_norms", "likelihood", "typicality")  # of a study that names none


LISTED: tuple[registry.Kind, ...] = ("detectors", "epoch_rules")  # sections that may be a list of names
IMAGES = "images"  # the kind of data of a study, source or model that names none


def retired(config: Any) -> list[str]:
    """A line for each key of an older config that is still read, or does nothing any more.

    >>> retired({"training": {"samples": 4}, "evaluation": {"resamples": 100}})
    ['training.samples: is now called samples', 'evaluation.resamples: does nothing any more']
    """
    return [
        f"{section}.{key}: {f'is now called {now}' if now else 'does nothing any more'}"
        for (section, key), now in RETIRED.items()
        if isinstance(config, Mapping) and isinstance(config.get(section), Mapping) and key in config[section]
    ]


def without_retired(config: Any) -> Any:
    """A config with retired keys moved to where they went; a key that is there already has its value."""
    if not retired(config):
        return config
    config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for (section, key), now in RETIRED.items():
        if isinstance(config.get(section), dict) and key in config[section]:
            value = config[section].pop(key)
            if now:
                config.setdefault(now, value)
    return config


def named(config: Any) -> Any:
    """A config in which each section of a plug-in names it; those in a list are sections by name."""
    if not isinstance(config, Mapping):
        return config
    config = {"models": {"glow": {}}, "detectors": list(DETECTORS), **config}
    for key in ("data", "image"):
        if isinstance(config.get(key), Mapping):
            config[key] = {"kind": IMAGES, **config[key]}
    config |= {kind: _by_name(kind, config[kind]) for kind in LISTED if kind in config}
    for kind, key in registry.KEYS.items():
        if isinstance(config.get(kind), Mapping):
            config[kind] = {name: _section_named(kind, key, name, given) for name, given in config[kind].items()}
    if isinstance(sections := config.get("datasets"), Mapping):
        own = [name for name, section in sections.items() if isinstance(name, str) and not _is_changed(section)]
        sections = _with_sets(sections)
        datasets = {name: _with_original(section, sections) for name, section in sections.items()}
        config = {"id_datasets": own, **config, "datasets": datasets}
    return config


def _with_original(section: Any, sections: Mapping[str, Any]) -> Any:
    """A section that names another one has that in it, and its keys that are alike."""
    original = sections.get(str(section.get("of"))) if _is_changed(section) else None
    if not isinstance(original, Mapping):
        return section
    alike = {key: original[key] for key in ChangedConfig.ALIKE if key in original}
    others = {key: value for key, value in original.items() if key not in (*alike, "augmentation", "stands_for")}
    return {**alike, **section, "section": others}


def _is_changed(section: Any) -> bool:
    """Whether a section with its source is one of images of another data set."""
    source = section.get("source") if isinstance(section, Mapping) else None
    try:
        return isinstance(source, str) and issubclass(registry.config_class("datasets", source), ChangedConfig)
    except registry.PluginError:
        return False


def _with_sets(datasets: Mapping[Any, Any]) -> dict[Any, Any]:
    """Sections in which sets of the study that one is made from are no names but their sections."""
    return {
        name: {**section, **{key: datasets[section[key]] for key in _sets(section) if section[key] in datasets}}
        if isinstance(section, Mapping)
        else section
        for name, section in datasets.items()
    }


def _sets(section: Mapping[str, Any]) -> list[str]:
    """The keys of a section under which another set of the study is named."""
    source = section.get(registry.KEYS["datasets"])
    if not isinstance(source, str) or source == SAMPLES:
        return []
    try:
        keys = getattr(registry.load("datasets", source), "SETS", ())
    except registry.PluginError:
        return []
    return [key for key in keys if isinstance(section.get(key), str)]


def unknown_sets(config: Any) -> Iterator[str]:
    """Names of sets that one is made from and that are none, or are made from others themselves."""
    given = config.get("datasets") if isinstance(config, Mapping) else None
    datasets: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
    for name, section in datasets.items():
        for key in _sets(section) if isinstance(section, Mapping) else ():
            known = [each for each in datasets if isinstance(each, str) and each != name]
            yield f"datasets.{name}.{key}: unknown name {section[key]!r}{registry.did_you_mean(section[key], known)}"


def _by_name(kind: registry.Kind, names: Any) -> Any:
    """A list of names (or paths) as a mapping; what is not one is left for the checks."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return names
    return {registry.own_name(name): {registry.KEYS[kind]: name} for name in names}


def said_twice(config: Any) -> str:
    """A line if a list of plug-ins holds two of one name, or the section of the data is there by both its names."""
    if not isinstance(config, Mapping):
        return ""
    for kind in LISTED:
        listed = config.get(kind)
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        if len({*map(registry.own_name, names)}) < len(names):
            return f"{kind}: holds a value twice, got {listed}"
    return "image: is another name of data, which is there; leave one out" if {"data", "image"} <= {*config} else ""


def _section_named(kind: registry.Kind, key: str, name: Any, given: Any) -> Any:
    """A section with its key, such as source: by default its own name, of models of no such name glow."""
    given = {} if given is None else given
    if not isinstance(given, Mapping) or not isinstance(name, str):
        return given
    if kind == "datasets" and given.get("samples_of"):
        return {key: SAMPLES, **given}
    return {key: DEFAULT_MODEL if kind == "models" and name not in registry.names(kind) else name, **given}
