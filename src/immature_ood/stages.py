"""How far a run of a study has come, stage by stage, from what snakemake_events tells. Needs no Snakemake."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from immature_ood.words import duration

__all__ = ["STAGES", "Job", "Stage", "Stages", "last_words", "stage_of"]

STAGES = ("data", "train", "features", "detect", "tables", "report")
RULES: Mapping[str, frozenset[str]] = {
    "data": frozenset({"make_images", "make_samples", "make_stand_ins"}),
    "train": frozenset({"train"}),
    "features": frozenset(
        {"extract", "extract_changed", "extract_calibration", "extract_elsewhere", "extract_stand_ins", "measure"}
    ),
    "detect": frozenset({"fit", "score", "score_calibration", "choose_epochs"}),
    "report": frozenset({"report", "draw_samples"}),
}
# They make nothing.
TARGETS = frozenset({"all", "data", "jobs", "checkpoints", "features", "scores", "tables", "plots"})
LINES = 5  # of a job's log that are shown


def stage_of(rule: str) -> str | None:
    """The stage that a rule's jobs are counted in; None of a target, such as all, which makes nothing.

    >>> stage_of("extract"), stage_of("plot_auroc"), stage_of("means"), stage_of("all")
    ('features', 'report', 'tables', None)
    """
    for stage, rules in RULES.items():
        if rule in rules:
            return stage
    if rule in TARGETS:
        return None
    return "report" if rule.startswith("plot_") else "tables"


@dataclass(frozen=True)
class Job:
    """A job that was begun. log: its files, perhaps none."""

    rule: str
    wildcards: Mapping[str, str]
    log: tuple[str, ...]

    def __str__(self) -> str:
        named = ", ".join(f"{name}={value}" for name, value in self.wildcards.items())
        return f"{self.rule} ({named})" if named else self.rule


@dataclass
class Stage:
    """Jobs of one stage. work: what all of them take, in any unit; worked: what those that are done took of it."""

    name: str
    total: int
    work: float
    done: int = 0
    worked: float = 0
    began: float | None = None
    last: float = 0

    @property
    def is_done(self) -> bool:
        """Whether no job is left."""
        return self.done >= self.total

    def finish(self, work: float, now: float) -> None:
        """Counts a job that is done."""
        self.done, self.worked, self.last = self.done + 1, self.worked + work, now

    def left(self, now: float) -> float | None:
        """Seconds until the last job is done, if all goes on as until the last one that is; None if none is."""
        if self.began is None or not self.worked or self.is_done:
            return None
        whole = (self.last - self.began) * (self.work - self.worked) / self.worked
        return max(whole - (now - self.last), 0.0)

    def said(self, now: float) -> str:
        """For a line of text, such as "train 4/6, 2 min left"."""
        if self.is_done:
            return f"{self.name} {self.done}/{self.total}, {duration(self.last - (self.began or self.last))}"
        left = self.left(now)
        return f"{self.name} {self.done}/{self.total}" + (f", {duration(left)} left" if left else "")


@dataclass
class Stages:
    """What a run has come to.

    epochs: of each training job that is to be done, by its wildcards (id, model, seed, epoch), how many it makes: jobs
    of training differ by them. Where they are not of as many jobs as are planned, each counts as one.
    """

    epochs: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    stages: dict[str, Stage] = field(default_factory=dict)
    jobs: dict[Any, Job] = field(default_factory=dict)
    failed: dict[Any, Job] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)  # of the whole run: (exception, what Snakemake says)
    finished: set[str] = field(default_factory=set)  # rules

    def see(self, event: Mapping[str, Any]) -> Stage | Job | None:
        """Takes an event in; returns the stage that it ends, or the job that it says has failed."""
        match event["event"]:
            case "run_info" if not self.stages:
                self._plan(event["stats"])
            case "job_info":
                self._begin(event)
            case "job_finished":
                return self._finish(event["job_id"])
            case "job_error":
                return self._fail(event)
            case "error":
                self.faults.append((event["exception"], event["message"]))
        return None

    @property
    def total(self) -> int:
        """Jobs that are planned."""
        return sum(stage.total for stage in self.stages.values())

    def _plan(self, stats: Mapping[str, int]) -> None:
        counts = dict.fromkeys(STAGES, 0)
        for rule, number in stats.items():
            if rule != "total" and (stage := stage_of(rule)):
                counts[stage] += number
        if len(self.epochs) != counts["train"]:
            self.epochs = {}
        work = {"train": sum(self.epochs.values())} if self.epochs else {}
        self.stages = {name: Stage(name, n, work.get(name, n)) for name, n in counts.items() if n}

    def _begin(self, event: Mapping[str, Any]) -> None:
        job = Job(event["rule_name"], event["wildcards"] or {}, tuple(event["log"] or ()))
        self.jobs[event["jobid"]] = job
        stage = self._stage(job)
        if stage and stage.began is None:
            stage.began = self.clock()

    def _finish(self, number: Any) -> Stage | None:
        job = self.jobs.get(number)
        if not job:
            return None
        self.finished.add(job.rule)
        self.failed.pop(number, None)  # a retry did it
        if not (stage := self._stage(job)):
            return None
        key = tuple(job.wildcards.get(name, "") for name in ("id", "model", "seed", "epoch"))
        stage.finish(self.epochs.get(key, 1) if job.rule == "train" else 1, self.clock())
        return stage if stage.is_done else None

    def _fail(self, event: Mapping[str, Any]) -> Job | None:
        number, log = event["jobid"], tuple(event["log"] or ())
        begun = self.jobs.get(number, Job(event["rule_name"], {}, log))
        is_new = number not in self.failed
        self.failed[number] = begun
        return begun if is_new else None

    def _stage(self, job: Job) -> Stage | None:
        return self.stages.get(stage_of(job.rule) or "")


def last_words(file: Path, lines: int = LINES) -> Sequence[str]:
    """The last lines of a log that hold something, of a traceback only what it ends in; none of no such file."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    _, traceback, end = text.rpartition("Traceback (most recent call last):\n")
    said = [line for line in end.splitlines() if line.strip() and not (traceback and line.startswith("  "))]
    return said[-lines:]
