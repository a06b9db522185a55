"""The command run: a study by the real Snakemake, with a small workflow of jobs that end, fail, or take their time."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from immature_ood.cli import app, stage_lines
from immature_ood.stages import STAGES, Job, Stages, last_words, stage_of

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "studies/smoke.yaml"
SNAKEFILE = """
rule all:
    input: expand("made/train-{id}.txt", id=["digits", "glyphs"]), "made/table.txt"
    localrule: True

rule train:
    output: "made/train-{id}.txt"
    log: "logs/train-{id}.log"
    shell: "sh ./train.sh {wildcards.id} {log} && touch {output}"

rule evaluate:
    output: "made/table.txt"
    log: "logs/evaluate.log"
    shell: "touch {output}"
"""
DIES = """
test $1 = digits && exit 0
printf 'Traceback (most recent call last):\\n  File "x.py", line 1, in f\\nValueError: the loss is NaN\\n' > $2
exit 3
"""
WAITS = "test -e go && exit 0\ntouch waits-$1\nexec sleep 300\n"
EVERY = 3 + 2  # lines of stderr of a run in which all goes well: the plan, two stages, the end and the log


@pytest.fixture
def project(tmp_path):
    """A folder with a valid study and a workflow of three jobs, of which none has run."""
    folder = tmp_path / "my project"
    (folder / "profiles").mkdir(parents=True)
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "train.sh").write_text("exit 0\n")
    shutil.copy(SMOKE, folder / "config.yaml")
    return folder


def command(*arguments):
    return [sys.executable, "-m", "immature_ood", "run", "--cores", "1", *map(str, arguments)]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def ran(project, *arguments, code=0):
    """What a run says, on stdout and stderr, without a terminal."""
    done = subprocess.run(
        command(*arguments), cwd=project, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr.splitlines()


@contextmanager
def running(project):
    """A run whose job waits for ever: (the process, Snakemake's process)."""
    process = subprocess.Popen(command(), cwd=project, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 200
        while not [*project.glob("waits-*")]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (snakemake,) = psutil.Process(process.pid).children()
        yield process, snakemake
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
        process.kill()
        process.communicate()


def test_a_run_has_a_line_a_stage_and_its_whole_log_in_a_file(project):
    assert ran(project, "-n") == ("smoke: 3 jobs (2 train, 1 tables)\n", [])
    assert not (project / "results").exists()
    _, said = ran(project, "config.yaml")
    assert len(said) == EVERY, said
    assert said[0] == "smoke: 3 jobs (2 train, 1 tables)"
    assert sorted(re.sub(", .*", "", line) for line in said[1:3]) == ["tables 1/1", "train 2/2"]
    assert said[3].startswith("done in ")
    log = project / said[4].removeprefix("log     ")
    assert "rule evaluate" in log.read_text()
    assert (project / "made/table.txt").exists()


def test_what_is_there_is_not_made_again_and_targets_go_to_snakemake(project):
    ran(project, "config.yaml", "--", "made/table.txt")
    assert [file.name for file in (project / "made").iterdir()] == ["table.txt"]
    ran(project)
    _, said = ran(project)
    assert said[0] == "smoke: nothing to be done"
    assert ran(project, "-n")[0] == "smoke: nothing to be done\n"


def test_a_script_that_dies_is_told_in_few_lines(project):
    (project / "train.sh").write_text(DIES)
    _, said = ran(project, "--", "--keep-going", code=1)
    assert "train (id=glyphs) failed; jobs under way are waited for" in said
    assert said[said.index("error: train (id=glyphs) failed") :][:4] == [
        "error: train (id=glyphs) failed",
        "  ValueError: the loss is NaN",
        "job     logs/train-glyphs.log",
        "go on   mend it, and give the same command again: what is made stays",
    ]
    assert (project / said[-1].removeprefix("log     ")).read_text().count("Error in rule train") == 1
    assert len(said) < 10
    assert (project / "made/train-digits.txt").exists()
    (project / "train.sh").write_text("exit 0\n")
    assert ran(project)[1][0] == "smoke: 1 jobs (1 train)"


def test_a_job_that_was_killed_is_said_to_have_been(project):
    (project / "train.sh").write_text("kill -9 $$\n")
    _, said = ran(project, code=1)
    assert "  its log is empty: it was killed, or died before it said why" in said


def test_what_is_wrong_with_the_workflow_is_told(project):
    (project / "Snakefile").write_text("rule all:\n    input: 'nothing.txt'\n")
    _, said = ran(project, code=1)
    assert said[0].startswith("error: MissingInputException")
    assert any("nothing.txt" in line for line in said)


def test_an_option_that_snakemake_does_not_know_is_told(project):
    _, said = ran(project, "--", "--no-such-option", code=2)
    assert any("unrecognized arguments: --no-such-option" in line for line in said)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_ends_its_jobs_and_leaves_no_lock(project, number, code):
    (project / "train.sh").write_text(WAITS)
    with running(project) as (process, snakemake):
        jobs = snakemake.children(recursive=True)
        process.send_signal(number)
        _, said = process.communicate(timeout=200)
        assert process.returncode == code, said
        assert not any(job.is_running() and job.status() != psutil.STATUS_ZOMBIE for job in jobs)
    lines = said.splitlines()
    assert lines[-2] == "interrupted; the same command goes on where it was"
    assert "failed" not in said
    (project / "go").touch()
    assert ran(project)[1][-2].startswith("done in ")


@pytest.mark.slow
def test_the_lock_of_a_killed_snakemake_is_explained(project):
    (project / "train.sh").write_text(WAITS)
    with running(project) as (process, snakemake):
        for each in [snakemake, *snakemake.children(recursive=True)]:
            each.kill()
        _, said = process.communicate(timeout=200)
        assert process.returncode == 128 + signal.SIGKILL
        assert "error: Snakemake was killed (signal 9)" in said
    (project / "go").touch()
    _, lines = ran(project, code=1)
    assert lines[0] == "error: another run holds this folder, or one was killed and left its lock"
    assert lines[1] == "go on   if none runs: snakemake --unlock, and the same command again"
    ran(project, "--", "--unlock")
    assert ran(project)[1][-2].startswith("done in ")


def refused(*arguments):
    found = CliRunner().invoke(app, ["run", *map(str, arguments)])
    assert found.exit_code == 2, found.output
    return found.stderr


def test_what_cannot_be_run_is_said_in_a_line_before_any_work(project, monkeypatch):
    monkeypatch.chdir(project)
    config = yaml.safe_load(SMOKE.read_text())
    config["datasets"]["mine"] = {"source": "folder", "path": "nowhere", "train": 128, "fit": 90, "test": 50}
    (project / "mine.yaml").write_text(yaml.safe_dump(config))
    assert refused("mine.yaml") == "error: mine.yaml: datasets.mine.path: there is no folder nowhere\n"
    said = "error: there is no study nope.yaml; immature-ood studies lists those that there are\n"
    assert refused("nope.yaml") == said
    (project / "Snakefile").unlink()
    assert refused() == f"error: there is no Snakefile here: go to a checkout of the project, such as {ROOT}\n"
    assert not (project / "results").exists()


# The stages themselves.


def rules():
    """(rule, the file it is in, what it says) of the project's workflow."""
    for file in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]:
        for name, body in re.findall(r"^ *rule (\w+):\n(.*?)(?=^ *rule |\Z)", file.read_text(), re.M | re.S):
            yield name, file.name, body


def test_every_rule_of_the_workflow_is_of_its_stage():
    found = {name: (file, body) for name, file, body in rules()}
    assert len(found) > 40
    for name, (file, body) in found.items():
        stage = stage_of(name)
        assert (stage is None) == (file == "Snakefile"), name
        if "envs/torch.yaml" in body:
            assert stage in ("data", "train", "features") or name in ("draw_samples", "list_jobs"), name
        if file in ("plots.smk", "report.smk", "data.smk", "train.smk") and name != "draw_samples":
            assert stage == {"plots.smk": "report"}.get(file, Path(file).stem), name


def started(stages, number, rule, **wildcards):
    stages.see({"event": "job_info", "jobid": number, "rule_name": rule, "wildcards": wildcards, "log": ["a.log"]})


def test_time_left_is_that_of_epochs_not_of_jobs():
    now = [0.0]
    keys = {("digits", "glow", "0", str(epoch)): epochs for epoch, epochs in ((1, 1), (2, 1), (10, 8))}
    stages = Stages(keys, clock=lambda: now[0])
    stages.see({"event": "run_info", "stats": {"train": 3, "all": 1, "total": 4}})
    stages.see({"event": "run_info", "stats": {"train": 300, "total": 300}})  # a dry run says it again at its end
    assert [*stages.stages] == ["train"]
    assert stages.total == 3
    for number, epoch in enumerate((1, 2)):
        started(stages, number, "train", id="digits", model="glow", seed="0", epoch=str(epoch))
        now[0] += 10
        assert stages.see({"event": "job_finished", "job_id": number}) is None
    stage = stages.stages["train"]
    assert stage.left(now[0]) == 80  # of 10 epochs 2 took 20 s
    assert stage.left(now[0] + 30) == 50
    assert stage.said(now[0]) == "train 2/3, 1.3 min left"
    started(stages, 2, "train", id="digits", model="glow", seed="0", epoch="10")
    assert stages.see({"event": "job_finished", "job_id": 2}) is stage
    assert stage.left(now[0]) is None


def test_a_job_that_a_retry_does_has_not_failed():
    stages = Stages()
    stages.see({"event": "run_info", "stats": {"extract": 1, "total": 1}})
    started(stages, 7, "extract", id="digits")
    error = {"event": "job_error", "jobid": 7, "rule_name": "extract", "log": ["a.log"]}
    assert str(stages.see(error)) == "extract (id=digits)"
    assert stages.see(error) is None
    stages.see({"event": "job_finished", "job_id": 7})
    assert not stages.failed
    assert stages.stages["features"].is_done


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", []),
        ("a\n\nb\n", ["a", "b"]),
        ("1\n2\n3\n4\n5\n6\n", ["2", "3", "4", "5", "6"]),
        ("a\nTraceback (most recent call last):\n  File x\n    f()\nE: no\nmore\n", ["E: no", "more"]),
    ],
)
def test_the_last_words_of_a_log(tmp_path, text, said):
    (tmp_path / "log").write_text(text)
    assert last_words(tmp_path / "log") == said
    assert last_words(tmp_path / "none") == []


