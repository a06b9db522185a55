"""What docs/studies.md and docs/commands.md show runs as it stands."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from test_workflow import ROOT, copy_project, jobs, snakemake

from immature_ood.planning import plan

STUDIES, COMMANDS = ((ROOT / f"docs/{page}.md").read_text(encoding="utf-8") for page in ("studies", "commands"))


@pytest.fixture(scope="module")
def study():
    """The study of one's own images that docs/studies.md shows, as text."""
    (found,) = re.findall(r"```yaml\n(.*?)```", STUDIES, re.DOTALL)
    return found


@pytest.fixture
def pictures(tmp_path, study):
    """A folder in which the pictures of the study lie: 330 of each set, of several sizes and modes."""
    generator = np.random.default_rng(0)
    for place, dataset in enumerate(yaml.safe_load(study)["datasets"].values()):
        folder = tmp_path / dataset["path"]
        folder.mkdir(parents=True)
        for number in range(330):
            size = generator.integers(32, 50, 2)
            image = Image.fromarray(generator.integers(0, 256, (*size // (place + 1), 3), dtype=np.uint8))
            image.convert(("RGB", "L")[number % 2]).save(folder / f"{number}.{('png', 'jpg')[number % 2]}")
    return tmp_path


def test_the_study_of_ones_own_images_is_one(pictures, study, monkeypatch):
    monkeypatch.chdir(pictures)
    planned = plan(yaml.safe_load(study))
    assert planned.id_datasets == [*planned.datasets]
    for dataset in planned.datasets.values():
        assert (dataset.train, dataset.fit, dataset.test) == (198, 66, 66)


@pytest.mark.slow
def test_the_study_of_ones_own_images_runs(pictures, study):
    (pictures / "project").mkdir()
    project = copy_project(pictures / "project")
    (pictures / "pictures").rename(project / "pictures")
    (project / "my-study.yaml").write_text(study)
    snakemake(project, "tables", study="my-study.yaml")
    table = pd.read_csv(project / "results/mine/tables/auroc.csv").query("id_dataset != ood_dataset")
    assert {*table["id_dataset"]} == {*yaml.safe_load(study)["datasets"]}
    assert table["auroc"].between(0, 1).all()
    assert table["auroc"].max() > 0.9  # pixels of noise, and the same enlarged


def test_the_table_of_another_study_is_planned(tmp_path):
    (command,) = re.findall(r"^snakemake (.*--configfile studies/smoke\.yaml) ", COMMANDS, re.MULTILINE)
    target, study = command.split()[2], command.split()[-1]
    plan = jobs(copy_project(tmp_path), target, study=study)
    assert plan == {"make_images": 2, "train": 3, "extract": 3, "fit": 3, "score": 3, "training_log": 1, "evaluate": 1}
