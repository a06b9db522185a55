"""Data sets inside a data set's section, such as those that matched images are made from."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, WithJsonSchema

from immature_ood import registry
from immature_ood.config import DatasetConfig
from immature_ood.kinds.images import ImageDatasetConfig

__all__ = ["Part"]


def _read(section: Any) -> Any:
    """A section is read with the Config of the source that it names; one that there is not is left for Study."""
    key = registry.KEYS["datasets"]
    if not isinstance(section, Mapping) or not isinstance(section.get(key), str):
        return section
    try:
        return registry.parse("datasets", section, ImageDatasetConfig)
    except registry.PluginError:
        return DatasetConfig(source=section[key])


Part = Annotated[
    SerializeAsAny[DatasetConfig],
    BeforeValidator(_read),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/datasets"}]}),
]
