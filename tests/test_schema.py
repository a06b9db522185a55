"""The JSON Schema of a config: editors complete keys by it, so it must say what Study says."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from test_study import CONFIGS as STUDIES

from immature_ood import registry
from immature_ood.config_file import read_config
from immature_ood.schema import study_schema
from immature_ood.study import Study, StudyError

ROOT = Path(__file__).parents[1]
BASE = {"name": "s", "datasets": {"digits": {}, "glyphs": {}}, "epochs": [0, 1]}
SCHEMA = study_schema()


def conforms(config):
    return Draft202012Validator(SCHEMA).is_valid(config)


def sections():
    """(name, properties) of the study and of every section, those of all plug-ins included."""
    found = [("Study", SCHEMA["properties"])]
    return found + [(name, each["properties"]) for name, each in SCHEMA["$defs"].items() if "properties" in each]


def test_the_file_is_that_of_the_code():
    Draft202012Validator.check_schema(SCHEMA)
    written = json.loads((ROOT / "schema/study.schema.json").read_text())
    assert written == SCHEMA, "run: python -m immature_ood.schema > schema/study.schema.json"


@pytest.mark.parametrize(
    ("section", "key", "described"),
    [(section, key, value) for section, properties in sections() for key, value in properties.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_key_of_every_section_is_described_by_a_sentence(section, key, described):
    assert re.fullmatch(r"[A-Z]\w*,?( \S+){3,}\.", described.get("description", "")), f"{section}.{key}"


def test_every_plug_in_of_the_package_has_its_section():
    for kind in registry.KEYS:
        for name in registry.names(kind):
            assert {*registry.config_class(kind, name).model_fields} in [{*keys} for _, keys in sections()], name


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_study_here_conforms(study):
    Draft202012Validator(SCHEMA).validate(read_config(study))


@pytest.mark.parametrize(
    "change",
    [
        {"datasets": {"digits": None, "glyphs": {"train": 100}}},
        {"datasets": {"threes": {"source": "digits"}, "glyphs": {}}},
        {"datasets": {"digits": {"source": "glyphs"}, "glyphs": {}}},
        {"datasets": {"digits": {}, "glyphs": {}, "drawn": {"samples_of": {"dataset": "digits", "epoch": 1}}}},
        {"models": {"glow": None}},
        {"models": {"glow": {"blocks": 1}}},
        {"models": {"small": {"blocks": 1}, "large": {}, "tied": {"architecture": "tied_flow", "steps": 2}}},
        {"models": {"tied_flow": {"steps": 2}}},
        {"detectors": ["likelihood", "typicality"]},
        {"detectors": {"likelihood": None, "early": {"detector": "gradient_norms", "layers": "weights"}}},
        {"detectors": {"gradient_norms": {"epsilon": 1e-10}}},
        {"image": {"channels": 3}, "training": {"learning_rate": 1, "gradient_clip": None}},
    ],
    ids=str,
)
def test_what_is_a_study_conforms(change):
    Study.parse(BASE | change)
    assert conforms(BASE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"detectors": ["mine/nearest.py"]},
        {"detectors": {"near": {"detector": "mine/nearest.py", "neighbours": 5}}},
        {"models": {"small": {"architecture": "mine/flow", "depth": [1, 2]}}},
        {"datasets": {"digits": {}, "mine": {"source": "mine.py", "train": 10, "colour": "red"}}},
        {"datasets": {"cats": {"source": "folder", "path": "cats"}, "folder": {"path": "dogs"}}},
    ],
    ids=str,
)
def test_files_of_ones_own_may_have_any_option(change):
    assert conforms(BASE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": [0, 1]},
        {"epochs": []},
        {"epochs": [-1]},
        {"name": "a/b"},
        {"training": {"learning_rat": 0.1}},
        {"training": {"learning_rate": 0}},
        {"training": {"optimizer": "adam"}},
        {"evaluation": {"confidence": 1}},
        {"features": {"batch_size": [1]}},
        {"image": {"channels": 2}},
        {"datasets": {}},
        {"datasets": {"digits": {"trian": 100}, "glyphs": {}}},
        {"datasets": {"digits": {"augmentation": {"flips": True}}, "glyphs": {}}},
        {"datasets": {"digits": {}, "glyhps": {}}},
        {"datasets": {"digits": {}, "folder": None}},
        {"datasets": {"digits": {}, "cats": {"source": "folder"}}},
        {"datasets": {"digits": {}, "my/cats": {"source": "glyphs"}}},
        {"models": {"glow": {"block": 1}}},
        {"models": {"small": {"block": 1}}},
        {"models": {"small": {"architecture": "tied_flow", "blocks": 1}}},
        {"models": {"small": {"architecture": "glwo"}}},
        {"detectors": ["likelihod"]},
        {"detectors": []},
        {"detectors": ["likelihood", "likelihood"]},
        {"detectors": {"gradient_norms": {"epsilo": 0}}},
        {"detectors": {"likelihood": {"epsilon": 0}}},
        {"detectors": {"mine": {}}},
    ],
    ids=str,
)
def test_what_is_no_study_does_not(change):
    with pytest.raises(StudyError):
        Study.parse(BASE | change)
    assert not conforms(BASE | change)


def test_every_key_that_is_needed_is():
    for key in ("name", "datasets", "epochs"):
        assert not conforms({other: value for other, value in BASE.items() if other != key})
    assert conforms(BASE)
