"""The workflow on a real SLURM of one node, on loopback: submitted, preempted, out of memory, out of time.

Needs root on Debian or Ubuntu; up.sh installs SLURM by apt if it is not there. The node's GPU is a character device.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PARTS = ("Snakefile", "config.yaml", "studies", "workflow", "src", "profiles", "slurm", "envs", "reference")
# A site's own choices, and status checks in seconds instead of a minute.
SITE = [
    *("--default-resources", "slurm_partition=low", "mem_mb=1000", "runtime=30"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--latency-wait", "5"),
]
# One training job of 8 seconds or more after the untrained epoch.
LONG = ["--config", "name=long", "epochs=[0,400]", "id_datasets=[digits]"]
WEIGHTS = "results/long/checkpoints/digits/glow/seed=0/epoch=400/weights.safetensors"

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Environment variables of processes that use the one-node SLURM."""
    if not shutil.which("slurmctld") and not (shutil.which("apt-get") and os.geteuid() == 0):
        pytest.skip("no SLURM, and no root with apt-get to install it")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    environment = os.environ | {"SLURM_TEST_DIR": str(folder), "SLURM_CONF": str(folder / "slurm.conf")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    started = subprocess.run(["bash", HERE / "up.sh"], env=environment, capture_output=True, text=True)
    if started.returncode:
        pytest.fail(started.stdout + started.stderr)
    yield environment
    subprocess.run(["bash", HERE / "down.sh"], env=environment, check=True)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir() and not (ROOT / part).is_symlink():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / part, folder / part, follow_symlinks=False)
    return folder


def start(project, cluster, *arguments):
    """Snakemake as a user of a cluster types it."""
    command = ["snakemake", "--profile", "slurm", "--configfile", "studies/smoke.yaml", *SITE, *arguments]
    with (project / "said").open("w") as file:
        return subprocess.Popen(command, cwd=project, env=cluster, stdout=file, stderr=subprocess.STDOUT)


def finish(project, process, timeout=900):
    """What Snakemake said, once it ended well."""
    try:
        status = process.wait(timeout)
    finally:
        process.kill()
    said = (project / "said").read_text()
    assert status == 0, said[-6000:]
    return said


def locally(folder, *arguments):
    """The same, on this machine."""
    command = ["--cores", "2", "--configfile", "studies/smoke.yaml", *arguments]
    subprocess.run([sys.executable, "-m", "snakemake", *command], cwd=folder, check=True, capture_output=True)


def submitted(said, rule):
    """SLURM's ids of the jobs of a rule."""
    return re.findall(rf"SLURM jobid (\d+) \(log: \S*rule_{rule}/", said)


def described(cluster, job):
    """What SLURM knows of a job, by name."""
    shown = subprocess.run(["scontrol", "show", "job", job], env=cluster, capture_output=True, text=True, check=True)
    return dict(pair.partition("=")[::2] for pair in shown.stdout.split() if "=" in pair)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


