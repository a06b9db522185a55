"""What is wrong with a config, in lines for people: key path, fault, the nearest valid name."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from immature_ood import registry
from immature_ood.config import SAMPLES, Config
from immature_ood.kinds import KindOfData, images
from immature_ood.registry import SECTIONS
from immature_ood.spelling import IMAGES

__all__ = ["faults_of", "short", "without_options"]


def without_options(kind: registry.Kind, data: type[KindOfData]) -> type[Config]:
    """What the section of a plug-in without a Config is read with: of a data set, what the kind of data offers."""
    offered: Mapping[str, type[Config]] = {"datasets": data.dataset, "kinds": images.Config}
    return offered.get(kind, SECTIONS[kind])


def short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:77]}..."


def faults_of(model: type[BaseModel], error: ValidationError, config: Any) -> list[str]:
    """Pydantic's faults of a section as lines: key path, what is wrong, the nearest valid name."""
    faults = error.errors(include_url=False, include_context=False)
    return [line for fault in faults for line in _fault(model, fault, config)]


def _fault(model: type[BaseModel], fault: Mapping[str, Any], config: Any) -> list[str]:
    place, kind = fault["loc"], fault["type"]
    path, found = ".".join(map(str, place)), fault["input"]
    said = fault["msg"].removeprefix("Value error, ")
    if not path:  # from _consistent: its lines name their own keys
        return said.splitlines()
    if kind == "extra_forbidden":
        return [f"{path}: unknown key{registry.did_you_mean(str(place[-1]), _fields(model, place[:-1], config))}"]
    if kind == "missing":
        return [f"{path}: is missing"]
    if place[-1] == "[key]":  # of a mapping of names, which is said before the key
        path = ".".join(map(str, (*place[:-2], found)))
    mend = "; write it in quotes if it is a name" if kind == "string_type" else ""
    if kind == "literal_error" and isinstance(found, str):
        close = get_close_matches(found, re.findall(r"'(.*?)'", said), n=1, cutoff=0.5)
        mend = f"; did you mean {close[0]!r}?" if close else ""
    return [f"{path}: {said}, got {short(found)}{mend}"]


def _fields(model: type[BaseModel], path: tuple[int | str, ...], config: Any) -> list[str]:
    """The valid keys of the section of `model` at `path`, of a plug-in's section those of its own Config."""
    data = _kind_named(config)
    for part in path:
        config = config.get(part) if isinstance(config, Mapping) else None
        field = _keys(model).get(str(part))
        if field is not None:  # else a name in a mapping such as datasets: its section was reached with the mapping
            model = _section(field.annotation) or model
        for kind, key in registry.KEYS.items():
            named = config.get(key) if isinstance(config, Mapping) else None
            if model is SECTIONS[kind] and isinstance(named, str):
                common = without_options(kind, data)
                model = common if named == SAMPLES else registry.config_class(kind, named, common)
    return [*_keys(model)]


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by the keys that they are read from."""
    spellings = {name: field.validation_alias for name, field in model.model_fields.items()}
    return {
        str(key): model.model_fields[name]
        for name, alias in spellings.items()
        for key in (alias.choices if isinstance(alias, AliasChoices) else [name])
    }


def _kind_named(config: Any) -> type[KindOfData]:
    """The kind of data of a config that may be wrong otherwise."""
    section = config.get("data", config.get("image")) if isinstance(config, Mapping) else None
    named = section.get("kind", IMAGES) if isinstance(section, Mapping) else IMAGES
    try:
        return registry.config_class("kinds", named)  # type: ignore[return-value]
    except (registry.PluginError, TypeError):
        return images.Config


def _section(annotation: Any) -> type[BaseModel] | None:
    """The Config inside an annotation such as dict[str, ImageConfig]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section(argument) for argument in getattr(annotation, "__args__", ())]
    return next((section for section in inner if section), None)
