"""One study of all kinds of density model: the same detectors on all, their own on those that give what these read.

One of the models is another library's, in a file outside the package.
"""

import pandas as pd
import pytest
import yaml
from test_workflow import ROOT, copy_project, jobs, snakemake

from immature_ood import registry
from immature_ood.study import Study

SPLITS = {"train": 64, "fit": 40, "test": 40}
THEIRS = {
    "architecture": str(ROOT / "tests/plugins/zuko_flow.py"),
    "transforms": 1,
    "training": {"batch_size": 16, "learning_rate": 0.01},
}
OF_ONE_MODEL = {"likelihood_regret", "denoising_error", "diffusion_path", "path_energy"}


def of_images():
    """The models of images by name, each of the size of the first of its examples."""
    for name in registry.names("models"):
        if "images" in getattr(registry.load("models", name), "KINDS", ("images",)):
            config, _ = next(registry.config_class("models", name).examples())
            yield name, config.model_dump(exclude={"training", "mutation_rate"})


STUDY = {
    "name": "every_model",
    "image": {"side": 8},
    "datasets": {"digits": SPLITS, "glyphs": {**SPLITS, "train": 0, "fit": 0}},
    "id_datasets": ["digits"],
    "models": {**dict(of_images()), "spline": THEIRS},
    "epochs": [0, 1],
    "training": {"batch_size": 32, "learning_rate": 0.002},
    "samples": 2,
    "features": {"fit_images": 40, "test_images": 40},
    "detectors": ["gradient_norms", "likelihood", *sorted(OF_ONE_MODEL)],
}


def targets():
    """What looks at models one by one."""
    study, results = Study.parse(STUDY), f"results/{STUDY['name']}"
    yield from (f"{results}/tables/{name}" for name in ("auroc.csv", "detectors.csv", "claim.csv", "summary.txt"))
    yield f"{results}/plots/models_by_excess.png"
    for model in study.models:
        yield f"{results}/plots/{model}/samples_digits.png"
        yield from (f"{results}/plots/{model}/scores_digits_{name}_b=1.png" for name in study.detectors_of(model))


@pytest.mark.slow
def test_one_study_has_all_models(tmp_path):
    folder = copy_project(tmp_path)
    (folder / "models.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    snakemake(folder, *targets(), study="models.yaml")
    results = folder / "results" / STUDY["name"]
    table = pd.read_csv(results / "tables/auroc.csv")
    study = Study.parse(STUDY)
    rows = {model: {*of_one["detector"]} for model, of_one in table.groupby("model")}
    assert rows == {model: {*study.detectors_of(model)} for model in study.models}
    assert all({"gradient_norms", "likelihood"} <= detectors for detectors in rows.values())
    assert {*map(frozenset, rows.values())} > {frozenset({"gradient_norms", "likelihood"})}
    assert table["auroc"].between(0, 1).all()
    assert table["bits_per_dim"].between(0.5, 30).all()
    bits = table.query("model == 'spline'").groupby("epoch")["bits_per_dim"].first()
    assert bits[1] < bits[0]
    for model, detectors in rows.items():
        for figure in ("samples_digits", *(f"scores_digits_{detector}_b=1" for detector in detectors)):
            assert (results / f"plots/{model}/{figure}.png").stat().st_size > 5000
    assert jobs(folder, *targets(), study="models.yaml") == {}