def running(cluster, job):
    return described(cluster, job)["JobState"] == "RUNNING"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The file of the weights of the long job, made in one go on this machine."""
    folder = tmp_path_factory.mktemp("local")
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    locally(folder, *LONG, "--", WEIGHTS)
    return folder / WEIGHTS


def first_training(project, cluster, process):
    """The id of the job that trains from epoch 0 on, once it has trained some epochs."""
    log = project / "results/long/logs/train/digits/glow/seed=0/epoch=400.log"
    wait_for(lambda: process.poll() is not None or (log.exists() and len(log.read_text().splitlines()) > 20), 400)
    return submitted((project / "said").read_text(), "train")[-1]


def make_slower(project, seconds):
    """Each training step takes so much longer, with the same result, as long as the file that is returned is there."""
    script, slow = project / "workflow/scripts/train.py", project / "slow"
    slow.touch()
    wait = f"lambda *a, **o: Path({str(slow)!r}).exists() and time.sleep({seconds}) or step(*a, **o)"
    patch = f"import time\nstep = training._step\ntraining._step = {wait}\n"
    before = script.read_text()
    assert "\nwith job(" in before
    script.write_text(before.replace("\nwith job(", f"\n{patch}\nwith job(", 1))
    return slow


def test_the_smoke_study_end_to_end(project, cluster):
    segments = ["--config", "epochs_per_job=2", "epochs=[0,1,3]"]
    said = finish(project, start(project, cluster, *segments, "--", "checkpoints"))
    assert len(submitted(said, "train")) == 8  # two data sets, epochs 0, 1, 2 and 3
    assert {described(cluster, job)["JobState"] for job in submitted(said, "train")} == {"COMPLETED"}
    said = finish(project, start(project, cluster, *segments))
    assert "Submitted array job" in said  # of the features of all checkpoints, which are ready at once
    assert not submitted(said, "(?:score|plot_auroc)")  # light rules run where Snakemake does
    assert (project / "results/smoke/tables/summary.txt").exists()


@pytest.mark.parametrize("resource", ["gpu=1", "gres=gpu:1"])
def test_a_gpu_is_asked_for_in_the_form_of_the_site(project, cluster, resource):
    target = "results/smoke/checkpoints/digits/glow/seed=0/epoch=0/weights.safetensors"
    said = finish(project, start(project, cluster, "--set-resources", f"train:{resource}", "--", target))
    [job] = submitted(said, "train")
    assert re.fullmatch(
        r"gres:gpu:1", described(cluster, job).get("TresPerJob") or described(cluster, job)["TresPerNode"]
    )


def test_a_study_on_cuda_asks_for_a_gpu_a_job(project, cluster):
    """And where the node's is none, the job says so."""
    target = "results/smoke/checkpoints/digits/glow/seed=0/epoch=0/weights.safetensors"
    process = start(project, cluster, "--retries", "0", "--config", "device=cuda", "--", target)
    process.wait(200)
    said = (project / "said").read_text()
    assert described(cluster, submitted(said, "train")[0])["TresPerJob"] == "gres:gpu:1"
    assert "device: cuda, but torch sees no GPU here" in said


def test_a_preempted_job_is_requeued_and_makes_the_same_bytes(project, cluster, undisturbed):
    make_slower(project, 0.02)  # it is not done before the urgent job comes
    process = start(project, cluster, *LONG, "--", WEIGHTS)
    job = first_training(project, cluster, process)
    urgent = ["sbatch", "--parsable", "--partition=short", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"]
    subprocess.run(urgent, env=cluster, check=True, capture_output=True)
    wait_for(lambda: described(cluster, job)["JobState"] == "PENDING")
    at_once = ["scontrol", "update", f"JobId={job}", "StartTime=now"]  # instead of two minutes later
    wait_for(lambda: subprocess.run(at_once, env=cluster, capture_output=True).returncode == 0)
    finish(project, process)
    assert described(cluster, job)["Restarts"] == "1"
    assert weights(project / WEIGHTS) == weights(undisturbed)


def test_a_job_over_its_memory_is_retried_with_more(project, cluster, undisturbed):
    rules = project / "workflow/rules/train.smk"
    rules.write_text(rules.read_text().replace("memory(4000)", "memory(300)"))
    said = finish(project, start(project, cluster, *LONG, "--", WEIGHTS))
    jobs = [described(cluster, job) for job in submitted(said, "train")]
    failed = [job for job in jobs if job["JobState"] != "COMPLETED"]
    assert failed, "no job was over its memory"
    assert {job["MinMemoryNode"] for job in failed} < {job["MinMemoryNode"] for job in jobs}
    assert (project / WEIGHTS).read_bytes() == undisturbed.read_bytes()


def test_a_job_out_of_time_goes_on_in_the_next(project, cluster, undisturbed):
    """The first job's steps are made so long that it does not end in its three minutes; to start may take two."""
    slow = make_slower(project, 0.6)
    process = start(project, cluster, *LONG, "--set-resources", "train:runtime=3", "--", WEIGHTS)
    job = first_training(project, cluster, process)
    wait_for(lambda: not running(cluster, job), 500)
    slow.unlink()
    said = finish(project, process)
    states = [described(cluster, one)["JobState"] for one in submitted(said, "train")]
    assert states[1] in ("TIMEOUT", "FAILED")  # after the job of the untrained epoch
    assert states[-1] == "COMPLETED"
    log = project / "results/long/logs/train/digits/glow/seed=0/epoch=400.log"
    assert 0 < len(log.read_text().splitlines()) < 400  # of the last job: not all epochs were made again
    assert weights(project / WEIGHTS) == weights(undisturbed)


def weights(path):
    """The bytes of each tensor; the file's header has the hash of the training script, which a test may have slowed."""
    from safetensors.numpy import load_file

    return {name: array.tobytes() for name, array in load_file(path).items()}
