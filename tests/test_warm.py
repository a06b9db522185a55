"""The executor of scripts in forks of a warm process: they find and leave what they do with the local executor."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from snakemake_executor_plugin_warm.warm import MODULES, WarmProcess

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the local executor")
# Snakemake, whose warm process imports little, for the sake of time.
SNAKEMAKE = """
import sys
from snakemake_executor_plugin_warm import warm
warm.MODULES = ("json", "numpy.random", "snakemake.logging", "snakemake.iocontainers", "immature_ood.job")
from snakemake.cli import main
{first}
main(sys.argv[1:])
"""
IS_WARM = "'server.py' in open('/proc/self/cmdline').read()"
WRITES_HOW = f"open(snakemake.output[0], 'w').write(str({IS_WARM}))"
MORE = "\n".join(f"rule more{n}:\n    output: 'more{n}'\n    shell: 'touch {{output}}'" for n in range(3))


@pytest.fixture
def folder(tmp_path):
    """A folder whose name a shell would take for something else."""
    made = tmp_path / "odd 'é $HOME"
    made.mkdir()
    return made


def write(folder, rules, **scripts):
    """A Snakefile, and its scripts by name; it has three jobs more than the rules."""
    inputs = re.findall(r"output: '([^']+)'", rules)
    snakefile = f"rule all:\n    input: {[*inputs, 'more0', 'more1', 'more2']}\n{textwrap.dedent(rules)}\n{MORE}\n"
    (folder / "Snakefile").write_text(snakefile)
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))


def started(folder, *arguments, executor="warm", first="", paths=(), **options):
    command = [sys.executable, "-c", SNAKEMAKE.format(first=first), "--cores", "2", "--executor", executor, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT / "src")))}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **options)


def run(folder, *arguments, ok=True, **options):
    """What is said."""
    running = started(folder, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    said, _ = running.communicate(timeout=300)
    assert (running.returncode == 0) == ok, said
    return said


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


ONE = "rule one:\n    output: 'one'\n    script: 'one.py'\n"
FOUND = """
    import atexit, json, os, random, signal, sys, threading
    shells = ("_", "SHLVL", "PWD", "OLDPWD", "PS1")
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE]
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    found = {
        "environment": {name: value for name, value in os.environ.items() if name not in shells},
        "path": [sys.path[0], *sorted(path for path in sys.path if "source-cache" not in path)],
        "folder": os.getcwd(),
        "name": [__name__, sys.modules["__main__"].__dict__ is globals(), os.path.basename(__file__), len(sys.argv)],
        "open": sorted(os.listdir("/proc/self/fd")),
        "streams": [os.readlink(f"/proc/self/fd/{number}") for number in range(3)],
        "threads": [threading.active_count(), status["Threads"]],
        "signals": [[str(signal.getsignal(number)) for number in numbers], status["SigBlk"], status["SigIgn"]],
        "group": [os.getpgid(0), os.getsid(0)],
        "limits": [os.nice(0), os.umask(0)],
    }
    found["warm"] = 'server.py' in open('/proc/self/cmdline').read()
    found["drawn"] = [random.random(), float(__import__("numpy").random.random())]
    kept_open = open(snakemake.output[0], "w")
    json.dump(found, kept_open)
    atexit.register(lambda name=snakemake.output[0]: open(name + "_at_exit", "w").close())
    threading.Timer(0.5, lambda name=snakemake.output[0]: open(name + "_by_thread", "w").close()).start()
"""
LEAVES = """
    import builtins, json, os, signal, sys
    folder = os.getcwd()
    os.environ["LEFT"] = json.left = builtins.left = "something"
    sys.path.append("/left")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.chdir("/")
    open(os.path.join(folder, "leaves"), "w").close()
"""
FINDS = """
    import builtins, json, os, signal, sys
    left = [hasattr(json, "left"), hasattr(builtins, "left"), "LEFT" in os.environ, "/left" in sys.path]
    left += [signal.getsignal(signal.SIGTERM) != signal.SIG_DFL, os.getcwd() == "/"]
    json.dump(left, open(snakemake.output[0], "w"))
"""
MEETS = """
    import os, time
    open("here_" + snakemake.rule, "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists("here_" + {"meets": "met", "met": "meets"}[snakemake.rule]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    open(snakemake.output[0], "w").close()
"""
FAILS = """
    import os, sys
    open(snakemake.output[0], "w").write("half")
    if snakemake.rule == "raises":
        raise ValueError("a reason")
    if snakemake.rule == "exits":
        sys.exit("another reason")
    if snakemake.rule == "ends":
        sys.exit(3)
    os.kill(os.getpid(), 9)
"""
FAILED = ("raises", "exits", "ends", "killed")
MANY = """
import os

def names(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))

rule two_threads:
    output: 'two_threads'
    threads: 2
    script: 'how.py'
