"""The command run: a study by Snakemake, with a line a stage, its whole log in a file and errors short."""

import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from immature_ood.cli.told import Code, checkout, failures, say

if TYPE_CHECKING:
    from immature_ood.stages import Stages
    from immature_ood.study import Study

__all__ = ["run"]

ARGUMENTS = "A study's config, by default config.yaml; after -- what Snakemake is given besides."
ELSEWHERE = ("--profile", "--executor", "-e", "--jobs", "-j")  # options of Snakemake that say where jobs run
FAULTS = 3  # failed jobs that are shown
LINES = 8  # of what Snakemake says
SIGNALLED = 128  # the status of a process that a signal ended is greater by its number


def run(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[STUDY] [-- ARGS]", help=ARGUMENTS)] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Default: all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be made, and make nothing.")] = False,
) -> None:
    """Run a study: what is made stays, and what is missing or follows from something else is made.

    A line a stage; the whole log is a file in results/STUDY/logs. Ctrl-C stops after the steps under way, and the same
    command goes on there.

    \b
    immature-ood run
    immature-ood run studies/smoke.yaml --cores 2
    immature-ood run studies/smoke.yaml -- --forcerun train
    immature-ood run studies/fashion.yaml -- --profile slurm

    Exit codes: 0 done; 1 a job failed; 2 nothing was done; 130 interrupted; else that of Snakemake.
    """
    with failures():
        path, others = _split(arguments or [])
        if not Path("Snakefile").is_file():
            raise ValueError(f"there is no Snakefile here: {checkout()}")
        if not importlib.util.find_spec("snakemake"):
            raise ImportError("a study runs by Snakemake, which is not installed")
        if not path.exists():
            raise ValueError(f"there is no study {path}; immature-ood studies lists those that there are")
        from immature_ood.planning import plan_of_file

        study = plan_of_file(path)
        where = [] if any(each.startswith(ELSEWHERE) for each in others) else ["--cores", str(cores or _cores())]
        command = ["--configfile", str(path), *where]
        raise typer.Exit(_dry(study, command, others) if dry_run else _whole(study, path, command, others))


def _split(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """The study and what is for Snakemake: the first word is the study, unless it is an option."""
    if arguments and not arguments[0].startswith("-"):
        return Path(arguments[0]), [*arguments[1:]]
    return Path("config.yaml"), [*arguments]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _dry(study: "Study", command: Sequence[str], others: Sequence[str]) -> int:
    """Says how many jobs each stage would have."""
    import tempfile

    from immature_ood.cli.snakemake import Run
    from immature_ood.stages import Stages

    with tempfile.TemporaryDirectory() as folder:
        log, stages = Path(folder, "log"), Stages()
        ended = Run([*command, "--dry-run", *others], log, lambda _: None).follow(stages)
        if ended:
            _explain(stages, log, ended)
            return ended
    planned = ", ".join(f"{stage.total} {stage.name}" for stage in stages.stages.values())
    typer.echo(f"{study.name}: {stages.total} jobs ({planned})" if planned else f"{study.name}: nothing to be done")
    return Code.DONE


def _whole(study: "Study", path: Path, command: Sequence[str], others: Sequence[str]) -> int:
    """Runs a study, makes Snakemake's own report of it, and says where things are."""
    from immature_ood.cli.snakemake import Run
    from immature_ood.cli.stage_lines import shown
    from immature_ood.stages import Stages
    from immature_ood.words import duration

    results, began = Path("results") / study.name, time.monotonic()
    log = results / "logs" / f"run-{time.strftime('%Y%m%d-%H%M%S')}.log"
    stages = Stages(_epochs_to_train(study))
    with shown(study.name, stages) as tell:
        running = Run([*command, *others], log, tell)
        ended = running.follow(stages)
    report = results / "snakemake-report.html"
    if not ended and ("all" in stages.finished or not (others or report.exists())):
        running = Run([*command, "--report", str(report)], log, lambda _: None)
        ended = running.follow(Stages())
    if running.stopped and ended:
        say(f"interrupted; the same command goes on where it was\nlog     {log}")
        return SIGNALLED + running.stopped
    if ended:
        _explain(stages, log, ended)
        say(f"log     {log}")
        return ended
    if others and not stages.stages:
        _pass_on(log)
    elif not stages.stages:
        say(f"{study.name}: nothing to be done")
    say(f"done in {duration(time.monotonic() - began)}\nlog     {log}")
    _say_what_there_is(results)
    return Code.DONE


def _epochs_to_train(study: "Study") -> dict[tuple[str, ...], int]:
    """By wildcards of each training job whose checkpoint is not there, the epochs that it makes; 1 of epoch 0."""
    from immature_ood.planning import results_folders

    shared = results_folders(study)[-1]
    return {
        (dataset, model, str(seed), str(epoch)): max(epoch - (study.previous_epoch(epoch) or 0), 1)
        for dataset in study.id_datasets
        for model in study.models
        for seed in study.seeds
        for epoch in study.chain()
        if not Path(f"{shared}/checkpoints/{dataset}/{model}/seed={seed}/epoch={epoch}/weights.safetensors").exists()
    }


def _explain(stages: "Stages", log: Path, ended: int) -> None:
    """Why a run failed, in few lines: its jobs, or what Snakemake says of the whole."""
    from immature_ood.stages import last_words

    jobs = [*stages.failed.values()]
    for job in jobs[:FAULTS]:
        _say_error(f"{job} failed")
        said = [line for file in job.log for line in last_words(Path(file))]
        say("\n".join(f"  {line}" for line in said or ["its log is empty: it was killed, or died before it said why"]))
        say("\n".join(f"job     {file}" for file in job.log))
    if len(jobs) > FAULTS:
        say(f"and {len(jobs) - FAULTS} more: {', '.join(map(str, jobs[FAULTS:]))}")
    if jobs:
        say("go on   mend it, and give the same command again: what is made stays")
        return
    exception, message = stages.faults[0] if stages.faults else ("", "")
    if exception == "LockException" or ended > SIGNALLED:
        locked = "another run holds this folder, or one was killed and left its lock"
        _say_error(f"Snakemake was killed (signal {ended - SIGNALLED})" if ended > SIGNALLED else locked)
        say("go on   if none runs: snakemake --unlock, and the same command again")
        return
    said = message.splitlines() or [*last_words(log, LINES)]
    _say_error("\n  ".join(line for line in said[:LINES] if line.strip()) or "Snakemake ended without a word")


def _say_error(line: str) -> None:
    typer.secho(f"error: {line}", err=True, fg="red")


def _pass_on(log: Path) -> None:
    """What Snakemake said, where it ran no job: that there was none to run, or what an option of its own asks for."""
    typer.echo(log.read_text(encoding="utf-8", errors="replace"), nl=False)


def _say_what_there_is(results: Path) -> None:
    """The summary, and where things are."""
    summary = results / "tables/summary.txt"
    places = {
        "report": results / "report.html",
        "tables": results / "tables/auroc.csv",
        "plots": results / "plots",
        "jobs": results / "snakemake-report.html",
    }
    if summary.exists():
        typer.echo(f"\n{summary.read_text(encoding='utf-8')}")
    for name, place in places.items():
        if place.exists():
            typer.echo(f"{name:<7} {place}{'/' * place.is_dir()}")
