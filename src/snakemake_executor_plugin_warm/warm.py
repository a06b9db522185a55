"""The warm process from without: what it imports, and how a job is run in a fork of it. server is what it runs."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from snakemake.logging import logger

from snakemake_executor_plugin_warm import server

__all__ = ["MODULES", "Ended", "JobKilled", "Measured", "WarmProcess"]

# What many scripts import and what takes long; what one script alone needs would cost all more than it saves that one.
# None may start a thread: see server. Of Snakemake, what the first lines of each script import.
MODULES = (
    *("numpy.random", "pandas", "torch", "scipy.stats", "scipy.optimize"),
    *("sklearn.covariance", "sklearn.metrics", "sklearn.mixture", "sklearn.neighbors", "sklearn.svm"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.Image", "safetensors.torch", "safetensors.numpy"),
    *("snakemake.logging", "snakemake.iocontainers"),
    *("immature_ood.controls", "immature_ood.evaluation", "immature_ood.extraction", "immature_ood.job"),
    *("immature_ood.means", "immature_ood.plots", "immature_ood.sampling", "immature_ood.scores"),
    *("immature_ood.study", "immature_ood.tables", "immature_ood.tiers", "immature_ood.training"),
)
# Called with the id of a job's process, gives the context in which the job runs.
Measured = Callable[[int], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Ended:
    """How a job ended. code: as in subprocess, −n for signal n. max_rss: MiB at most. cpu_time: seconds."""

    code: int
    max_rss: float
    cpu_time: float


class JobKilled(subprocess.CalledProcessError):
    """A signal ended a job, or the warm process with it; returncode is −signal."""

    def __str__(self) -> str:
        """Names the signal, and the usual reason."""
        why = "; the system does that where memory runs out" if self.returncode == -signal.SIGKILL else ""
        return f"Command '{self.cmd}' was killed by {signal.Signals(-self.returncode).name}{why}."


class WarmProcess:
    """A process with one thread that has imported MODULES and has done nothing else; jobs are forks of it.

    It is made when it is first needed, and another one if it is killed or if a file of immature_ood that it imported
    changes. Threads may call run at once. It ends when it is closed, or when this process ends in whatever way.
    """

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._former: list[_Server] = []  # jobs may run in them still
        self._impossible = False

    def run(self, script: str, environment: Mapping[str, str], measured: Measured) -> Ended | None:
        """Runs the script in a fork, in the folder of this process, and waits for it; None if none could be made.

        Raises JobKilled if the warm process is killed before the job has ended.
        """
        for _ in range(2):
            if there := self._get(environment):
                try:
                    return there.run(script, environment, measured)
                except _NoForkError as error:
                    logger.debug(f"The warm process makes room for another: {error}.")
                    self._leave(there)
        return None

    def close(self) -> None:
        """When jobs have ended; those that have not are asked to."""
        with self._lock:
            for each in (*self._former, *filter(None, [self._server])):
                each.close()
            self._former, self._server = [], None

    def _get(self, environment: Mapping[str, str]) -> "_Server | None":
        with self._lock:
            if self._server is None and not self._impossible:
                try:
                    self._server = _Server(environment)
                except _NoForkError as error:
                    self._impossible = True
                    logger.warning(f"Each script starts Python for itself, as with --executor local: {error}.")
            return self._server

    def _leave(self, there: "_Server") -> None:
        with self._lock:
            if self._server is there:
                self._former.append(there)
                self._server = None


class _NoForkError(RuntimeError):
    """The message says why."""


class _Server:
    """A process that runs server, and the socket to it."""

    command = (sys.executable, "-P", str(Path(server.__file__)))

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Returns when it is warm; raises _NoForkError if it cannot be, JobKilled if a signal ends it before that."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [*self.command, str(theirs.fileno()), *MODULES]
            self._process = subprocess.Popen(command, env=dict(environment), pass_fds=[theirs.fileno()])
        said = self._socket.recv(1000)
        if said != server.READY:
            self.close()
            if self._process.returncode < 0:
                raise JobKilled(self._process.returncode, shlex.join(self.command))
            raise _NoForkError(f"{shlex.join(self.command)}: {said.decode() or 'it ended by itself'}")

    def close(self) -> None:
        """Jobs that run are asked to end, and waited for."""
        self._socket.close()
        self._process.wait()

    def run(self, script: str, environment: Mapping[str, str], measured: Measured) -> Ended:
        """See WarmProcess.run; raises _NoForkError before anything is run."""
        with self._ask() as job, job.makefile("rb") as lines:
            told = _read(lines)
            if "pid" not in told:
                raise _NoForkError(told.get("why", "it is gone"))
            request = {"script": script, "environment": dict(environment), "folder": os.getcwd()}
            with measured(told["pid"]):
                with suppress(ConnectionError):  # killed by now: how it ended is read below
                    job.sendall(json.dumps(request).encode() + b"\n")
                ended = _read(lines)
        if not ended:
            raise JobKilled(-abs(self._process.wait()) or -signal.SIGKILL, shlex.join(self.command))
        return Ended(**ended)

    def _ask(self) -> socket.socket:
        """The socket of a new job."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._socket, [b"."], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise _NoForkError(str(error)) from None
        return ours


def _read(lines: BinaryIO) -> dict[str, Any]:
    """What is told; empty when the other end is gone."""
    try:
        return json.loads(lines.readline() or "{}")
    except ConnectionError:
        return {}
