"""Detectors inside a detector's section, such as the parts of combined: how such a section is read and written."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, WithJsonSchema

from immature_ood import registry
from immature_ood.config import DetectorConfig

__all__ = ["Part"]


def _read(section: Any) -> Any:
    """A section is read with the Config of the detector that it names; one that there is not is left for Study."""
    key = registry.KEYS["detectors"]
    if not isinstance(section, Mapping) or not isinstance(section.get(key), str):
        return section
    try:
        return registry.parse("detectors", section)
    except registry.PluginError:
        return DetectorConfig(detector=section[key])


Part = Annotated[
    SerializeAsAny[DetectorConfig], BeforeValidator(_read), WithJsonSchema({"allOf": [{"$ref": "#/$defs/detectors"}]})
]
