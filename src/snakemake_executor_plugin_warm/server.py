"""The warm process: it imports what the scripts of jobs import, and forks for each job.

A file that Python runs by its path (`python -P server.py FD MODULE...`), so that it holds nothing but what it is told
to import; FD is a socket of the executor (see warm). It has one thread, or says so and ends, and does nothing but wait,
so that a fork of it is as a Python that has just begun. Linux alone.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import types
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["READY"]

READY = b"ready"
OWN = "immature_ood"  # of modules of this package a change is seen
# What ends a job in a terminal, a queue or a shutdown reaches the jobs themselves; this process ends after the last.
FOR_JOBS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # of prctl(2)
Seen = dict[str, tuple[int, int]]


def main() -> None:
    """Serves the executor at the other end; in the process of a job, runs its script as `python script` would."""
    control = socket.socket(fileno=int(sys.argv[1]))
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it imports, it ends without a traceback
    seen = warm_up(sys.argv[2:])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_JOBS)
    signal.signal(signal.SIGINT, interrupt)
    threads = len(os.listdir("/proc/self/task"))
    control.send(READY if threads == 1 else b"%d threads after its imports" % threads)
    job = serve(control, seen) if threads == 1 else None
    if job is None:
        os._exit(0)  # nothing is to be tidied up
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    run(job)


def warm_up(modules: Iterable[str]) -> Seen:
    """Imports what can be imported; returns the size and time of each file of immature_ood that was.

    What cannot be imported is tried once more by the job that wants it, which then says why.
    """
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # else pyarrow, which pandas imports, starts one
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a job would write to, and so copy, pages that all share
    own = [module for name, module in sys.modules.items() if name.split(".")[0] == OWN]
    return {file: state(file) for file in (module.__file__ for module in own) if file}


def state(file: str) -> tuple[int, int]:
    """Changes when the file does."""
    with suppress(OSError):
        found = os.stat(file)
        return found.st_mtime_ns, found.st_size
    return -1, -1


def serve(control: socket.socket, seen: Seen) -> socket.socket | None:
    """In the process of each job, returns its socket; in this one returns None, when the executor is gone.

    Of each job the executor sends a socket, by which it is told the job's process, or why there is none, such as that a
    file that was imported has changed; and at last how the job ended.
    """
    running: dict[int, socket.socket] = {}
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    while True:
        ready, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 1000)
            reap(running)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                break
            job = socket.socket(fileno=descriptors[0])
            pid = fork_for(job, seen)
            if pid == 0:
                let_go([control, *running.values()], wake, woken)
                return job
            if pid is not None:
                running[pid] = job
    end(running)
    return None


def fork_for(job: socket.socket, seen: Seen) -> int | None:
    """As os.fork; None, having said why, where there is none."""
    server = os.getpid()
    if changed := [file for file, before in seen.items() if state(file) != before]:
        tell(job, why=f"{changed[0]} has changed")
    else:
        try:
            pid = os.fork()
        except OSError as error:
            tell(job, why=str(error))
        else:
            if pid == 0:
                # Should this process be killed, nobody would wait for the job.
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != server:
                    os._exit(1)
            else:
                tell(job, pid=pid)
            return pid
    job.close()
    return None


def let_go(sockets: Iterable[socket.socket], wake: int, woken: int) -> None:
    """Of what is not the job's."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in sockets:
        each.close()
    os.close(wake)
    os.close(woken)


def tell(job: socket.socket, **what: Any) -> None:
    """An executor that is gone is not told."""
    with suppress(OSError):
        job.sendall(json.dumps(what).encode() + b"\n")


def reap(running: dict[int, socket.socket], wait: bool = False) -> None:
    """Tells how each job ended that has: exit code (−n: by signal n), most memory in MiB, processor time in seconds."""
    for pid in list(running):
        done, status, usage = os.wait4(pid, 0 if wait else os.WNOHANG)
        if done:
            with running.pop(pid) as job:
                seconds = usage.ru_utime + usage.ru_stime
                tell(job, code=os.waitstatus_to_exitcode(status), max_rss=usage.ru_maxrss / 1024, cpu_time=seconds)


def end(running: dict[int, socket.socket]) -> None:
    """Of an executor that was killed nobody waits for the jobs: they are asked to end."""
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    reap(running, wait=True)


def run(job: socket.socket) -> None:
    """Runs the script that the executor names, by then measuring this process, as Python's main module."""
    with job, job.makefile("rb") as lines:
        told = lines.readline()
    if not told:
        os._exit(1)
    request = json.loads(told)
    script = Path(request["script"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    ctypes.CDLL(None).prctl(PR_SET_NAME, script.name.partition(".")[2].encode())  # what ps shows: train.py
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # the global generator, as it is when NumPy is imported
    sys.argv = [str(script)]
    sys.path.insert(0, str(script.resolve().parent))
    sys.excepthook = show
    main_module = types.ModuleType("__main__")
    main_module.__file__ = str(script)
    sys.modules["__main__"] = main_module
    exec(compile(script.read_bytes(), script, "exec"), main_module.__dict__)
    finish(main_module)


def finish(main_module: types.ModuleType) -> None:
    """Ends this process as Python does, but leaves what was imported as it is: to take it apart would copy it all."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    main_module.__dict__.clear()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(0)


def show(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Tracebacks begin in the script."""
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


if __name__ == "__main__":
    main()
