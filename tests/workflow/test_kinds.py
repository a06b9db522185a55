"""A study of tokens, a kind of data of one's own, from its data sets to its tables and figures."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_workflow import copy_project, jobs, snakemake

pytestmark = pytest.mark.slow

OWN = Path(__file__).parents[1] / "tokens"
SIZES = {"source": "own/counting.py", "train": 200, "fit": 40, "test": 40}
STUDY = {
    "name": "tokens",
    "data": {"kind": "own/tokens.py", "length": 16, "vocabulary": 7},
    "datasets": {"ones": SIZES, "threes": {**SIZES, "step": 3}},
    "id_datasets": ["ones"],
    "models": {"bigram": {"architecture": "own/bigram.py", "vocabulary": 7}},
    "epochs": [0, 2],
    "training": {"batch_size": 20, "learning_rate": 0.1, "warmup_epochs": 0},
    "samples": 4,
    "features": {"fit_images": 30, "test_images": 30},
}
TARGETS = [
    f"results/tokens/{file}"
    for file in ("tables/summary.txt", "tables/datasets.csv", "plots/datasets.png", "plots/bigram/samples_ones.png")
]


def test_a_study_of_tokens(tmp_path):
    folder = copy_project(tmp_path)
    shutil.copytree(OWN, folder / "own", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tokens.yaml").write_text(yaml.safe_dump(STUDY))
    snakemake(folder, *TARGETS, study="tokens.yaml")
    auroc = pd.read_csv(folder / "results/tokens/tables/auroc.csv").query("ood_dataset == 'threes' and epoch == 2")
    assert auroc["auroc"].min() > 0.9
    assert auroc["bits_per_dim"].between(1.15, 2).all()
    assert all((folder / target).stat().st_size for target in TARGETS)
    described = json.loads((folder / "results/tokens/data/ones/manifest.json").read_text())
    assert described["shape"] == [16]
    kind = folder / "own/tokens.py"
    kind.write_text(kind.read_text().replace('unit = "bits/token"', 'unit = "bits per token"'))
    assert jobs(folder, *TARGETS, study="tokens.yaml")["train"] == 2
