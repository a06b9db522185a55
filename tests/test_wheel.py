"""The wheel, in an environment of the core's dependencies alone: no Snakemake, no pandas, nothing of the repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
MODULES = {  # the others are called alike
    **{"scikit-learn": "sklearn", "scikit-image": "skimage", "pillow": "PIL", "vl-convert-python": "vl_convert"}
}
CORE = {"pygments"}  # which rich needs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    pip("wheel", "--no-deps", "--wheel-dir", folder, folder)
    (found,) = folder.glob("*.whl")
    return found


def pip(*arguments, python=sys.executable):
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *arguments, "--quiet"]
    subprocess.run(command, check=True, env=environment())


def environment():
    """Without what makes Python look for packages elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.fixture
def python(tmp_path, wheel):
    """Python of an environment with the wheel, where the packages of these tests are those of the core."""
    venv.create(tmp_path / "clean", with_pip=False)
    python = tmp_path / "clean/bin/python"
    pip("install", "--no-deps", wheel, python=python)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "clean")}))
    for there in Path(sysconfig.get_path("purelib")).iterdir():
        if there.suffix != ".pth" and there.name.partition(".")[0] not in not_in_the_core():
            link = packages / there.name
            link.exists() or link.symlink_to(there)
    return python


@cache
def not_in_the_core():
    """The modules that the extras bring."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {Requirement(line).name for lines in extras.values() for line in lines} - CORE
    return {MODULES.get(name, name).replace("-", "_") for name in names}


def run(python, code, folder):
    return subprocess.run([python, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    files = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    source = {file.relative_to(ROOT / "src") for file in (ROOT / "src").rglob("*.py")}
    source |= {file.relative_to(ROOT / "src") for file in (ROOT / "src/immature_ood/report/parts").iterdir()}
    inside = {file for file in files if not file.parts[0].endswith(".dist-info")}
    assert inside == source | {Path("immature_ood/py.typed")}


def test_the_first_lines_from_python_run_without_snakemake(python, tmp_path):
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    lines = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    done = run(python, f"{lines}\nprint(ood.__file__)", tmp_path)
    assert done.returncode == 0, done.stderr
    estimate, file = done.stdout.splitlines()
    assert estimate.startswith("Estimate(value=")
    assert Path(file).is_relative_to(tmp_path / "clean")
    for module in ("snakemake", "pandas", "matplotlib"):
        assert f"No module named '{module}'" in run(python, f"import {module}", tmp_path).stderr


def test_the_command_runs_without_snakemake(python, tmp_path):
    code = """
import sys, numpy as np
from immature_ood.cli import app
np.save("known.npy", np.random.default_rng(0).integers(0, 200, (100, 8, 8), np.uint8))
for line in ("fit known.npy --out mine.iood --epochs 0", "score mine.iood known.npy", "info mine.iood"):
    app(line.split(), standalone_mode=False)
    assert "snakemake" not in sys.modules
"""
    done = run(python, code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("known.npy#") == 100
    assert "8×8, grey" in done.stdout
