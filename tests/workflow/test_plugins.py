"""Plug-ins of one's own, one file each, run through the real workflow: a data source, a model and detectors.

The detectors read what detectors may: all seeds together, another model, earlier epochs.
"""

import shutil

import pandas as pd
import pytest
import yaml
from test_workflow import ROOT, copy_project, jobs, snakemake

STUDY = {
    "name": "mine",
    "datasets": {
        "stripes": {"source": "mine/stripes.py", "width": 4, "train": 64, "fit": 40, "test": 40},
        "digits": {"train": 0, "fit": 0, "test": 40},
    },
    "id_datasets": ["stripes"],
    "models": {
        "pixels": {"architecture": "mine/pixelwise.py"},
        "background": {"architecture": "mine/pixelwise.py", "scale": 0.5},
    },
    "detectors": {
        "likelihood": None,
        "spread": {"detector": "mine/spread.py", "weight": 0.5},
        "ratio": {"detector": "mine/ratio.py"},
        "progress": {"detector": "mine/progress.py"},
    },
    "seeds": [0, 1],
    "epochs": [0, 1],
    "training": {"batch_size": 32, "learning_rate": 0.01},
    "samples": 2,
    "features": {"fit_images": 40, "test_images": 40, "batch_sizes": [1, 4]},
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A project with plug-ins in a folder of one's own."""
    folder = copy_project(tmp_path_factory.mktemp("a project of my own"))
    shutil.copytree(ROOT / "tests/plugins", folder / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mine.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return folder


@pytest.mark.slow
def test_plug_ins_of_ones_own_run_through_a_study(mine):
    snakemake(mine, study="mine.yaml")
    table = pd.read_csv(mine / "results/mine/tables/auroc.csv")
    rows = {
        detector: {(row.model, str(row.seed), row.epoch) for row in of_one.itertuples()}
        for detector, of_one in table.groupby("detector")
    }
    every = {(model, seed, epoch) for model in STUDY["models"] for seed in ("0", "1") for epoch in (0, 1)}
    assert rows == {
        "likelihood": every,
        "spread": {(model, "all", epoch) for model, _, epoch in every},
        "ratio": {("pixels", "0", 1), ("pixels", "1", 1)},
        "progress": {place for place in every if place[2]},
    }
    assert table["auroc"].between(0, 1).all()
    assert table["bits_per_dim"].notna().all()
    pooled, single = (table[table.detector == name].set_index(["model", "epoch"]) for name in ("spread", "likelihood"))
    seconds = single[~single.index.duplicated()].train_seconds  # of one seed
    assert (pooled.train_seconds >= seconds[pooled.index]).all()
    for plot in ("scores_stripes_spread_b=1", "scores_stripes_ratio_b=4", "auroc_by_epoch_stripes"):
        assert (mine / f"results/mine/plots/pixels/{plot}.png").stat().st_size > 5000
    assert jobs(mine, study="mine.yaml") == {}


@pytest.mark.slow
def test_an_edited_plug_in_makes_anew_what_follows_from_it_alone(mine):
    snakemake(mine, study="mine.yaml")

    def edited(file, old, new):
        path = mine / "mine" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        found = jobs(mine, study="mine.yaml")
        path.write_text(text)
        return {*found}

    scoring = edited("spread.py", "log_prob.var(axis=0)", "log_prob.std(axis=0)")
    assert {"fit", "score", "evaluate"} <= scoring
    assert not {"train", "extract"} & scoring
    assert "train" in edited("pixelwise.py", "0.1 * torch.randn", "0.2 * torch.randn")
    assert edited("spread.py", "The spread over seeds", "The spread over all seeds") == set()
