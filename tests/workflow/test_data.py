"""The studies that docs/data.md shows run as they stand."""

import bz2
import re

import archives
import numpy as np
import pandas as pd
import pytest
import yaml
from test_workflow import ROOT, copy_project, snakemake

from immature_ood.planning import plan

STUDIES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/data.md").read_text(encoding="utf-8"), re.DOTALL)
BY_NAME = {study["name"]: study for study in map(yaml.safe_load, STUDIES)}
ARRAYS, LETTERS, TEXTS = (BY_NAME[name] for name in ("arrays", "letters", "letters-and-diaries"))
GENERATOR = np.random.default_rng(0)


def noise(*shape):
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


def build_arrays(folder):
    """Of each set 200 training and 130 test images, in two layouts."""
    for place, dataset in enumerate(ARRAYS["datasets"].values()):
        path = folder / dataset["path"]
        path.parent.mkdir(exist_ok=True)
        images = noise(330, 32, 32, 3) if place else noise(330, 3, 16, 16).repeat(2, axis=2).repeat(2, axis=3)
        np.savez(path, images=images, split=np.repeat(["train", "test"], (200, 130)))


def build_letters(folder):
    """EMNIST as torchvision has unpacked it, and USPS as it is published."""
    raw = folder / "data/torchvision/EMNIST/raw"
    raw.mkdir(parents=True)
    for part, suffix, number in (("train", "", 3100), ("test", ".t", 2000)):
        (raw / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(archives.idx(noise(number, 28, 28)))
        (raw / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(archives.idx(np.arange(number) % 26))
        line = " ".join(["1", *(f"{place}:{{}}" for place in range(1, 257))])
        lines = [line.format(*row) for row in (noise(number, 256) / 127.5 - 1).round(3).tolist()]
        (folder / f"data/torchvision/usps{suffix}.bz2").write_bytes(bz2.compress("\n".join(lines).encode(), 1))


def build_texts(folder):
    """In each folder 400 files of 1,500 letters of an alphabet of its own."""
    for dataset, alphabet in zip(TEXTS["datasets"].values(), ("abc", "xyz"), strict=False):
        path = folder / dataset["path"]
        path.mkdir(parents=True)
        for number in range(400):
            (path / f"{number}.txt").write_text("".join(GENERATOR.choice([*alphabet], 1500)))


def test_the_studies_are_planned(tmp_path, monkeypatch):
    build_arrays(tmp_path)
    build_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    arrays, letters, texts = plan(ARRAYS), plan(LETTERS), plan(TEXTS)
    assert texts.ood_datasets("letters") == ["diaries", "english"]
    assert {(each.train, each.fit, each.test) for each in arrays.datasets.values()} == {(200, 65, 65)}
    assert (arrays.features.fit_images, arrays.features.test_images) == (65, 65)
    assert letters.datasets["letters"].options == {"split": "letters"}
    shoes, alike = plan(BY_NAME["shoes"]), plan(BY_NAME["alike"])
    assert shoes.near_pairs
    assert alike.ood_datasets("photos")
    assert BY_NAME.keys() == {"arrays", "letters", "letters-and-diaries", "shoes", "alike"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "build"), [(ARRAYS, build_arrays), (LETTERS, build_letters)], ids=["array", "torchvision"]
)
def test_the_studies_run(study, build, tmp_path):
    """With fewer epochs and a small model."""
    project = copy_project(tmp_path)
    build(project)
    (project / "study.yaml").write_text(yaml.safe_dump(study))
    small = ["models={glow: {blocks: 1, steps: 1, hidden_channels: 8}}", "epochs=[0,1]"]
    snakemake(project, "tables", "--config", *small, study="study.yaml")
    tables = project / f"results/{study['name']}/tables"
    table = pd.read_csv(tables / "auroc.csv").query("id_dataset != ood_dataset")
    assert {*table["id_dataset"]} == {*study["datasets"]}
    assert table["auroc"].between(0, 1).all()
    published = pd.read_csv(tables / "published.csv")
    stand = {each["stands_for"] for each in study["datasets"].values() if "stands_for" in each}
    assert {*published["id_dataset"]} == stand  # the sets are called as those that they stand for


@pytest.mark.slow
def test_the_study_of_text_runs(tmp_path):
    """With a small model."""
    project = copy_project(tmp_path)
    build_texts(project)
    (project / "study.yaml").write_text(yaml.safe_dump({**TEXTS, "features": {"fit_images": 50, "test_images": 50}}))
    small = ["models={transformer: {width: 16, depth: 1, heads: 2}}", "epochs=[0,3]"]
    targets = ["results/letters-and-diaries/plots/datasets.png", "tables"]
    snakemake(project, *targets, "--config", *small, study="study.yaml")
    auroc = pd.read_csv(project / "results/letters-and-diaries/tables/auroc.csv").query("id_dataset != ood_dataset")
    trained = auroc.query("epoch == 3").set_index(["detector", "ood_dataset"])["auroc"]
    assert trained["byte_histogram", "diaries"].min() > 0.95  # of other letters
    assert trained["likelihood", "diaries"].min() > 0.95
    assert auroc.query("epoch == 0")["bits_per_dim"].between(7.8, 8.2).all()
