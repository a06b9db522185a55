"""The same versions everywhere: pyproject.toml's ranges, the pins of the constraints and of the conda environments."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch"}  # the others are called alike
DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENTS = {file.name: yaml.safe_load(file.read_text()) for file in sorted((ROOT / "envs").glob("*.yaml"))}


def canonical(name):
    return name.lower().replace("_", "-")


def pins(lines):
    found = (re.fullmatch(r"([A-Za-z0-9_.-]+?)==?([^=]+)", line.strip()) for line in lines)
    return {canonical(match[1]): match[2] for match in found if match}


def constraints(file):
    return pins((ROOT / file).read_text().splitlines())


def ranges(*extras):
    """The project's requirements by name: those of the core, and of some extras."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    found = {canonical(each.name): each for each in map(Requirement, lines)}
    found.pop("immature-ood", None)  # dev includes workflow
    return found


@pytest.mark.parametrize("extras", [(), *((extra,) for extra in PROJECT["optional-dependencies"])])
def test_constraints_hold_every_dependency_within_its_range(extras):
    pinned = constraints("constraints.txt")
    assert not [version for version in pinned.values() if "+" in version]  # builds differ between machines
    for name, requirement in ranges(*extras).items():
        assert requirement.specifier.contains(pinned[name]), name


def test_every_pinned_package_takes_the_oldest_python_that_the_project_takes():
    """Of those that are installed here: one pin was of a version that asked for Python 3.11.5, and 3.11.2 had none."""
    (least,) = (each.version for each in SpecifierSet(PROJECT["requires-python"]) if each.operator == ">=")
    pinned = constraints("constraints.txt")
    asked = {each.name: each.metadata["Requires-Python"] for each in distributions() if canonical(each.name) in pinned}
    assert len(asked) > len(pinned) / 2
    assert not {name: python for name, python in asked.items() if python and least not in SpecifierSet(python)}


def test_the_least_versions_are_those_that_are_tested():
    tested = constraints("constraints-minimum.txt")
    least = {
        name: [str(each.version) for each in requirement.specifier if each.operator == ">="]
        for name, requirement in ranges("workflow").items()
    }
    assert tested.keys() == least.keys()
    for name, versions in least.items():
        assert re.fullmatch(re.escape(versions[0]) + r"(\.0)*", tested[name]), name


@pytest.mark.parametrize("file", ENVIRONMENTS)
def test_conda_environments_have_the_pins_of_the_constraints(file):
    dependencies = ENVIRONMENTS[file]["dependencies"]
    found = pins(dependencies)
    assert len(found) == len(dependencies), "every dependency has a pin"
    assert found.pop("python") == "3.11"
    named = {CONDA_NAMES.get(name, name): version for name, version in found.items()}
    assert named.items() <= constraints("constraints.txt").items()


@pytest.mark.parametrize("file", ENVIRONMENTS)
def test_conda_environments_have_what_their_scripts_import(file):
    there = {CONDA_NAMES.get(name, name) for name in pins(ENVIRONMENTS[file]["dependencies"])}
    imported = third_party(scripts(file))
    assert {"numpy", "pydantic", "pyyaml"} <= imported <= there


def scripts(environment):
    """The scripts of the rules that run in a conda environment."""
    rules = [rule for file in (ROOT / "workflow/rules").glob("*.smk") for rule in file.read_text().split("\nrule ")]
    names = [re.findall(r'"\.\./scripts/(\w+\.py)"', rule) for rule in rules if f"envs/{environment}" in rule]
    return [ROOT / "workflow/scripts" / name for found in names for name in found]


def third_party(scripts):
    """The distributions that files import when they are run, themselves or through files of the package."""
    waiting, seen, found = [*scripts], set(scripts), set()
    while waiting:
        for module in modules(ast.parse(waiting.pop().read_text())):
            waiting += (new := {*files(module)} - seen)
            seen |= new
            found.add(module.partition(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in found - sys.stdlib_module_names - {"immature_ood"}}


def modules(tree):
    """Those that the top level of a file imports, and names of these, which may be modules too."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]


def files(module):
    path = ROOT.joinpath("src", *module.split("."))
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
