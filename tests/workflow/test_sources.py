"""The whole workflow on every data source: those that are downloaded come, in their true formats, from this machine."""

import json

import archives
import pandas as pd
import pytest
import yaml
from test_workflow import copy_project, jobs, snakemake

from immature_ood import registry

pytestmark = pytest.mark.slow


def of_channels(channels):
    """The sources whose images have so many channels, or as many as a study asks for."""
    modules = {name: registry.load("datasets", name) for name in registry.names("datasets")}
    of_images = {name: module for name, module in modules.items() if not hasattr(module, "KINDS")}
    return [name for name, module in of_images.items() if getattr(module, "SHAPE", (channels,))[0] == channels]


@pytest.fixture(scope="module")
def project(tmp_path_factory, published):
    """A copy of the project whose tables of downloads point to this machine."""
    folder = copy_project(tmp_path_factory.mktemp("every source"))
    for source in archives.DOWNLOADED:
        archives.point_to(folder / f"src/immature_ood/datasets/{source}.py", published.url, published.checksums)
    return folder


@pytest.mark.parametrize("image", [{"channels": 1, "side": 28}, {"channels": 3, "side": 32}], ids=["grey", "colour"])
def test_from_every_source_to_the_table(project, published, image, tmp_path):
    sizes, sets = {"train": 40, "fit": 20, "test": 20}, of_channels(image["channels"])
    datasets = {name: sizes | archives.options_of(name, tmp_path) for name in sets}
    datasets["same"] = {"source": "dial", "of": "photos", "dial": "blur", "amount": 0}
    sets.append("same")
    study = {
        "name": "sources",
        "image": image,
        "datasets": datasets,
        "id_datasets": ["photos"],
        "models": {"glow": {"blocks": 2, "steps": 1, "hidden_channels": 8}},
        "epochs": [1],
        "training": {"batch_size": 20},
        "samples": 1,
        "features": {"fit_images": 20, "test_images": 20},
    }
    (project / "study.yaml").write_text(yaml.safe_dump(study))
    results = project / "results/sources"
    targets = [f"results/sources/tables/{file}" for file in ("summary.txt", "datasets.csv")]
    targets.append("results/sources/plots/glow/dials_photos_b=1.png")
    snakemake(project, "--forceall", *targets, study="study.yaml")
    table = pd.read_csv(results / "tables/auroc.csv")
    assert {*table["ood_dataset"]} == {*sets}
    assert table["auroc"].between(0, 1).all()
    dials = pd.read_csv(results / "tables/dials.csv")
    assert (dials.query("amount == 0")["auroc"] == 0.5).all()  # the same images with the same noise
    assert {*zip(dials["dial"], dials["amount"], strict=True)} == {("contrast", 0.5), ("blur", 0)}
    described = pd.read_csv(results / "tables/datasets.csv").set_index("name")
    assert {*described.index} == {*sets}
    assert "This alone may tell them apart" in (results / "tables/summary.txt").read_text()
    for source in set(archives.DOWNLOADED) & {*sets}:
        manifest = json.loads((results / f"data/{source}/manifest.json").read_text())
        assert len(manifest["splits"]["test"]["origins"]) == 20
        for file in published.checksums[source]:
            assert (project / "data" / source / file).exists(), (source, file)
            assert f"/{source}/{file}" in published.asked


def test_the_colour_study_on_its_own_pictures(tmp_path):
    """With fewer epochs: the RGB path on real input."""
    folder = copy_project(tmp_path)
    table = "results/pocket-rgb/tables/auroc.csv"
    snakemake(folder, table, "--config", "epochs=[0,1]", study="studies/pocket-rgb.yaml")
    auroc = pd.read_csv(folder / table).query("id_dataset != ood_dataset")
    assert {*auroc["ood_dataset"]} == {"microscopy", "retina", "astronomy", "glyphs"}
    assert {*auroc["epoch"]} == {0, 1}
    bits = auroc.groupby("epoch")["bits_per_dim"].first()
    assert bits[1] < bits[0]


def test_a_folder_that_is_missing_stops_before_any_job_and_a_new_picture_makes_the_set_anew(project):
    study = yaml.safe_load((project / "studies/smoke.yaml").read_text()) | {"name": "mine"}
    sizes = {"train": 40, "fit": 20, "test": 20}
    study["datasets"] = {"mine": {"source": "folder", "path": "my photographs", **sizes}, "digits": sizes}
    study["training"]["batch_size"] = 20
    study["features"] = {"fit_images": 20, "test_images": 20}
    (project / "mine.yaml").write_text(yaml.safe_dump(study))
    target = "results/mine/data/mine/manifest.json"
    said = snakemake(project, target, study="mine.yaml", ok=False)
    assert "datasets.mine.path: there is no folder my photographs" in said
    assert "Building DAG" not in said
    archives.build_folder(project / "my photographs")
    snakemake(project, target, study="mine.yaml")
    assert jobs(project, target, study="mine.yaml") == {}
    picture = next((project / "my photographs").rglob("*.png"))
    picture.with_name("another.png").write_bytes(picture.read_bytes())
    assert jobs(project, target, study="mine.yaml") == {"make_images": 1}
