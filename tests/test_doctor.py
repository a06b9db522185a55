"""What the doctor says of a study, and that it is so."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from immature_ood import doctor, registry
from immature_ood.config import DatasetConfig
from immature_ood.datasets import fashion_mnist
from immature_ood.models import make_model
from immature_ood.study import Study

ROOT = Path(__file__).parents[1]
SMOKE = yaml.safe_load((ROOT / "studies/smoke.yaml").read_text())


def run(*arguments, folder=ROOT, door="immature_ood.doctor"):
    command = [sys.executable, "-m", *door.split(), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_smoke_study_is_well():
    done = run("studies/smoke.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 training jobs" in done.stdout
    assert "BAD" not in done.stdout


DOORS = {"immature_ood.doctor": 1, "immature_ood doctor": 2}  # and the status of what is no study


@pytest.mark.parametrize("door", DOORS)
def test_what_is_wrong_is_said_and_the_status_is_1(tmp_path, door):
    config = SMOKE | {"device": "cuda", "seeds": [*range(10_000)], "epochs": [*range(10_000)]}
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(config))
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run(tmp_path / "large.yaml", door=door)
    assert done.returncode == 1
    assert "BAD device: cuda, but torch sees no GPU here" in done.stdout
    assert "BAD disk:" in done.stdout


@pytest.mark.parametrize(("section", "precision"), [("training", "bf16-coupling"), ("features", "bf16-norms")])
@pytest.mark.parametrize(("capability", "well"), [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_bfloat16_on_a_processor_that_emulates_it_is_said(monkeypatch, tmp_path, capability, well, section, precision):
    has = dict.fromkeys(("avx2", "avx512_bf16", "amx_bf16"), False) | {capability: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    slow = SMOKE | {"device": "cpu", section: SMOKE[section] | {"precision": precision}}
    monkeypatch.setattr(doctor, "_seconds_an_image", lambda *_: (0.0, 0.0))
    lines = [(fine, line) for fine, line in doctor.diagnose(Study.parse(slow), tmp_path) if precision in line]
    assert [fine for fine, _ in lines] == [well]
    assert well or lines[0][1].endswith("use fp32 here")
    assert not any("bf16" in line for _, line in doctor.diagnose(Study.parse(SMOKE), tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{name: x}", "datasets: is missing"),
        ("[", "while parsing"),
        (None, "No such"),
        ("", "is empty"),
        ("- a", "a list"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_study_is_one_clear_error(tmp_path, content, said, door):
    if content is not None:
        (tmp_path / "study.yaml").write_text(content)
    done = run("study.yaml", folder=tmp_path, door=door)
    assert done.returncode == DOORS[door]
    assert "study.yaml: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_cost_is_counted():
    study = Study.parse(SMOKE | {"epochs": [0, 5, 20], "epochs_per_job": 5, "seeds": [0, 1]})
    cost = doctor.cost_of(study, study.models["glow"], torch.device("cpu"))
    model = make_model(study.models["glow"], study.data.shape, torch.Generator())
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (cost.train_jobs, cost.extract_jobs) == (2 * 2 * 5, 2 * 2 * 3)  # ends at 0, 5, 10, 15, 20
    weights = 20 * 3 * 4 * cost.parameters
    assert cost.gibibytes * 2**30 > weights
    assert cost.train_seconds > 0
    assert cost.extract_seconds > 0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.5, "0.5 s"), (42, "42 s"), (180, "3 min"), (5400, "1.5 h"), (864000, "10 d")]
)
def test_times_are_said_in_their_unit(tmp_path, monkeypatch, seconds, said):
    cost = doctor.Cost(1, 1, 6, 6, train_seconds=seconds, extract_seconds=1, gibibytes=0.1)
    monkeypatch.setattr(doctor, "cost_of", lambda *_: cost)
    lines = [line for _, line in doctor.diagnose(Study.parse(SMOKE), tmp_path)]
    assert f"6 training jobs, {said}; 6 feature jobs, 1 s, one after another" in "\n".join(lines)


def said_of(data_dir, **options):
    """What is said of one data set."""
    config = DatasetConfig(**options) if "samples_of" in options else registry.parse("datasets", options)
    return [*doctor._data(config, data_dir)]


def test_files_that_must_be_downloaded_are_said(tmp_path):
    packages, train, test = said_of(tmp_path, source="svhn")
    assert packages[0]
    assert packages[1].startswith("scipy ")
    assert train == (
        True,
        f"{tmp_path}/svhn/train_32x32.mat is not there, will be downloaded from ufldl.stanford.edu (182 MB; "
        "by hand from http://ufldl.stanford.edu/housenumbers)",
    )
    assert "test_32x32.mat" in test[1]


def test_training_images_that_nobody_asks_for_need_no_file(tmp_path):
    lines = [line for _, line in said_of(tmp_path, source="svhn", train=0, fit=0, test=10)]
    assert len(lines) == 2
    assert "test_32x32.mat" in lines[1]


def test_a_file_that_is_there_is_said_and_one_of_another_size_is_not_well(tmp_path):
    file = tmp_path / "celeba/list_eval_partition.txt"
    file.parent.mkdir()
    with file.open("wb") as empty:
        empty.truncate(2_836_386)
    assert said_of(tmp_path, source="celeba")[2] == (True, f"{file} is there")
    file.write_bytes(b"<html>")
    assert said_of(tmp_path, source="celeba")[2] == (
        False,
        f"{file} is there, but not of 2,836,386 bytes: delete it",
    )


def test_a_system_package_is_said(tmp_path, monkeypatch):
    packaged = tmp_path / "images.gz"
    packaged.write_bytes(b"images")
    files = {part: replace(each, package=(str(packaged), "")) for part, each in fashion_mnist.FILES.items()}
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    assert said_of(tmp_path, source="fashion_mnist")[1:] == [(True, f"{packaged} is there")] * 2


def test_a_folder_is_there_or_not(tmp_path):
    (tmp_path / "mine").mkdir()
    for number in range(3):
        (tmp_path / f"mine/{number}.png").touch()
    sizes = {"train": 1, "fit": 1, "test": 1}
    assert len(said_of(tmp_path, source="folder", path=str(tmp_path / "mine"), **sizes)) == 1  # the packages
    assert said_of(tmp_path, source="folder", path="nowhere")[1] == (False, "path: there is no folder nowhere")


def test_what_torchvision_has_is_said(tmp_path):
    packages, place, terms = said_of(tmp_path, source="torchvision", dataset="USPS")
    assert packages[1].startswith("torchvision ")
    assert place == (True, f"torchvision downloads USPS to {tmp_path}/torchvision if it is not there (size not known)")
    assert terms[1].startswith("terms of use of USPS: torchvision does not tell; see https://")
    assert said_of(tmp_path, source="torchvision", dataset="USP")[1][0] is False


def test_more_threads_than_cores_are_said(tmp_path):
    threads = (os.cpu_count() or 1) + 1
    said = doctor.diagnose(Study.parse(SMOKE | {"threads": threads}), tmp_path)
    assert f"threads: {threads}, but the cores to run on are {threads - 1}; give --cores {threads} or more" in [
        line for fine, line in said if not fine
    ]


def test_samples_need_no_files(tmp_path):
    samples = {"dataset": "digits", "epoch": 2}
    assert said_of(tmp_path, samples_of=samples) == [(True, "drawn from glow at epoch 2, trained on digits")]