rule gpu:
    output: 'gpu'
    resources: gpu=1
    script: 'how.py'
rule shadow:
    output: 'shadow'
    shadow: 'minimal'
    script: 'how.py'
rule measured:
    output: 'measured'
    benchmark: 'measured.tsv'
    script: 'measured.py'
rule finds:
    input: 'leaves'
    output: 'finds'
    script: 'finds.py'
rule met:
    output: 'met'
    script: 'meets.py'
rule found_again:
    output: 'found_again'
    script: 'found.py'
rule run:
    output: 'run'
    run: open(output[0], 'w').write('run')
checkpoint split:
    output: directory('split')
    shell: 'mkdir {output} && touch {output}/a {output}/b'
rule part:
    input: 'split/{name}'
    output: touch('part_{name}')
rule gathered:
    input: lambda w: ['part_' + name for name in names(checkpoints.split.get().output[0])]
    output: 'gathered'
    shell: 'echo {input} > {output}'
"""


def rule(name, script):
    return f"rule {name}:\n    output: '{name}'\n    script: '{script}.py'\n"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """By executor, the folder where many jobs were run, and what was said."""
    made = {}
    rules = MANY + "".join(map(rule, ("how", "found", "leaves", "meets"), ("how", "found", "leaves", "meets")))
    rules += "".join(rule(name, "fails") for name in FAILED)
    measured = f"import time\nb = b'x' * 300_000_000\ndel b\ntime.sleep(0.2)\n{WRITES_HOW}\n"
    scripts = {"how": WRITES_HOW, "measured": measured, "found": FOUND, "leaves": LEAVES, "finds": FINDS}
    for executor in ("warm", "local"):
        folder = tmp_path_factory.mktemp("many jobs")
        write(folder, rules.replace("'part_{name}'", "'part_{name}' "), meets=MEETS, fails=FAILS, **scripts)
        said = run(folder, "--keep-going", executor=executor, ok=False, stdin=subprocess.DEVNULL)
        made[executor] = folder, said
    return made


def test_a_script_finds_what_it_finds_with_the_local_executor(many):
    found = {
        executor: [json.loads((folder / name).read_text()) for name in ("found", "found_again")]
        for executor, (folder, _) in many.items()
    }
    drawn = [each.pop("drawn") for each in (*found["warm"], *found["local"])]
    assert len({number for both in drawn for number in both}) == 8
    for executor in found:
        assert [each.pop("warm") for each in found[executor]] == [executor == "warm"] * 2
        folder = str(many[executor][0])
        found[executor] = json.loads(re.sub(r"pipe:\[\d+\]", "pipe", json.dumps(found[executor]).replace(folder, "")))
    for name in found["warm"][0]:
        assert [each[name] for each in found["warm"]] == [each[name] for each in found["local"]], name


def test_a_script_ends_as_with_the_local_executor(many):
    """What it holds open is written, its threads are waited for, what it has registered is done."""
    for folder, _ in many.values():
        assert all((folder / name).exists() for name in ("found_at_exit", "found_by_thread"))
        assert json.loads((folder / "found").read_text())


def test_nothing_of_a_job_is_there_in_the_next(many):
    assert json.loads((many["warm"][0] / "finds").read_text()) == [False] * 6


def test_what_needs_more_than_a_python_is_run_as_before(many):
    names = ("how", "measured", "two_threads", "gpu", "shadow")
    how = {executor: [(folder / name).read_text() for name in names] for executor, (folder, _) in many.items()}
    assert how == {"warm": ["True", "True", "False", "False", "False"], "local": ["False"] * 5}


def test_rules_of_all_sorts_run_beside_warm_ones(many):
    for folder, _ in many.values():
        assert [(folder / name).read_text() for name in ("run", "gathered")] == ["run", "part_a part_b\n"]


def test_two_run_at_once(many):
    assert (many["warm"][0] / "met").exists()  # each waits for the other


def test_a_job_that_fails_says_so_as_before(many):
    for folder, said in many.values():
        for message in ("ValueError: a reason", "another reason", "returned non-zero exit status 3."):
            assert message in said
        assert said.count("returned non-zero exit status 1.") == 2
        assert "server.py" not in said
        for name in FAILED:
            assert f"Removing output files of failed job {name} since they might be corrupted" in said
            assert not (folder / name).exists()


def test_a_job_that_is_killed_says_why(many):
    assert re.search(r"fails\.py'+ was killed by SIGKILL; the system does that where memory runs out", many["warm"][1])


def test_a_benchmark_has_the_seconds_and_the_memory_of_the_job(many):
    names, numbers = ((many["warm"][0] / "measured.tsv").read_text().splitlines()[n].split("\t") for n in (0, 1))
    measured = dict(zip(names, numbers, strict=True))
    assert float(measured["s"]) >= 0.2
    assert 300 <= float(measured["max_rss"]) < 1000
    assert float(measured["cpu_time"]) > 0


@pytest.mark.parametrize(
    "first",
    [
        "from snakemake.shell import shell; shell.prefix('true; ')",
        "import snakemake_executor_plugin_warm as w; w.sys = type('', (), {'platform': 'darwin'})",
        "warm.MODULES = ('concurrent.futures', 'thread_at_import')",
    ],
)
def test_where_a_fork_is_not_what_the_script_needs_it_starts_python(folder, first):
    (folder / "thread_at_import.py").write_text("import threading\nthreading.Timer(60, print).start()\n")
    write(folder, ONE, one=WRITES_HOW)
    said = run(folder, first=first, paths=[folder])
    assert (folder / "one").read_text() == "False"
    assert ("2 threads after its imports" in said) == ("thread_at_import" in first)


WAITS = """
    import os, signal, sys, time

    def end(*_):
        time.sleep(0.5)
        open("ended", "w").write("")
        sys.exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    open("one", "w").close()
    open("process", "w").write(str(os.getppid()))
    os.rename("process", "waits")
    while True:
        time.sleep(0.1)
