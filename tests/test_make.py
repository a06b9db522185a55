"""`make`, as a person calls it: in a folder with a space, with a study of any name, and with no study at all.

The environment is a stand-in whose python is that of the tests; its snakemake only says how it was called.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = {"name": "mine", "datasets": {"digits": {}, "glyphs": {}}, "epochs": [0, 1]}
SNAKEMAKE = """
import json
import sys
from pathlib import Path

def main(arguments):
    if Path("fails").exists():
        sys.exit("it did not work")
    with open("calls", "a") as file:
        print(json.dumps(arguments), file=file)
    if "--report" in arguments:
        Path(arguments[-1]).touch()
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a space that has the Makefile, with the summary that a run of the study `mine` leaves."""
    folder = tmp_path / "my drive" / "project"
    (folder / "results/mine/tables").mkdir(parents=True)
    (folder / "results/mine/tables/summary.txt").write_text("All in all.\n")
    (folder / "results/mine/report.html").touch()
    for file in ("Makefile", "Snakefile", "pyproject.toml", "constraints.txt"):
        (folder / file).write_bytes((ROOT / file).read_bytes())
    return folder


@pytest.fixture
def environment(tmp_path, project):
    """An environment with a stand-in for snakemake, newer than what it is installed from."""
    folder = tmp_path / "environment"
    (folder / "bin").mkdir(parents=True)
    (folder / "packages/snakemake").mkdir(parents=True)
    (folder / "packages/snakemake/__init__.py").touch()
    (folder / "packages/snakemake/cli.py").write_text(SNAKEMAKE)
    # Not a link: Python would then look for its packages here.
    (folder / "bin/python").write_text(
        f'#!/bin/sh\nPYTHONPATH="{folder}/packages:$PYTHONPATH" exec "{sys.executable}" "$@"\n'
    )
    (folder / "bin/python").chmod(0o755)
    (folder / "installed").touch()
    return folder


def make(project, *arguments):
    """The exit status, and what make and all it calls say."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(["make", *arguments], cwd=project, env=variables, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def calls(project):
    """The arguments of each call of snakemake."""
    file = project / "calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


BLOCK = "name: mine\ndatasets: {digits: {}, glyphs: {}}\nepochs: [0, 1]\n"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("my study.yaml", BLOCK),
        ("it's $HOME, (a) & b.yaml", BLOCK),
        ("études.yaml", BLOCK),
        ("quoted.yaml", BLOCK.replace("name: mine", '"name": "mine"')),
        ("last.yaml", "datasets: {digits: {}, glyphs: {}}\nepochs: [0, 1]\nname:   mine  # of mine\n"),
        ("mark.yaml", "\ufeff" + BLOCK),
        ("windows.yaml", "\ufeff" + BLOCK.replace("\n", "\r\n")),
        ("study.json", json.dumps(STUDY)),
        ("indented.json", json.dumps(STUDY, indent="\t")),
    ],
)
def test_a_run_asks_the_project_for_the_name_of_the_study(project, environment, file, content):
    (project / file).write_bytes(content.encode())
    code, said = make(project, "run", "CORES=1", f"VENV={environment}", f"STUDY={file}")
    assert code == 0, said
    run = ["--logger", "immature-ood", "--configfile", file, "--cores", "1"]
    assert calls(project) == [run, [*run, "--report", "results/mine/snakemake-report.html"]]
    assert "All in all." in said
    assert "report  results/mine/report.html\n" in said
    assert "jobs    results/mine/snakemake-report.html\n" in said


def test_a_run_that_fails_fails_under_make_too(project, environment):
    (project / "mine.yaml").write_text(BLOCK)
    (project / "fails").touch()
    code, said = make(project, "run", "CORES=1", f"VENV={environment}", "STUDY=mine.yaml")
    assert code == 2  # of make
    assert "error: it did not work\n" in said
    assert "All in all." not in said


@pytest.mark.parametrize("goal", ["run", "doctor"])
@pytest.mark.parametrize("file", ["nope.yaml", "not here.yaml"])
def test_a_study_that_is_not_there_is_said_before_anything_is_installed(project, tmp_path, goal, file):
    code, said = make(project, goal, f"VENV={tmp_path}/new", f"STUDY={file}")
    lines = [line for line in said.splitlines() if not line.startswith("make: ***")]
    assert (code, lines) == (2, [f"there is no study {file}"])
    assert not (tmp_path / "new").exists()


def test_new_images_are_scored_by_the_results_of_the_study(project, environment):
    (project / "my study.yaml").write_text(BLOCK)
    of_command = f"""#!/bin/sh
[ "$2" = immature_ood ] && exec printf '%s\\n' "$@"
exec "{sys.executable}" "$@"
"""
    (environment / "bin/python").write_text(of_command)
    asked = ["score", f"VENV={environment}", "STUDY=my study.yaml", "OPTIONS=--epoch 3"]
    code, said = make(project, *asked, "DATA=my $HOME's images")
    score = ["-m", "immature_ood", "score", "--study", "results/mine", "--epoch", "3", "my $HOME's images"]
    assert (code, said.splitlines()) == (0, score)
    code, said = make(project, *asked)
    assert code == 2
    assert said.startswith("say what to score: make score STUDY=... DATA=folder\n")


def test_a_study_that_is_not_valid_is_said_in_a_line_a_fault_before_any_work(project, environment):
    (project / "bad.yaml").write_text(BLOCK.replace("epochs", "epoch"))
    code, said = make(project, "run", f"VENV={environment}", "STUDY=bad.yaml")
    lines = [line for line in said.splitlines() if not line.startswith("make: ***")]
    assert code == 2
    assert len(lines) == 2, said  # epoch is unknown, epochs is missing
    assert all(line.removeprefix("error: ").startswith("bad.yaml: epoch") for line in lines)
    assert calls(project) == []


@pytest.mark.parametrize("goal", ["run", "test"])
@pytest.mark.parametrize("venv", [".venv", "{tmp_path}/a b", "{tmp_path}/it's", "{tmp_path}/a(1)", "{tmp_path}/a&b"])
def test_an_environment_that_snakemake_cannot_use_is_refused_before_any_work(project, tmp_path, goal, venv):
    """Its path has a space or another character that means something to a shell (snakemake/snakemake #2645)."""
    code, said = make(project, goal, "STUDY=pyproject.toml", f"VENV={venv.format(tmp_path=tmp_path)}")
    assert code == 2
    assert len(said.splitlines()) == 1
    assert f"make {goal} VENV=$HOME/venvs/immature-ood" in said
    assert not (project / ".venv").exists()


def test_the_list_of_commands_is_shown_everywhere(project):
    code, said = make(project)
    assert code == 0
    assert "make run " in said
    assert make(project, "help") == (0, said)
