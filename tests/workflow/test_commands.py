"""Every command that a page shows is run by a test, or planned with -n; beside each that is not run stands why."""

import re
import shutil
import subprocess
import sys
from itertools import chain
from shlex import split

import numpy as np
import pages
import pytest
import yaml
from pages import PAGES, ROOT
from test_workflow import copy_project

THREE = "tests/test_command.py::test_the_three_commands_of_readme_tell_digits_from_photographs_and_letters"
LISTED = "tests/workflow/test_workflow.py::test_without_snakemake_the_same_files_are_made_from_a_list_of_jobs"
SCORED = "tests/workflow/test_workflow.py::test_a_finished_study_scores_its_own_test_images_as_it_did"
CARRIED = "tests/workflow/test_carry.py::test_what_is_carried_trains_elsewhere"
# What runs a command: a test, or .ci/run.
RUN = {
    r"immature-ood (fit|score mine\.iood|info) .*": THREE,
    r"immature-ood explain .*": "tests/test_command.py::test_explain_draws_a_picture_and_says_its_numbers",
    r"immature-ood score --study .*": SCORED,
    r"immature-ood studies": "tests/test_studies.py",
    r"immature-ood doctor .*": "tests/test_doctor.py",
    r"immature-ood run .*": "tests/test_run.py",
    r"make score .*": "tests/test_make.py::test_new_images_are_scored_by_the_results_of_the_study",
    r"make carry .*": CARRIED,
    r"python -m pip install --no-index --find-links wheels .*": CARRIED,
    r"pip install \.": "tests/test_wheel.py::test_the_command_runs_without_snakemake",
    r"make (check|docs|test|run)": ".ci/run",
    r"(PYTHONPATH=src )?python -m immature_ood\.run results/[\w-]+/jobs\.json( .*)?": LISTED,
    r"snakemake --cores 8 --use-conda": "tests/workflow/test_conda.py",  # by a stand-in for conda
    r"python docs/why/toys\.py .*": "tests/workflow/test_commands.py::test_the_toys_run",
    r"python docs/foreign/noise\.py": "tests/workflow/test_commands.py::test_snakemake_plans_it",
}
# What is planned with -n, and why it is not run.
PLANNED = {
    r"make run STUDY=.*": "minutes to hours; tests/test_study.py reads each study",
    r"make audit": "two hours",
    r"make bench( .*)?": "minutes to an hour, and packages of peers are downloaded",
    r"make doctor( .*)?": "tests/test_doctor.py runs it; here for its target",
    r"snakemake( .*)?": "minutes to hours; some need a GPU, a cluster, or data that is downloaded",
}
# What is neither, and why.
OUTSIDE = {
    r"source \.venv/bin/activate": "changes the shell that reads it",
    r"apt-get install .*": "changes the machine; tests/test_text.py reads the pages where they are there",
    r"tar xf carry\.tar": "no command of ours; tests/workflow/test_carry.py does the same",
    r"python docs/(foreign|paper-small)/\w+\.py .*": "reads the results of a study of hours",
    r"python docs/near/signs\.py": "reads a file of a data set that is not in the project",
    r"python docs/why/dials\.py .*": "reads the features of a study of hours",
    r"python docs/first-answer/\w+\.py .*": "minutes, and data of which a part is downloaded",
}
COMMANDS = sorted({command for page in PAGES for command in pages.commands(page)})
# How many cores there are changes no plan.
PLANS = sorted({re.sub(r" --cores \d+", "", command) for command in COMMANDS if command.startswith("snakemake")})
MAKE = sorted(command for command in COMMANDS if command.startswith("make"))


def matching(command):
    return [pattern for pattern in (*RUN, *PLANNED, *OUTSIDE) if re.fullmatch(pattern, command)]


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_known_how_each_command_is_tested(command):
    found = matching(command)
    assert found, f"say in RUN, PLANNED or OUTSIDE of {__file__} how this command is tested"
    assert len(found) == 1 or found[0] in RUN, found