"""


@pytest.fixture
def waiting(folder):
    """Snakemake with a job that waits; the leader of its group of processes."""
    write(folder, ONE, one=WAITS)
    running = started(folder, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for((folder / "waits").exists)
    yield running
    for process in members(running.pid):
        process.kill()
    running.communicate()


def members(group):
    """Processes of a group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_queues_limit_end_the_job_in_its_own_way(folder, waiting, number):
    os.killpg(waiting.pid, number)
    assert waiting.wait(60) != 0
    assert (folder / "ended").exists()  # Snakemake has waited for it
    wait_for(lambda: not members(waiting.pid), 20)


def test_of_a_snakemake_that_is_killed_the_jobs_are_asked_to_end(folder, waiting):
    waiting.kill()
    wait_for(lambda: not members(waiting.pid), 20)
    assert (folder / "ended").exists()


def test_a_warm_process_that_is_killed_fails_its_jobs_by_name(folder, waiting):
    os.kill(int((folder / "waits").read_text()), signal.SIGKILL)
    said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode != 0
    assert "server.py' was killed by SIGKILL" in said
    assert (folder / "ended").exists()
    assert not (folder / "one").exists()


def test_a_source_that_changes_between_two_jobs_is_read_anew(folder):
    package = folder / "src/immature_ood"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "job.py").write_text("VALUE = 1\n")
    one = f"{WRITES_HOW}\nopen({str(package / 'job.py')!r}, 'w').write('VALUE = 2222\\n')\n"
    two = f"import immature_ood.job as job\nopen('two', 'w').write(str([job.VALUE, {IS_WARM}]))\n"
    write(folder, f"{ONE}rule two:\n    input: 'one'\n    output: 'two'\n    script: 'two.py'\n", one=one, two=two)
    run(folder, paths=[folder / "src"])
    assert (folder / "one").read_text() == "True"
    assert (folder / "two").read_text() == "[2222, True]"
    run(folder, "--force", "one", paths=[folder / "src"])
    assert (folder / "one").read_text() == "False"  # one job is not worth a warm process


def test_the_warm_process_has_imported_all_it_is_told_to_and_has_one_thread(tmp_path):
    script = tmp_path / "tmp.look.py"
    script.write_text(
        "import json, os, sys, matplotlib, torch\n"
        f"found = [[m for m in {MODULES!r} if m not in sys.modules], len(os.listdir('/proc/self/task')),\n"
        "    'matplotlib.pyplot' in sys.modules, torch.cuda.is_initialized(), os.environ.get('JE_ARROW_MALLOC_CONF')]\n"
        f"json.dump(found, open({str(tmp_path / 'found')!r}, 'w'))\n"
    )
    warm = WarmProcess()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ended = warm.run(str(script), environment, lambda pid: nullcontext())
    finally:
        warm.close()
    assert ended is not None
    assert ended.code == 0
    assert json.loads((tmp_path / "found").read_text()) == [[], 1, False, False, None]


CHOSEN = """
import importlib.util, os, sys
from snakemake.cli import parse_args

def chosen(*arguments):
    sys.argv[1:] = ["--cores", "1", *arguments]
    return parse_args(sys.argv[1:])[1].executor

print(chosen(), chosen("--executor", "local"), chosen("--profile", "profiles/slurm"), chosen("--prof=slurm"))
os.environ["SNAKEMAKE_PROFILE"] = "slurm"
print(chosen())
del os.environ["SNAKEMAKE_PROFILE"]
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.endswith("_warm") else find(name, package)
print(chosen())
"""


def test_the_profile_chooses_it_where_no_other_one_is_asked_for():
    environment = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
    environment |= {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", CHOSEN], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["warm local slurm slurm", "slurm", "None"], done.stderr
