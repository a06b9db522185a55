"""An executor of Snakemake without start-up cost: scripts run in forks of a process that has imported what they do.

Snakemake's own local executor in all else: shell and run rules, checkpoints, `--use-conda`, containers, other
languages, jobs with more than one thread or with a GPU, runs of few jobs, and all jobs where the system is not Linux. A
script runs as it does there: alone in a process that has imported and done nothing else, with the same environment,
streams, signals and exit code.
"""

import os
import shlex
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from snakemake.benchmark import BenchmarkRecord, benchmarked
from snakemake.executors.local import Executor as LocalExecutor
from snakemake.executors.local import common_settings
from snakemake.script import PythonScript
from snakemake.shell import shell

from snakemake_executor_plugin_warm.warm import Ended, JobKilled, WarmProcess

__all__ = ["Executor", "common_settings"]

WORTH_IT = 4  # jobs: to make the process warm takes as long as two or three of them take to start
THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")


class Executor(LocalExecutor):
    """See the module; the warm process is made when the first job that can use it begins."""

    def __post_init__(self) -> None:
        """Until shutdown, scripts of this process come to run_script: Snakemake has no other place to say so."""
        super().__post_init__()
        self.warm = WarmProcess()
        self.run_cold = PythonScript.execute_script
        executor = self

        def execute_script(script: PythonScript, fname: str, edit: bool = False) -> None:
            executor.run_script(script, fname, edit)

        PythonScript.execute_script = execute_script

    def shutdown(self) -> None:
        """See the local executor, which waits for all jobs."""
        super().shutdown()
        self._close()

    def cancel(self) -> None:
        """See the local executor, which waits for all jobs."""
        super().cancel()
        self._close()

    def _close(self) -> None:
        PythonScript.execute_script = self.run_cold
        self.warm.close()

    def run_script(self, script: PythonScript, file: str, edit: bool) -> None:
        """Runs the script, whose lines are in the file; raises CalledProcessError if it fails."""

        def measured(pid: int) -> AbstractContextManager[Any]:
            return nullcontext() if script.bench_record is None else benchmarked(pid, script.bench_record)

        plain = not edit and self._is_plain(script)
        ended = self.warm.run(file, environment(script), measured) if plain else None
        if ended is None:
            self.run_cold(script, file, edit)
        else:
            _note(script.bench_record, ended)
            if ended.code:
                kind = JobKilled if ended.code < 0 else subprocess.CalledProcessError
                raise kind(ended.code, shlex.join([sys.executable, file]))

    def _is_plain(self, script: PythonScript) -> bool:
        """Whether a shell would do nothing but start this Python for it, with one thread."""
        another = script.conda_env or script.container_img or script.env_modules or script.resources.get("shell_exec")
        around = shell._process_prefix or shell._process_suffix
        large = script.threads != 1 or script.resources.get("gpu")
        worth_it = len(self.workflow.dag) >= WORTH_IT
        return sys.platform == "linux" and worth_it and not another and not around and not large


def environment(script: PythonScript) -> dict[str, str]:
    """The variables that snakemake.shell gives the job of a script."""
    variables = {**os.environ, **dict.fromkeys(map("{}_NUM_THREADS".format, THREADS), str(script.threads))}
    variables["VECLIB_MAXIMUM_THREADS"] = str(script.threads)
    if folder := script.resources.get("tmpdir"):
        variables |= dict.fromkeys(("TMPDIR", "TMP", "TEMPDIR", "TEMP"), folder)
    return variables


def _note(record: BenchmarkRecord | None, ended: Ended) -> None:
    """What the system says of a job that has ended is more than what was seen of it twice a second."""
    if record is not None:
        record.data_collected = True
        record.max_rss = max(record.max_rss or 0, ended.max_rss)
        record.cpu_time = max(record.cpu_time or 0, ended.cpu_time)
