"""The JSON Schema of a study's config, by which an editor completes, explains and checks its keys.

`python -m immature_ood.schema > schema/study.schema.json` writes it. Each plug-in of the package has its own section in
it, chosen by its key (such as `source`) or by the name of the section; that of a file of one's own has free options.
"""

import json
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from immature_ood import registry
from immature_ood.config import Config, Name
from immature_ood.kinds import images
from immature_ood.registry import SECTIONS
from immature_ood.study import DEFAULT_MODEL, DETECTORS, IMAGES, Study

__all__ = ["study_schema"]

Schema = dict[str, Any]
PATH = {"type": "string", "pattern": r"/|\.py$"}  # of a plug-in of one's own
LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class _Generator(GenerateJsonSchema):
    """The generator of pydantic, without a title for every key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A key is its own title."""
        return False


def study_schema() -> Schema:
    """The schema, of the dialect 2020-12, as json.dumps takes it."""
    study, definitions, plug_ins = _as_pydantic_has_it()
    keys = study["properties"]
    for kind, sections in plug_ins.items():
        _define(kind, sections, definitions)
        if kind in keys:
            del keys[kind]["patternProperties"]
            keys[kind] |= _mapping(kind, sections, definitions)
    described = {key: keys["data"][key] for key in ("description", "default")}
    of_data = [{"$ref": plug_ins["kinds"][IMAGES]}, {"$ref": "#/$defs/kinds"}]
    keys["data"] = keys["image"] = described | {"anyOf": of_data}
    study["not"] = {"required": ["data", "image"]}
    keys["detectors"] |= _or_names(keys["detectors"], [*DETECTORS])
    keys["epoch_rules"] |= _or_names(keys["epoch_rules"], [])
    study["required"].remove("detectors")
    return _standard({"$schema": _Generator.schema_dialect, **study, "$defs": definitions})


def _as_pydantic_has_it() -> tuple[Schema, Schema, dict[registry.Kind, dict[str, str]]]:
    """The schema of Study, the definitions of all sections, and where in these that of each plug-in is."""
    names = [(kind, name) for kind in registry.KEYS for name in registry.names(kind)]
    classes: list[type[Config]] = [Study, *SECTIONS.values(), *(_class(*each) for each in names)]
    found, schema = models_json_schema(
        [(each, "validation") for each in dict.fromkeys(classes)], schema_generator=_Generator
    )
    plug_ins: dict[registry.Kind, dict[str, str]] = {kind: {} for kind in registry.KEYS}
    for kind, name in names:
        plug_ins[kind][name] = found[_class(kind, name), "validation"]["$ref"]
    return schema["$defs"].pop("Study"), schema["$defs"], plug_ins


def _class(kind: registry.Kind, name: str) -> type[Config]:
    return registry.config_class(kind, name, images.ImageDatasetConfig if kind == "datasets" else None)


def _define(kind: registry.Kind, sections: dict[str, str], definitions: Schema) -> None:
    """Says in each plug-in's section what its key may be; defines, by the kind's name, a section that has the key."""
    key, common = registry.KEYS[kind], _at(SECTIONS[kind].__name__, definitions)
    described = {"type": "string", "description": common["properties"][key]["description"]}
    own = {"type": "object", "properties": {**common["properties"], key: described | PATH}, "required": [key]}
    for ref in dict.fromkeys(sections.values()):
        section = _at(ref, definitions)
        section["properties"][key] = described | {"enum": [name for name in sections if sections[name] == ref]}
        section["required"] = [other for other in section.get("required", []) if other != key]
    definitions[kind] = {"anyOf": [*(_with(key, ref) for ref in dict.fromkeys(sections.values())), own]}


def _mapping(kind: registry.Kind, sections: dict[str, str], definitions: Schema) -> Schema:
    """Sections by name: one that is called like a plug-in, and, of models, any, need not name it."""
    by_name = {name: _called_like(kind, ref, definitions) for name, ref in sections.items()}
    others: Schema = {"$ref": f"#/$defs/{kind}"}
    if kind == "models":
        others = by_name[DEFAULT_MODEL]
    if kind == "datasets":
        others = {"anyOf": [others, _with("samples_of", f"#/$defs/{images.ImageDatasetConfig.__name__}")]}
    names = TypeAdapter(Name).json_schema()
    return {"properties": by_name, "propertyNames": names, "additionalProperties": others}


def _called_like(kind: registry.Kind, ref: str, definitions: Schema) -> Schema:
    """A section of the name of the plug-in at `ref`: one of its own, or of another that it names, or nothing at all."""
    empty = [] if _at(ref, definitions)["required"] else [{"type": "null"}]
    return {"anyOf": [{"$ref": ref}, {"$ref": f"#/$defs/{kind}"}, *empty]}


def _or_names(mapping: Schema, default: list[str]) -> Schema:
    """A list of names of plug-ins in place of a mapping; where a study has some by default, at least one."""
    name = {"anyOf": [{"enum": [*mapping["properties"]]}, PATH]}
    names = {"type": "array", "items": name, "uniqueItems": True} | ({"minItems": 1} if default else {})
    sections = {key: mapping.pop(key) for key in [*mapping] if key != "description"}
    return {"default": default, "anyOf": [names, sections]}


def _with(key: str, ref: str) -> Schema:
    return {"allOf": [{"$ref": ref}], "required": [key]}


def _at(ref: str, definitions: Schema) -> Schema:
    found: Schema = definitions[ref.rpartition("/")[2]]
    return found


def _standard(schema: Any) -> Any:
    """The schema in JSON Schema's words for limits; pydantic has its own where a value is read from words first."""
    if isinstance(schema, list):
        return [_standard(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        LIMITS.get(key, key) if isinstance(each, int | float) else key: _standard(each) for key, each in schema.items()
    }


def main() -> None:
    """Prints the schema."""
    print(json.dumps(study_schema(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
