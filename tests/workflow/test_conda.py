"""`snakemake --use-conda`, whole, through a stand-in for conda.

It shows that Snakemake can make the environments of envs/ from a channel that has their pins, that each job runs in its
rule's environment and finds the package there, and that a pin which the channel has not is refused. It does not show
that conda-forge has the pinned builds, nor that they work: the channel's packages are empty, and its python is a script
that notes its environment and starts the interpreter of the tests.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from test_workflow import copy_project

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
TABLE = "results/smoke/tables/auroc_digits.csv"
PYTHON = """#!/bin/sh
echo "$CONDA_PREFIX $*" >> "$CONDA_STAND_IN/jobs"
exec {interpreter} "$@"
"""
ACTIVATE = """export CONDA_PREFIX="$1"
export PATH="$1/bin:$PATH"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def base(tmp_path, project):
    """A folder with the stand-in, and a channel with all that the environments ask for."""
    pytest.importorskip("rattler", reason="py-rattler solves and installs")
    wanted = {
        tuple(dependency.split("="))
        for file in (project / "envs").glob("*.yaml")
        for dependency in yaml.safe_load(file.read_text())["dependencies"]
    }
    make_channel(tmp_path / "channel", wanted)
    (tmp_path / "bin").mkdir()
    write_script(tmp_path / "bin/conda", f'#!/bin/sh\nexec {sys.executable} {HERE / "stand_in_conda.py"} "$@"\n')
    write_script(tmp_path / "bin/activate", ACTIVATE)
    return tmp_path


def write_script(path, text):
    path.write_text(text)
    path.chmod(0o755)


def make_channel(folder, packages):
    """A conda channel of packages (name, version) without content, but for python."""
    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True)
    records = {}
    for name, version in sorted(packages):
        files = {"bin/python": PYTHON.format(interpreter=sys.executable)} if name == "python" else {}
        index = {"name": name, "version": f"{version}.0" if name == "python" else version, "build": "0"}
        index |= {"build_number": 0, "depends": [], "subdir": "linux-64"}
        file = f"{name}-{index['version']}-0.tar.bz2"
        content = package(index, files)
        (folder / "linux-64" / file).write_bytes(content)
        described = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "timestamp": 1_700_000_000_000,
        }
        records[file] = index | described
    write_index(folder / "linux-64", records)
    write_index(folder / "noarch", {})


def write_index(folder, records):
    content = {"info": {"subdir": folder.name}, "packages": records, "packages.conda": {}, "repodata_version": 1}
    (folder / "repodata.json").write_text(json.dumps(content))


def package(index, files):
    """The bytes of a .tar.bz2 package."""
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
    paths = [
        {"_path": path, "path_type": "hardlink", "sha256": digests[path], "size_in_bytes": len(text)}
        for path, text in files.items()
    ]
    members = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "".join(f"{path}\n" for path in files),
        **files,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def run(project, base, folder, target=TABLE, study="studies/smoke.yaml"):
    """Snakemake with --use-conda, where the only conda is the stand-in."""
    environment = os.environ | {"CONDA_STAND_IN": str(base), "PATH": f"{base / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--use-conda", "--configfile", study]
    command += ["--directory", folder, "--conda-prefix", base / "environments", target]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_every_job_runs_in_the_environment_of_its_rule(project, base, tmp_path):
    status, said = run(project, base, tmp_path / "run")
    assert status == 0, said
    assert (tmp_path / "run" / TABLE).exists()
    environments = used(base)
    packages = {script: set().union(*map(installed, prefixes)) for script, prefixes in environments.items()}
    assert packages.keys() == {"make_images", "train", "training_log", "extract", "fit", "score", "evaluate"}
    for script, names in packages.items():
        assert ("pytorch" in names) == (script in ("train", "extract")), script
        assert ("matplotlib" in names) == (script not in ("train", "extract")), script
    assert len(set().union(*environments.values())) == 2


def used(base):
    """The environments in which each script ran."""
    found = {}
    for line in (base / "jobs").read_text().splitlines():
        prefix, script = line.partition(" ")[0], line.rpartition(".")
        if script[2] == "py":
            found.setdefault(script[0].rpartition(".")[2], set()).add(prefix)
    return found


def test_images_through_torchvision_are_made_in_the_environment_with_torch(project, base, tmp_path):
    """And those of another source of the same study are not."""
    fake = {"source": "torchvision", "dataset": "FakeData", "options": {"size": 300, "image_size": [1, 28, 28]}}
    smoke = yaml.safe_load((project / "studies/smoke.yaml").read_text())
    sizes = {split: smoke["datasets"]["digits"][split] for split in ("train", "fit", "test")}
    study = smoke | {"datasets": {"digits": sizes, "fake": fake | {"train": 150, "fit": 50, "test": 50}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    for dataset, with_torch in (("fake", True), ("digits", False)):
        (base / "jobs").unlink(missing_ok=True)
        target = f"results/smoke/data/{dataset}/manifest.json"
        status, said = run(project, base, tmp_path / "run", target, tmp_path / "study.yaml")
        assert status == 0, said
        [prefix] = used(base)["make_images"]
        assert ("torchvision" in installed(prefix)) == with_torch


def installed(prefix):
    """Names of the packages in an environment."""
    return {file.name.rsplit("-", 2)[0] for file in Path(prefix, "conda-meta").glob("*.json")}


def test_a_pin_that_the_channel_has_not_is_refused(project, base, tmp_path):
    [package] = (base / "channel/linux-64").glob("numpy-*")
    records = json.loads((base / "channel/linux-64/repodata.json").read_text())["packages"]
    record = records.pop(package.name)
    old = record | {"version": "1.0"}
    write_index(base / "channel/linux-64", records | {"numpy-1.0-0.tar.bz2": old})
    status, said = run(project, base, tmp_path / "run")
    assert status != 0
    assert f"numpy {record['version']}" in said.replace("=", " ").replace("numpy  ", "numpy ")
    assert not (tmp_path / "run" / TABLE).exists()
    assert not (base / "jobs").exists()