def test_no_way_is_left_over():
    used = {*chain.from_iterable(map(matching, COMMANDS))}
    assert {*RUN, *PLANNED, *OUTSIDE} == used | {r"make (check|docs|test|run)"}


@pytest.mark.parametrize("test", sorted({*RUN.values()}))
def test_what_runs_a_command_is_there(test):
    file, _, function = test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not function or f"def {function}(" in text
    if file == ".ci/run":
        assert {"check", "docs", "test", "run"} <= {*re.findall(r"^make (\w+)", text, re.MULTILINE)}


def test_a_test_runs_the_three_commands_of_readme_and_all_others_of_immature_ood():
    readme = {command for command in pages.commands(ROOT / "README.md") if command.startswith("immature-ood")}
    assert len(readme) == 3
    assert {RUN.get(matching(command)[0]) for command in readme} == {THREE}
    assert {matching(command)[0] for command in COMMANDS if command.startswith("immature-ood")} <= {*RUN}


def test_a_block_is_of_commands_or_of_none():
    """Or a command would be missed that pages.COMMAND does not know."""
    for page in PAGES:
        for _, language, block in pages.FENCE.findall(pages.text(page)):
            lines = [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]
            known = [bool(pages.COMMAND.match(f"{line.strip()} ")) for line in lines]
            assert language or all(known) or not any(known), (page, block)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with the files that commands name as a reader's own."""
    folder = copy_project(tmp_path_factory.mktemp("commands") / "project")
    (folder / "slurm").symlink_to("profiles/slurm")
    shutil.copytree(ROOT / "docs/foreign", folder / "docs/foreign")
    (folder / "benchmarks").mkdir()
    for file in ("Makefile", "pyproject.toml", "constraints.txt", "benchmarks/requirements.txt"):
        shutil.copy(ROOT / file, folder / file)
    mine = yaml.safe_load((ROOT / "studies/smoke.yaml").read_text()) | {"name": "mine"}
    (folder / "studies/mine.yaml").write_text(yaml.safe_dump(mine))
    (folder / "data").mkdir()
    for kind, shape in (("grey", (28, 28)), ("rgb", (32, 32, 3))):  # planning looks at the shape
        images = np.zeros((10000, *shape), np.uint8)  # as many as the studies ask for
        arrays = yaml.safe_load((ROOT / f"studies/paper-small-{kind}-arrays.yaml").read_text())["datasets"]
        for section in arrays.values():
            split = np.repeat(["train", "test"], (7000, 3000))
            names = [f"{part}/{CIFAR10[place % 10]}/{place}.png" for place, part in enumerate(split)]
            np.savez_compressed(folder / section["path"], images=images, split=split, names=names)
    shapes = np.repeat(["circle", "triangle"], 5000)
    np.savez_compressed(folder / "data/gtsrb-shapes.npz", images=np.zeros((10000, 32, 32, 3), np.uint8), label=shapes)
    subprocess.run([sys.executable, "docs/foreign/noise.py"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_it(command, copy):
    program, target, *rest = split(command)
    done = subprocess.run(
        [program, "--dry-run", target, *rest, f"VENV={copy / 'no'}"], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^\.PHONY:.* {target}\b", (ROOT / "Makefile").read_text(), re.MULTILINE)
    studies = [argument.removeprefix("STUDY=") for argument in rest if argument.startswith("STUDY=")]
    assert all((copy / study).is_file() for study in studies)


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in PLANS if "--use-conda" not in command])
def test_snakemake_plans_it(command, copy):
    _, *arguments = split(command)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--dry-run", "--quiet", "host"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job stats:" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_toys_run(tmp_path):
    """With fewer problems."""
    (command,) = (command for command in COMMANDS if "toys.py" in command)
    _, script, *arguments = split(command.replace("--problems 300", "--problems 12"))
    arguments[-1] = str(tmp_path / "toys.png")
    subprocess.run([sys.executable, str(ROOT / script), *arguments], check=True, capture_output=True)
    assert (tmp_path / "toys.png").stat().st_size > 10_000
