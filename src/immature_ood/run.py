"""Trains and extracts without Snakemake: python -m immature_ood.run results/<study>/jobs.json.

For a machine with a GPU that has PyTorch and little else. `snakemake jobs` lists the jobs of a study (jobs.json) and
makes its images; here they are run by the workflow's own scripts, one after another in one process, so that the files
are the ones that Snakemake would have made, and takes as made when they are brought back. What is there and follows
from the study is not made again. See docs/cluster.md.
"""

import argparse
import gc
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from immature_ood import registry
from immature_ood.provenance import source_hashes
from immature_ood.storage import StorageError, read_json
from immature_ood.validity import Claim, contradictions, forget, metadata_of

__all__ = ["main"]

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"
NOT_SAID = {"scratch"}  # params that nothing follows from
NOT_DONE = 75  # the exit status of what can be gone on with: EX_TEMPFAIL of sysexits.h


class Named(dict[str, Any]):
    """What a rule names, as Snakemake gives it to a script: by attribute, or as a dict."""

    __getattr__ = dict.__getitem__


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; its exit status is NOT_DONE where time was up, 1 for an error, which is one line."""
    options = _parser().parse_args(arguments)
    try:
        jobs = [*chosen(read_json(options.jobs)["jobs"], options)]
        if options.list:
            print(*files(jobs, options.jobs), sep="\n")
            return
        check_sources(jobs)
        run_all(jobs, options)
    except (StorageError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None


def run_all(jobs: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Runs what is not done; raises SystemExit with NOT_DONE where time is up, and ValueError as is_done does."""
    waiting = [job for job in jobs if not is_done(job)]
    print(f"{len(jobs)} jobs, of which {len(jobs) - len(waiting)} are done", flush=True)
    with _time_limit(options.minutes) as is_up:
        for number, job in enumerate(waiting, 1):
            began = time.monotonic()
            if is_done(job):  # by another process meanwhile
                continue
            print(f"[{number}/{len(waiting)}] {_called(job)}", end=" ", flush=True)
            if is_up():
                _give_up()
            try:
                run(job, options.device)
            except SystemExit as ended:
                if is_up() and ended.code != NOT_DONE:  # training ends as an error, its state written
                    _give_up()
                raise
            print(f"{time.monotonic() - began:.0f} s", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m immature_ood.run", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("jobs", type=Path, help="jobs.json, in the results of the study, beside its data")
    for key in ("id", "model", "seed"):
        parser.add_argument(f"--{key}", action="append", help="only of this one; may be given again (default: all)")
    parser.add_argument("--until", type=int, metavar="EPOCH", help="leave later epochs alone")
    parser.add_argument("--device", default="auto", help="auto (default), cuda or cpu")
    parser.add_argument("--minutes", type=float, help="end after so long, also in an epoch; run it again to go on")
    parser.add_argument("--list", action="store_true", help="the files to carry along, and no more")
    return parser


def files(jobs: Sequence[Mapping[str, Any]], listed: Path) -> list[str]:
    """What of jobs is there: the list, images, plug-ins outside the package, and what was made already."""
    of_jobs = (path for job in jobs for path in (*_paths(job["input"]), *_paths(job["output"])))
    plugins = (job[key] for job in jobs for key in ("architecture", "kind"))
    return [path for path in dict.fromkeys([str(listed), *plugins, *of_jobs]) if os.path.isfile(path)]


def _paths(given: Any) -> Iterator[str]:
    """All that a rule declares as input or output, named or not, one or several by a name."""
    if isinstance(given, str):
        yield given
    else:
        for each in given.values() if isinstance(given, Mapping) else given:
            yield from _paths(each)


def chosen(jobs: Iterable[Mapping[str, Any]], options: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """The jobs that are asked for, a chain after the other; ValueError names what there is none of, and the nearest."""
    listed = [*jobs]
    for key in ("id", "model", "seed"):
        known = sorted({job["wildcards"][key] for job in listed})
        for name in getattr(options, key) or ():
            if name not in known:
                raise ValueError(f"--{key} {name}: there is none in the list{registry.did_you_mean(name, known)}")
    for job in listed:
        of_job = job["wildcards"]
        asked = all(of_job[key] in (getattr(options, key) or [of_job[key]]) for key in ("id", "model", "seed"))
        if asked and (options.until is None or int(of_job["epoch"]) <= options.until):
            yield job


def check_sources(jobs: Iterable[Mapping[str, Any]]) -> None:
    """Raises ValueError if the code here is not that which the jobs were listed by."""
    plugins = {(job["script"], job["architecture"], job["kind"]): job["params"]["source"] for job in jobs}
    for (script, model, kind), listed in plugins.items():
        here = source_hashes(SCRIPTS / script, registry.file_of("models", model), registry.file_of("kinds", kind))
        if other := sorted(name for name in {*here, *listed} if here.get(name) != listed.get(name)):
            raise ValueError(f"the code here is not that of the list: {', '.join(other)}; bring both again")


def is_done(job: Mapping[str, Any]) -> bool:
    """Whether all files of a job are there; raises ValueError if they were made from something else."""
    made = [*_paths(job["output"])]
    if not all(os.path.exists(path) for path in made):
        return False
    made_from = {name: value for name, value in job["params"].items() if name not in NOT_SAID}
    file, key = (job["output"]["weights"], "run") if job["rule"] == "train" else (made[0], "made_from")
    folder = str(Path(file).parent)
    claim = Claim(file, lambda: metadata_of(file).get(key), lambda: made_from, folder)
    for line in contradictions([claim], known=lambda _: False):
        raise ValueError(line)
    return True


def run(job: Mapping[str, Any], device: str) -> None:
    """Runs the script of one job, as Snakemake does; raises SystemExit as the script does.

    What Snakemake knows here of an earlier run of the job is removed: the new files would look old, or of other params.
    """
    for path in job["benchmark"]:
        Path(path).unlink(missing_ok=True)
    for path in _paths(job["output"]):
        forget(path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    given = {
        name: Named(job[name]) if isinstance(job[name], Mapping) else job[name]
        for name in ("input", "output", "params", "wildcards")
    }
    snakemake = Named(given, resources=Named(device=device), log=job["log"], threads=job["params"]["threads"])
    runpy.run_path(str(SCRIPTS / job["script"]), {"snakemake": snakemake}, run_name="__main__")
    _release_memory()


def _release_memory() -> None:
    """What a job had of a GPU's memory is there for other processes while the next one runs."""
    import torch  # --list needs none

    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def _time_limit(minutes: float | None) -> Iterator[Callable[[], bool]]:
    """Sends this process SIGTERM after some time, upon which training ends with the state written."""
    up = threading.Event()

    def end() -> None:
        up.set()
        os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, lambda *_: _give_up() if up.is_set() else sys.exit(128 + signal.SIGTERM))
    timer = threading.Timer(60 * minutes, end) if minutes is not None else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield up.is_set
    finally:
        if timer:
            timer.cancel()
        signal.signal(signal.SIGTERM, previous)


def _give_up() -> None:
    print("\ntime is up; run the same again to go on", file=sys.stderr)
    raise SystemExit(NOT_DONE)


def _called(job: Mapping[str, Any]) -> str:
    of_job = job["wildcards"]
    elsewhere = f" on {of_job['dataset']}" if "dataset" in of_job else ""
    return f"{job['rule']} {of_job['id']} {of_job['model']} seed={of_job['seed']} epoch={of_job['epoch']}{elsewhere}"


if __name__ == "__main__":
    main()
