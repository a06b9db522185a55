"""The same versions everywhere: pyproject.toml, constraints.txt and the conda environments."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch"}  # the others are called alike


def pins(lines):
    found = (re.fullmatch(r"([A-Za-z0-9_.-]+?)==?([^=]+)", line.strip()) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def project_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return pins([*project["dependencies"], *project["optional-dependencies"]["dev"]])


def test_constraints_hold_every_dependency_at_its_pin():
    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    assert constraints.items() >= project_pins().items()
    assert not [version for version in constraints.values() if "+" in version]  # builds differ between machines


@pytest.mark.parametrize("file", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda file: file.stem)
def test_conda_environments_have_the_pins_of_the_project(file):
    environment = yaml.safe_load(file.read_text())
    found = pins(environment["dependencies"])
    assert len(found) == len(environment["dependencies"]), "every dependency has a pin"
    assert found.pop("python") == "3.11"
    named = {CONDA_NAMES.get(name, name): version for name, version in found.items()}
    assert named.items() <= project_pins().items()
