"""Snakemake that also tells what happens, as lines of JSON: python -m immature_ood.snakemake_events FD ARGUMENTS.

A logger plugin (snakemake-interface-logger-plugins) beside Snakemake's own log, which stays as it is. It is registered
here, not found by its name as an installed package would be, so that no other Snakemake sees it.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from logging import LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

__all__ = ["TOLD", "LogHandler", "told"]

PLUGIN = "immature_ood"
TOLD: Mapping[str, tuple[str, ...]] = {  # by event, what of it is told
    "run_info": ("stats",),
    "job_info": ("jobid", "rule_name", "wildcards", "log"),
    "job_finished": ("job_id",),
    "job_error": ("jobid", "rule_name", "log"),
    "error": ("exception",),
}


def told(record: LogRecord) -> dict[str, Any] | None:
    """What is told of a record of Snakemake's log: "event", "message", and the fields of TOLD; None of most."""
    event = str(getattr(record, "event", ""))
    if event not in TOLD:
        return None
    fields = {name: getattr(record, name, None) for name in TOLD[event]}
    return {"event": event, "message": str(record.msg or ""), **fields}


class LogHandler(LogHandlerBase):
    """Writes a line a record to the file descriptor that this process was given, as long as somebody reads it."""

    writes_to_stream = False
    writes_to_file = False
    has_filter = True  # what --quiet leaves out of the log is told all the same
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record: LogRecord) -> None:
        """See LogHandlerBase.emit."""
        if event := told(record):
            with suppress(OSError):  # whoever read it is gone; the study goes on
                os.write(int(sys.argv[1]), f"{json.dumps(event, default=str)}\n".encode())


def main() -> None:
    """Runs Snakemake, whose exit status is passed on."""
    from snakemake.cli import main as snakemake

    os.set_inheritable(int(sys.argv[1]), False)  # else a job that outlives Snakemake would hold it open
    LoggerPluginRegistry().register_plugin(f"snakemake_logger_plugin_{PLUGIN}", sys.modules[__name__])
    snakemake(["--logger", PLUGIN.replace("_", "-"), *sys.argv[2:]])


if __name__ == "__main__":
    main()
