"""`make carry`: what it packs is all that a machine with PyTorch and little else needs."""

import os
import shlex
import subprocess
import sys
import tarfile

import pytest
from test_workflow import ROOT, copy_project

SMALL = ["pydantic", "safetensors", "PyYAML", "rich"]


@pytest.mark.slow
def test_what_is_carried_trains_elsewhere(tmp_path):
    project = copy_project(tmp_path / "project")
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        (project / file).write_bytes((ROOT / file).read_bytes())
    environment = tmp_path / "environment"  # of the tests, under another name
    (environment / "bin").mkdir(parents=True)
    for name, module in {"python": "", "snakemake": "-m snakemake", "pip": "-m pip"}.items():
        program = environment / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        program.chmod(0o755)
    (environment / "installed").touch()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    make = ["make", "carry", f"VENV={environment}", "STUDY=studies/smoke.yaml", "CORES=1", f"PYTHON_THERE={version}"]
    called = {"cwd": project, "capture_output": True, "text": True, "timeout": 600}
    done = subprocess.run(make, env=variables | {"PYTHONPATH": str(project / "src")}, **called)
    assert done.returncode == 0, done.stdout + done.stderr

    there = tmp_path / "there"
    with tarfile.open(project / "carry.tar") as carried:
        assert not [name for name in carried.getnames() if "__pycache__" in name or name.startswith(".git")]
        carried.extractall(there, filter="data")
    called["cwd"] = there
    install = ["install", "--quiet", "--no-index", "--find-links", "wheels", "--target", "packages", *SMALL]
    subprocess.run([sys.executable, "-m", "pip", *install], **called, check=True)
    run = [sys.executable, "-m", "immature_ood.run", "results/smoke/jobs.json", "--id", "digits", "--until", "1"]
    done = subprocess.run(run, env=variables | {"PYTHONPATH": f"{there}/src:{there}/packages"}, **called)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (there / "results/smoke/features/digits/glow/seed=0/epoch=1/test-glyphs.safetensors").is_file()
