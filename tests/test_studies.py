"""The command studies: what studies there are, and how far each has come."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from immature_ood.cli import app
from immature_ood.inventory import entry_of, made_of, purpose_of, study_files
from immature_ood.study import Study

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "studies/smoke.yaml"


def listed(*arguments, code=0):
    found = CliRunner().invoke(app, ["studies", *map(str, arguments)])
    assert found.exit_code == code, found.output
    return found.stdout if code == 0 else found.stderr


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like the project, with one study, which has no results yet."""
    (tmp_path / "studies").mkdir()
    for file in ("Snakefile", "config.yaml", "studies/smoke.yaml", "studies/near-rgb-arrays.yaml"):
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(folder, *paths):
    for path in paths:
        file = folder / "results/smoke" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_every_config_of_the_project_is_a_study_or_goes_with_one():
    entries = [entry_of(path) for path in study_files(ROOT)]
    assert entries[0].path == ROOT / "config.yaml"
    assert len(entries) == 1 + len([*(ROOT / "studies").glob("*.yaml")])
    assert all(entry.study or entry.is_overlay for entry in entries)
    assert all(len(entry.purpose) > 20 for entry in entries)


def test_the_studies_of_a_checkout_are_listed_the_default_first(checkout):
    blocks = listed().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "pocket  config.yaml",
        "near-rgb-arrays  studies/near-rgb-arrays.yaml",
        "smoke  studies/smoke.yaml",
    ]
    assert "3 sets (digits, photos, glyphs); 1 model (glow); 6 pairs; seed 0; epochs to 16; nothing" in blocks[0]
    assert "no study by itself" in blocks[1]
    assert "2 sets (digits, glyphs); 1 model (glow); 2 pairs; seed 0; epochs to 3; nothing made yet" in blocks[2]


def test_what_is_made_is_counted(checkout):
    make(checkout, "data/digits/manifest.json", "checkpoints/digits/glow/seed=0/epoch=1/weights.safetensors")
    assert "made: 1 of 2 data sets, 1 of 6 checkpoints, 0 of 6 features, 0 of 6 scores; no report" in listed()
    make(checkout, "report.html", "scores/glyphs/glow/seed=0/epoch=3/scores.safetensors")
    assert "1 of 6 scores; results/smoke/report.html" in listed("studies/smoke.yaml")


def test_checkpoints_that_a_study_shares_are_those_of_the_other(checkout):
    study = Study.parse(yaml.safe_load(SMOKE.read_text()) | {"name": "mine", "shares": "smoke"})
    make(checkout, "checkpoints/digits/glow/seed=0/epoch=1/weights.safetensors", "report.html")
    assert {each.what: each.done for each in made_of(study)} == {
        **{"data sets": 0, "checkpoints": 1, "features": 0, "scores": 0, "report": 0}
    }


def test_a_study_whose_data_are_missing_is_listed_with_what_is(checkout):
    config = yaml.safe_load(SMOKE.read_text()) | {"name": "mine"}
    config["datasets"]["mine"] = {"source": "folder", "path": "nowhere", "train": 128, "fit": 90, "test": 50}
    (checkout / "mine.yaml").write_text(yaml.safe_dump(config))
    said = listed("mine.yaml")
    assert said.startswith("mine  mine.yaml\n  3 sets")
    assert "cannot be run yet: datasets.mine.path: there is no folder nowhere" in said


def test_what_is_no_study_is_listed_with_its_fault(checkout):
    (checkout / "bad.yaml").write_text("# A slip.\nname: mine\nepoch: [0]\n")
    assert listed("bad.yaml") == "bad  bad.yaml\n  A slip.\n  not valid: datasets: is missing (and 2 more)\n"


def test_outside_a_checkout_one_line_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = listed(code=2)
    assert said == f"error: no studies here: go to a checkout of the project, such as {ROOT}, or name a study's file\n"
    assert listed("nope.yaml", code=2).startswith("error: there is no nope.yaml;")
    assert listed(".", code=2).startswith("error: . holds no .yaml file")
    assert listed(SMOKE).startswith(f"smoke  {SMOKE}\n")


@pytest.mark.parametrize(
    ("text", "said"), [("# One. Two,\n# three.\nname: x\n# more\n", "One. Two, three."), ("name: x\n", ""), ("", "")]
)
def test_what_a_study_is_for_is_the_comment_that_it_begins_with(tmp_path, text, said):
    (tmp_path / "study.yaml").write_text(text)
    assert purpose_of(tmp_path / "study.yaml") == said
