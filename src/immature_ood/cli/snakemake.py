"""Snakemake as a process of its own: its log in a file, what happens by a pipe, and signals passed on."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from immature_ood.stages import Job, Stage, Stages

__all__ = ["Run"]

TICK = 1.0  # seconds, after which something is told at the latest
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Run:
    """One call of Snakemake.

    It has a session of its own, so that a signal comes to it, and to its jobs, once and by us alone: SIGINT at first,
    upon which trainings end after the step under way and Snakemake takes its lock away; SIGTERM if we are asked again.
    If this process is killed, Snakemake goes on. Without a terminal, jobs draw no progress bars.

    stopped: the signal by which we were asked to stop, 0 if we were not.
    """

    def __init__(self, arguments: Sequence[str], log: Path, tell: Callable[["Stage | Job | str | None"], None]) -> None:
        self.arguments, self.log, self.tell = arguments, log, tell
        self.stopped = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False

    def follow(self, stages: "Stages") -> int:
        """Runs it to its end; returns its exit status, of a signal that killed it 128 + its number."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "immature_ood.snakemake_events", str(writing), *self.arguments]
        with self._signals(), open(reading, "rb", buffering=0) as events, self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[writing],
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            if self.stopped:  # before there was a process to pass it to
                self._pass_on(signal.SIGINT)
            for line in _lines(events.fileno()):
                self._see(line, stages)
            status = self._process.wait()
        return status if status >= 0 else 128 - status

    def _see(self, line: bytes, stages: "Stages") -> None:
        happened: Stage | Job | str | None = stages.see(json.loads(line)) if line else None
        if self.stopped:
            happened = None if self._told else "stopping: trainings end after the step under way"
            self._told = True
        self.tell(happened)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Inside, signals are passed on, but for a hang-up where that is ignored, as under nohup."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        taken = [number for number in SIGNALS if number != signal.SIGHUP or before[number] != signal.SIG_IGN]
        for number in taken:
            signal.signal(number, self._stop)
        try:
            yield
        finally:
            for number in taken:
                signal.signal(number, before[number])

    def _stop(self, number: int, _: FrameType | None) -> None:
        asked = signal.SIGTERM if self.stopped else signal.SIGINT
        self.stopped = self.stopped or number
        self._pass_on(asked)

    def _pass_on(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended
            if self._process:
                os.killpg(self._process.pid, number)


def _lines(descriptor: int) -> Iterator[bytes]:
    """The lines that come until the other end is closed, and an empty one each TICK in which none comes."""
    rest = b""
    while True:
        if not select.select([descriptor], [], [], TICK)[0]:
            yield b""
            continue
        if not (some := os.read(descriptor, 1 << 16)):
            return
        *whole, rest = (rest + some).split(b"\n")
        yield from whole
