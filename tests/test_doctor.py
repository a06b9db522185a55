"""What the doctor says of a study, and that it is so."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from immature_ood import doctor
from immature_ood.models import make_model
from immature_ood.study import Study

ROOT = Path(__file__).parents[1]
SMOKE = yaml.safe_load((ROOT / "studies/smoke.yaml").read_text())


def run(*arguments, folder=ROOT):
    command = [sys.executable, "-m", "immature_ood.doctor", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_smoke_study_is_well():
    done = run("studies/smoke.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 training jobs" in done.stdout
    assert "BAD" not in done.stdout


def test_what_is_wrong_is_said_and_the_status_is_1(tmp_path):
    config = SMOKE | {"device": "cuda", "seeds": [*range(200_000)], "models": {"glow": {"hidden_channels": 512}}}
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(config))
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run(tmp_path / "large.yaml")
    assert done.returncode == 1
    assert "BAD device: cuda, but torch sees no GPU here" in done.stdout
    assert "BAD disk:" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"), [("{name: x}", "datasets: is missing"), ("[", "while parsing"), (None, "No such")]
)
def test_what_is_no_study_is_one_clear_error(tmp_path, content, said):
    if content:
        (tmp_path / "study.yaml").write_text(content)
    done = run("study.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_cost_is_counted():
    study = Study.parse(SMOKE | {"epochs": [0, 5, 20], "epochs_per_job": 5, "seeds": [0, 1]})
    cost = doctor.cost_of(study, study.models["glow"], torch.device("cpu"))
    model = make_model(study.models["glow"], study.image.shape, torch.Generator())
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (cost.train_jobs, cost.extract_jobs) == (2 * 2 * 5, 2 * 2 * 3)  # ends at 0, 5, 10, 15, 20
    weights = 20 * 3 * 4 * cost.parameters
    assert cost.gibibytes * 2**30 > weights
    assert cost.train_hours > 0
    assert cost.extract_hours > 0
