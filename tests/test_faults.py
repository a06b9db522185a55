"""Faults that happen for real, to processes of their own: killed, out of disk, refused by the file system."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import test_training

TESTS = Path(__file__).parent

TRAIN = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
import test_training as own
from immature_ood import runtime, storage, training
runtime.prepare(1)
folder = Path(sys.argv[1])
def go_on():
    state = training.start(own.RUN, own.pixels())
    rows = []
    keep = partial(training.save, folder=folder / "4")
    training.train(state, 4, own.pixels(), own.pixels(30, seed=1), folder / "scratch", rows.append, keep)
    print("epochs made:", len(rows), flush=True)
"""


def python(code, *arguments, **options):
    """A process that can import the tests."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def run(code, *arguments, **options):
    """Exit status, and what the process said."""
    process = python(code, *arguments, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Epoch 4 of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    status, said = run(TRAIN + "go_on()", folder)
    assert status == 0, said
    return folder / "4"


# Where the process kills itself: what is replaced, and by what.
DEATHS = {
    "in the middle of writing the scratch state": """
        real, count = Path.write_bytes, [0]
        def half(path, content):
            count[0] += "scratch" in str(path)
            if count[0] == 3:
                real(path, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path, content)
        Path.write_bytes = half
    """,
    "just before the rename": """
        real, count = os.replace, [0]
        def never(source, target):
            count[0] += 1
            if count[0] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(source, target)
        os.replace = never
    """,
    "between the rename and the next epoch": """
        real, count = os.replace, [0]
        def once(source, target):
            real(source, target)
            count[0] += 1
            if count[0] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        os.replace = once
    """,
    "in the middle of an epoch": """
        real, count = training._step, [0]
        def step(*arguments, **options):
            count[0] += 1
            if count[0] == 10:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        training._step = step
    """,
    "while the checkpoint is written": """
        real = training.write_json
        def never(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        training.write_json = never
    """,
}


@pytest.mark.parametrize("when", DEATHS)
def test_a_killed_trainer_goes_on_to_the_same_bytes(tmp_path, whole, when):
    death = "import os, signal\n" + textwrap.dedent(DEATHS[when])
    status, said = run(TRAIN + death + "go_on()", tmp_path)
    assert status == -signal.SIGKILL, said
    status, said = run(TRAIN + "go_on()", tmp_path)
    assert status == 0, said
    made = int(said.partition("epochs made: ")[2].split()[0])
    assert made <= {"while the checkpoint is written": 0}.get(when, 4)  # of 5, epoch 0 included: most were kept
    assert test_training.same_bytes(tmp_path / "4", whole)
    logs = [test_training.without_times((folder / "log.jsonl").read_bytes()) for folder in (tmp_path / "4", whole)]
    assert logs[0] == logs[1]


def test_a_trainer_killed_again_and_again_goes_on_to_the_same_bytes(tmp_path, whole):
    """At times that nobody chose."""
    slowly = """
import time
real = training._step
def step(*arguments, **options):
    time.sleep(0.02)
    return real(*arguments, **options)
training._step = step
print("ready", flush=True)
go_on()
"""
    for after in (0.05, 0.12, 0.2):
        process = python(TRAIN + slowly, tmp_path)
        process.stdout.readline()
        time.sleep(after)
        process.kill()
        process.communicate()
    status, said = run(TRAIN + "go_on()", tmp_path)
    assert status == 0, said
    assert test_training.same_bytes(tmp_path / "4", whole)


def test_the_lock_of_a_dead_process_is_taken_over_and_that_of_a_living_one_is_not(tmp_path, whole):
    wait = (
        TRAIN
        + """
import time
training._step = lambda *a, **o: (print("training", flush=True), time.sleep(60))
go_on()
"""
    )
    process = python(wait, tmp_path)
    process.stdout.readline()
    status, said = run(TRAIN + "go_on()", tmp_path)
    assert status == 1
    assert "another process is training this run; wait for it or stop it" in said
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    status, said = run(TRAIN + "go_on()", tmp_path)
    assert status == 0, said
    assert test_training.same_bytes(tmp_path / "4", whole)


FILES = {
    "a checkpoint": "training.save(state, folder)",
    "features": "save_features(folder / 'weights.safetensors', scores.CHECKPOINT, [scores.make_features(groups=500)])",
    "a table": "write_csv(pd.DataFrame({'x': range(5000)}), folder / 'weights.safetensors')",
}


@pytest.mark.parametrize("what", FILES)
def test_a_full_disk_names_the_file_and_the_bytes_and_keeps_the_old_one(tmp_path, what):
    """A limit on the size of files is what a full disk is to the process that writes."""
    code = f"""
import resource, signal, sys
from pathlib import Path
import pandas as pd
import test_scores as scores, test_training as own
from immature_ood import training
from immature_ood.features import save_features
from immature_ood.tables import write_csv
folder = Path(sys.argv[1])
state = own.train(folder / "made", 1) if "state" in {FILES[what]!r} else None
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
{FILES[what]}
"""
    (tmp_path / "weights.safetensors").write_bytes(b"old")
    status, said = run(code, tmp_path)
    assert status == 1
    assert "weights.safetensors: File too large (after 1,000 bytes); free space or choose another folder" in said
    assert (tmp_path / "weights.safetensors").read_bytes() == b"old"
    assert not [*tmp_path.glob(".*partial*")]