def test_without_a_terminal_lines_are_few(capsys):
    now = [0.0]
    stages = Stages(clock=lambda: now[0])
    lines = stage_lines.Lines("mine", stages, clock=lambda: now[0])
    lines.tell(None)
    stages.see({"event": "run_info", "stats": {"extract": 2, "total": 2}})
    started(stages, 1, "extract")
    for second in range(400):
        now[0] = second
        lines.tell(stages.see({"event": "job_finished", "job_id": 1}) if second == 100 else None)
    assert capsys.readouterr().err.splitlines() == ["mine: 2 jobs (2 features)", "features 1/2"]
    lines.tell(Job("fit", {}, ()))
    assert capsys.readouterr().err == "fit failed; jobs under way are waited for\n"


def test_on_a_terminal_there_is_a_bar_a_stage():
    stages = Stages()
    stages.see({"event": "run_info", "stats": {"extract": 2, "fit": 4, "total": 6}})
    started(stages, 1, "extract")
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with stage_lines._bars(stages, console) as tell:
        tell(stages.see({"event": "job_finished", "job_id": 1}))
        tell("stopping")
    plain = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", console.file.getvalue())
    last = [line for line in plain.splitlines() if line.strip()]
    assert any(line.startswith("stopping") for line in last)
    assert [line.split()[0] for line in last[-2:]] == ["features", "detect"]
    assert "1/2" in last[-2]
    assert "0/4" in last[-1]
    assert {*stages.stages} < {*STAGES}
