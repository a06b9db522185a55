"""The real workflow, run as a person runs it: on a copy of the project in a folder whose name has spaces."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml

from immature_ood.checkpoints import load_model
from immature_ood.features import load_features
from immature_ood.maturity import MOMENTS
from immature_ood.scores import load_scores

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "studies", "workflow", "src", "profiles", "envs", "reference")
EMBEDDED = re.compile(r"data:(\w+)/[^,]*;base64,([\w+/=]*)")
COLUMNS = [
    *("id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "detector"),
    *("auroc", "auroc_low", "auroc_high", "aupr", "aupr_low", "aupr_high", "fpr95", "fpr95_low", "fpr95_high"),
    *("bits_per_dim", "excess_bits_per_dim", "maturity", "dead_layers", "images_seen", "train_seconds"),
]


def copy_project(folder):
    folder.mkdir(exist_ok=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


def command(*arguments, study="studies/smoke.yaml"):
    return [sys.executable, "-m", "snakemake", "--configfile", study, "--cores", "2", *map(str, arguments)]


def snakemake(folder, *arguments, ok=True, **options):
    """What Snakemake says, run in the folder."""
    done = subprocess.run(command(*arguments, **options), cwd=folder, capture_output=True, text=True, timeout=1200)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, said
    return said


def planned(folder, *arguments, **options):
    """Number of jobs a rule that a dry run plans."""
    said = snakemake(folder, "--quiet", "host", "--dry-run", *arguments, **options)
    if "Nothing to be done" in said:
        return {}
    assert "Job stats:" in said, said
    table = said.split("Job stats:")[1].split("total")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)} | {"all": 0}


def jobs(folder, *arguments, **options):
    """As planned(), without the rules that only collect."""
    plan = planned(folder, *arguments, **options)
    return {rule: count for rule, count in plan.items() if count and rule not in ("all", "scores")}


@pytest.fixture
def edited(project):
    """edited(path, old, new): replaces text in a file of the project until the test ends."""
    before = {}

    def edit(path, old, new):
        file = project / path
        text = before.setdefault(file, file.read_text())
        assert old in text
        file.write_text(text.replace(old, new, 1))

    yield edit
    for file, text in before.items():
        file.write_text(text)


def test_the_tables_are_whole_and_there_is_nothing_left_to_do(project):
    assert jobs(project) == {}
    table = pd.read_csv(project / "results/smoke/tables/auroc.csv")
    assert [*table.columns] == COLUMNS
    pairs, epochs, batch_sizes, detectors = 2 * 2, 3, 2, 3  # two ID sets, each with one OOD set and a calibration row
    assert len(table) == pairs * epochs * batch_sizes * detectors
    assert table[["auroc", "aupr", "fpr95"]].stack().between(0, 1).all()
    given = table[table["auroc_low"].notna()]  # where there are units enough
    assert {*given["batch_size"]} >= {1}
    assert given["auroc"].between(given["auroc_low"], given["auroc_high"]).all()
    assert {*table["images_seen"]} == {0, 128, 384}
    assert {*table["maturity"]} == {"untrained", "still falling"}
    claim = pd.read_csv(project / "results/smoke/tables/claim.csv")
    assert {"untrained", "one pass"} <= {*claim["moment"]} <= {*MOMENTS}
    assert {*claim["still_falling"]} == {2}
    assert {*pd.read_csv(project / "results/smoke/tables/immature.csv")["reference_maturity"]} == {"still falling"}
    summary = (project / "results/smoke/tables/summary.txt").read_text()
    assert "2 of 2 trainings did not reach the minimum of their held-out bits/dim" in summary
    assert "The claim: AUROC at a moment of training" in summary


def promised():
    """What results/README.md names: {path as it stands there: a pattern of the files}."""
    found = {}
    for row in re.findall(r"^\| (`.*?`) \|", (ROOT / "results/README.md").read_text(encoding="utf-8"), re.MULTILINE):
        path = ""
        for name in re.findall(r"`(.*?)`", row):
            suffix = re.fullmatch(r"\.\w{2,4}", name) and path  # of the path before it
            path = str(Path(path).with_suffix(name)) if suffix else name
            pattern = re.sub(r"<\w+>", "[^/]+", re.escape(path))
            found[path] = re.compile(pattern + (".*" if path.endswith("/") else ""))
    return found


def test_the_page_on_results_names_all_that_a_run_makes(project):
    folder = project / "results/smoke"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    patterns = promised()
    named = {path: {file for file in files if pattern.fullmatch(file)} for path, pattern in patterns.items()}
    assert not files - set().union(*named.values())
    of_others = re.compile(
        r"snakemake-report\.html|jobs\.json|plots/models.*|tables/(audit|samples).*|.*epoch_choice.*|.*stand_in.*|choices.*"
        r"|.*/(calibration|false_alarms|drift|dials)[._].*"
    )  # of others
    assert [path for path, found in named.items() if not found and not of_others.fullmatch(path)] == []


def test_a_finished_study_scores_its_own_test_images_as_it_did(project):
    asked = ["--id", "digits", "--epoch", "3", "--detector", "likelihood", "results/smoke/data/digits/test.npy"]
    score = [sys.executable, "-m", "immature_ood", "score", "--study", "results/smoke", *asked]
    done = subprocess.run(score, cwd=project, capture_output=True, text=True, check=True)
    assert "ID digits, model glow, seed 0, epoch 3, detector likelihood" in done.stderr
    scores = load_scores(project / "results/smoke/scores/digits/glow/seed=0/epoch=3/scores.safetensors")
    table = pd.read_csv(StringIO(done.stdout))
    np.testing.assert_allclose(table["score"], scores.of("likelihood", 1, "digits"), rtol=1e-5)


def test_without_snakemake_the_same_files_are_made_from_a_list_of_jobs(project, tmp_path):
    elsewhere = copy_project(tmp_path / "elsewhere")
    shutil.copytree(project / "results/smoke/data", elsewhere / "results/smoke/data")
    snakemake(elsewhere, "jobs")

    def run(*arguments):
        """The exit status and what is said."""
        command = [sys.executable, "-m", "immature_ood.run", "results/smoke/jobs.json", *arguments]
        environment = os.environ | {"PYTHONPATH": str(elsewhere / "src")}
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout + done.stderr

    code, said = run("--minutes", "1e-6")
    assert code == 75
    assert "12 jobs, of which 0 are done" in said
    assert "run the same again" in said
    code, said = run("--id", "glyph")
    assert code == 1
    assert said.strip() == "error: --id glyph: there is none in the list; did you mean 'glyphs'?"
    code, said = run("--id", "digits", "--until", "1")
    assert code == 0
    assert "4 jobs, of which 0 are done" in said
    code, said = run()
    assert code == 0
    assert "12 jobs, of which 4 are done" in said
    for pattern in (
        "checkpoints/*/*/*/*/weights.safetensors",
        "checkpoints/*/*/*/*/held_out.npy",
        "features/**/*.safetensors",
    ):
        theirs = sorted((project / "results/smoke").glob(pattern))
        assert theirs
        for file in theirs:
            assert (elsewhere / file.relative_to(project)).read_bytes() == file.read_bytes()
    assert not {"train", "extract"} & {*jobs(elsewhere)}
    listed = run("--list")[1].split()
    assert {"results/smoke/jobs.json", "results/smoke/data/glyphs/test.npy"} <= {*listed}
    assert all((elsewhere / file).is_file() for file in listed)
    text = (elsewhere / "results/smoke/jobs.json").read_text()
    (elsewhere / "results/smoke/jobs.json").write_text(text.replace('"learning_rate": 0.001', '"learning_rate": 0.002'))
    code, said = run()
    assert code == 1
    assert "training.learning_rate is 0.001, but 0.002 in this study" in said
    code_of_training = elsewhere / "src/immature_ood/training.py"
    code_of_training.write_text(code_of_training.read_text().replace("MONITORED = 1000", "MONITORED = 900"))
    assert run() == (1, "error: the code here is not that of the list: training; bring both again\n")


@pytest.mark.slow
def test_without_snakemake_all_features_of_a_study_are_made(tmp_path):
    """Those of changed images are of their sets in whatever order these are named: a list of jobs is JSON, whose keys
    are sorted, and the files of a rule are in the study's order.
    """
    elsewhere = copy_project(tmp_path / "elsewhere")
    dials = "turned: {source: dial, of: digits, dial: rotation, amount: 1}"
    dials += ", blurred: {source: dial, of: digits, dial: blur, amount: 0.5}"
    option = [
        *("--config", f"datasets={{{dials}}}", "id_datasets=[digits, glyphs]", "epochs=[1]"),
        *("detectors=[likelihood, trained_elsewhere]", "evaluation={calibration_images: 40}"),
        "epoch_rules=[stand_ins, always]",
    ]
    snakemake(elsewhere, "jobs", *option)
    without = [sys.executable, "-m", "immature_ood.run", "results/smoke/jobs.json"]
    environment = os.environ | {"PYTHONPATH": str(elsewhere / "src")}
    subprocess.run(without, cwd=elsewhere, env=environment, capture_output=True, check=True, timeout=600)
    for name in ("turned", "blurred"):
        file = elsewhere / f"results/smoke/features/digits/glow/seed=0/epoch=1/test-{name}.safetensors"
        assert {each.dataset for each in load_features(file)[1].values()} == {name}
    plan = jobs(elsewhere, "tables", "results/smoke/tables/epoch_choice.csv", *option)
    assert {"fit", "score", "false_alarms", "choose_epochs"} <= {*plan}
    assert not [rule for rule in plan if rule == "train" or rule.startswith("extract")]


def test_one_table_alone_runs_one_job(project):
    before = (project / "results/smoke/tables/auroc_digits.csv").read_bytes()
    said = snakemake(project, "--force", "results/smoke/tables/auroc_digits.csv")
    assert "1 of 1 steps (100%) done" in said
    assert (project / "results/smoke/tables/auroc_digits.csv").read_bytes() == before


def test_one_table_from_nothing_needs_one_id_dataset_only(project, tmp_path):
    table = "results/smoke/tables/auroc_digits.csv"
    plan = jobs(project, "--directory", tmp_path, table)
    assert plan == {"make_images": 2, "train": 3, "extract": 3, "fit": 3, "score": 3, "training_log": 1, "evaluate": 1}


def test_an_epoch_costs_the_epochs_up_to_it(project, tmp_path):
    weights = "results/smoke/checkpoints/digits/glow/seed=0/epoch=1/weights.safetensors"
    assert jobs(project, "--directory", tmp_path, weights) == {"make_images": 1, "train": 2}


def test_a_later_epoch_retrains_nothing_before_it(project):
    plan = jobs(project, "--config", "epochs=[0,1,3,5]")
    assert {rule: plan[rule] for rule in ("train", "extract", "fit", "score")} == dict.fromkeys(
        ("train", "extract", "fit", "score"), 2
    )


@pytest.mark.parametrize(
    ("option", "first", "untouched"),
    [
        ("evaluation={'confidence': 0.9}", "evaluate", {"train", "extract", "fit", "score"}),
        ("detectors=[likelihood]", "fit", {"train", "extract", "make_images"}),
        ("training={'batch_size': 16}", "train", {"make_images"}),
    ],
)
def test_an_option_reruns_what_depends_on_it(project, option, first, untouched):
    plan = jobs(project, "--config", option)
    assert first in plan
    assert not untouched & plan.keys()


@pytest.mark.parametrize(
    ("option", "remade"),
    [
        ("features={fit_images: 25}", {"extract", "fit", "score"}),
        ("samples=5", {"draw_samples", "plot_samples"}),
        ("device=cpu", set()),
        ("epochs=[0,3]", set()),  # an inner epoch is dropped
        ("epochs_per_job=2", set()),
    ],
)
def test_what_no_weight_follows_from_trains_nothing(project, option, remade):
    plan = jobs(project, "--config", option)
    assert remade <= plan.keys()
    assert not {"train", "make_images"} & plan.keys()


def test_a_model_of_another_set_is_asked_about_fit_images_alone(project):
    plan = jobs(project, "--config", "detectors=[trained_elsewhere]")
    assert plan["extract_elsewhere"] == plan["fit"] == 6
    assert not {"train", "extract"} & plan.keys()


def test_another_number_of_threads_makes_other_weights_and_is_seen(project):
    plan = jobs(project, "--config", "threads=2")
    assert (plan["train"], plan["extract"]) == (6, 6)


def test_a_docstring_in_the_glow_reruns_nothing(project, edited):
    edited("src/immature_ood/models/_glow.py", "Glow (Kingma & Dhariwal 2018", "The Glow (Kingma & Dhariwal 2018")
    edited("src/immature_ood/models/_glow.py", "\n\ndef squeeze(", "\n\n# a comment\ndef squeeze(")
    assert jobs(project) == {}


def test_an_edit_of_the_glow_retrains(project, edited):
    edited("src/immature_ood/models/_glow.py", "std=0.05", "std=0.04")
    assert jobs(project)["train"] == 6


def test_an_edit_of_the_plots_reruns_only_plots_and_the_report(project, edited):
    edited("src/immature_ood/plots/style.py", "\n\n\n", "\n\nEDITED = 1\n\n\n")
    plan = jobs(project)
    assert plan
    assert all(rule.startswith("plot_") or rule == "report" for rule in plan)


def test_an_edit_of_a_detector_rescores_and_extracts_nothing(project, edited):
    edited("src/immature_ood/detectors/typicality.py", "\n\n\n", "\n\nEDITED = 1\n\n\n")
    plan = jobs(project)
    assert plan["fit"] == plan["score"] == 6
    assert not plan.keys() & {"make_images", "train", "extract"}


WATCHED = """
import sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

schedule = JobScheduler.schedule

def watched(self):
    print("limit:", self.job_rate_limiter and self.job_rate_limiter.max_jobs, flush=True)
    return schedule(self)

JobScheduler.schedule = watched
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("given", "limit"), [([], None), (["--max-jobs-per-timespan", "7/1s"], 7)])
def test_the_scheduler_is_woken_for_a_limit_of_jobs_only_if_a_person_set_one(project, given, limit):
    table = "results/smoke/tables/auroc_digits.csv"
    arguments = ["--configfile", "studies/smoke.yaml", "--cores", "1", "--force", table, *given]
    watched = [sys.executable, "-c", WATCHED, *arguments]
    done = subprocess.run(watched, cwd=project, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert f"limit: {limit}" in done.stdout


def test_a_bad_config_stops_before_any_job_naming_key_and_nearest_name(project):
    said = snakemake(project, "--config", "detectors=[likelyhood]", ok=False)
    assert "detectors.likelyhood.detector: unknown name 'likelyhood'; did you mean 'likelihood'?" in said
    assert "Traceback" not in said
    assert "Building DAG" not in said


def test_a_results_folder_that_is_none_stops_before_any_job(project, tmp_path):
    (tmp_path / "results").write_text("")
    said = snakemake(project, "--directory", tmp_path, ok=False)
    assert f"cannot write results/smoke: {tmp_path}/results is not a folder" in said
    assert "Building DAG" not in said


def test_without_sbatch_the_slurm_profile_stops_before_any_job(project, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "sh", "which"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    said = snakemake(project, "--profile", "profiles/slurm", "--directory", tmp_path / "new", ok=False)
    assert "there is no sbatch here, which --profile slurm needs" in said
    assert "Traceback" not in said
    assert not [*(tmp_path / "new").glob("results/*/*")]


def test_a_truncated_file_is_named_and_remade(project):
    features = project / "results/smoke/features/digits/glow/seed=0/epoch=3/fit.safetensors"
    table = "results/smoke/tables/auroc_digits.csv"
    whole, before = features.read_bytes(), (project / table).read_bytes()
    features.write_bytes(whole[: len(whole) // 2])
    said = snakemake(project, table, ok=False)
    assert f"{features.relative_to(project)}: cannot be read as safetensors" in said
    assert "delete it and rerun" in said
    features.unlink()
    snakemake(project, features.relative_to(project), table)
    assert features.read_bytes() == whole
    snakemake(project)
    assert (project / table).read_bytes() == before


@pytest.mark.slow
def test_rules_choose_epochs_by_id_data_alone(project):
    rules = "[always, at_random, bits_per_dim_slope, lowest_bits_per_dim, norms_stability, calibration, stand_ins]"
    chosen, plot = "results/smoke/tables/epoch_choice.csv", "results/smoke/plots/glow/epoch_choice.png"
    option = ("--config", f"epoch_rules={rules}", "--", chosen, plot)
    plan = jobs(project, *option)
    assert plan == {
        "make_stand_ins": 2,
        "extract_stand_ins": 6,
        "choose_epochs": 2,
        "epoch_choice": 1,
        "plot_epoch_choice": 1,
    }
    snakemake(project, *option)
    assert jobs(project, *option) == {}
    table = pd.read_csv(project / chosen)
    assert len(table) == 7 * 2 * 3  # rules, batch sizes, detectors
    assert {*table.query("rule == 'at_random'")["epochs"]} == {"0/1/3"}
    assert {*table.query("rule == 'lowest_bits_per_dim'")["epochs"]} == {"3"}
    assert table["regret"].between(-1, 1).all()
    places = json.loads((project / "results/smoke/stand_ins/digits/manifest.json").read_text())["places"]
    changed = np.load(project / "results/smoke/stand_ins/digits/inversion=1.npy")
    np.testing.assert_array_equal(changed, 255 - np.load(project / "results/smoke/data/digits/fit.npy")[places])
    features = project / "results/smoke/features/digits/glow/seed=0/epoch=3/stand_in-inversion=1.safetensors"
    assert load_features(features)[1][1].images.size == len(places)
    other = ("--config", "epoch_rules={stand_ins: {dials: {blur: 0.5}}}", "--", chosen)
    assert jobs(project, *other).keys() == {"make_stand_ins", "extract_stand_ins", "choose_epochs", "epoch_choice"}


@pytest.mark.slow
def test_a_study_that_shares_another_trains_nothing_and_is_compared_with_it(project):
    choice = "{shares: smoke, features: {fit_images: 50, test_images: 50, chunk_images: 50, objective: sum_z}}"
    variant = yaml.safe_load((project / "studies/smoke.yaml").read_text()) | yaml.safe_load(choice)
    (project / "studies/variant.yaml").write_text(yaml.safe_dump(variant | {"name": "smoke-sum_z"}))
    audit = ["--config", "audits=[studies/variant.yaml]", "--", "results/smoke/tables/audit.csv"]
    said = snakemake(project, *audit, ok=False)
    assert "is not there; run first: snakemake scores --configfile studies/variant.yaml" in said
    assert not {"train", "make_images"} & jobs(project, "scores", study="studies/variant.yaml").keys()
    snakemake(project, "scores", study="studies/variant.yaml")
    snakemake(project, *audit)
    table = pd.read_csv(project / "results/smoke/tables/audit.csv")
    assert {*table["choice"]} == {"sum_z"}
    likelihood = table[table["detector"] == "likelihood"]
    assert (likelihood["difference"] == 0).all()  # it does not depend on what is differentiated
    assert (table["difference"] != 0).any()
    assert "sum_z" in (project / "results/smoke/tables/audit_summary.txt").read_text()
    edited = yaml.safe_load((project / "studies/variant.yaml").read_text()) | {"fit_set": "test"}
    (project / "studies/variant.yaml").write_text(yaml.safe_dump(edited))
    said = snakemake(project, *audit, ok=False)
    assert "results/smoke-sum_z: its scores are not those of studies/variant.yaml as it is now" in said
    twice = snakemake(project, "--config", "audits=[studies/variant.yaml, studies/variant.yaml]", "--dry-run", ok=False)
    assert "audits: studies/variant.yaml and studies/variant.yaml are both called sum_z" in twice
    itself = ["--config", "audits=[studies/smoke.yaml]", "--", "results/smoke/tables/audit.csv"]
    snakemake(project, *itself)
    assert (pd.read_csv(project / "results/smoke/tables/audit.csv")["difference"] == 0).all()


@pytest.mark.slow
def test_a_model_is_trained_on_samples_of_another(project):
    samples = "{train: 128, samples_of: {dataset: digits, epoch: 1}}"
    study = yaml.safe_load((project / "studies/smoke.yaml").read_text()) | {"name": "samples"}
    study["datasets"]["more"] = yaml.safe_load(samples)
    (project / "studies/samples.yaml").write_text(yaml.safe_dump(study))
    plan = jobs(project, study="studies/samples.yaml")
    assert (plan["make_images"], plan["make_samples"], plan["train"]) == (2, 1, 9)
    snakemake(
        project, *(f"results/samples/tables/{name}.csv" for name in ("samples", "auroc")), study="studies/samples.yaml"
    )
    table = pd.read_csv(project / "results/samples/tables/samples.csv")
    assert {*zip(table["choice"], table["id_dataset"], table["ood_dataset"], strict=True)} == {
        ("more", "digits", "glyphs")
    }
    auroc = pd.read_csv(project / "results/samples/tables/auroc.csv")
    assert {*auroc.loc[auroc["id_dataset"] == "more", "ood_dataset"]} == {"more", "glyphs"}
    assert {*auroc.loc[auroc["id_dataset"] == "glyphs", "ood_dataset"]} == {"glyphs", "digits"}


def test_the_report_is_one_file(report):
    text = report.read_text(encoding="utf-8")
    assert "AUROC of ID test batches against OOD batches" in text
    assert not re.search(r'<(script|link|img)[^>]*(src|href)="http', text)


def test_the_report_says_nothing_of_the_machine(project, report):
    """Neither where the project lies nor the name of the host or of its user's folder."""
    text = report.read_text(encoding="utf-8")
    data = text[text.index('<script id="workflow-desc">') : text.index('<script id="packages">')]
    texts = [base64.b64decode(given).decode() for kind, given in EMBEDDED.findall(data) if kind == "text"]
    for content in (EMBEDDED.sub("", data), *texts):
        assert not [place for place in {str(project), str(Path.home())} - {"/"} if f"{place}/" in content]
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", content)


@pytest.mark.slow
def test_cores_do_not_change_the_weights(project, tmp_path):
    snakemake(project, "--directory", tmp_path, "--cores", "1", "checkpoints")
    made = sorted((project / "results/smoke/checkpoints").rglob("*.safetensors"))
    assert len(made) == 12
    for file in made:
        assert (tmp_path / file.relative_to(project)).read_bytes() == file.read_bytes(), file


@pytest.mark.slow
def test_forks_of_a_warm_process_make_the_same_bytes_as_pythons_of_their_own(project, tmp_path):
    snakemake(project)  # what other tests changed
    snakemake(project, "--directory", tmp_path, "--executor", "local")
    here, there = project / "results/smoke", tmp_path / "results/smoke"  # other tests leave more in the first
    made = {suffix: sorted(there.rglob(f"*.{suffix}")) for suffix in ("safetensors", "npy", "csv")}
    assert min(map(len, made.values())) > 10
    for file in (*made["safetensors"], *made["npy"], *there.glob("plots/**/scores_*.png")):
        assert file.read_bytes() == (here / file.relative_to(there)).read_bytes(), file
    measured = re.compile("seconds|memory|per_second")
    for file in made["csv"]:
        tables = [pd.read_csv(one, dtype=str) for one in (file, here / file.relative_to(there))]
        without = [table.drop(columns=[name for name in table if measured.search(name)]) for table in tables]
        pd.testing.assert_frame_equal(*without)


@pytest.mark.slow
def test_a_killed_job_goes_on_where_it_was(project, tmp_path):
    epochs = ["--config", "epochs=[0,200]"]
    weights = "results/smoke/checkpoints/digits/glow/seed=0/epoch=200/weights.safetensors"
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    killed = ["--directory", tmp_path / "killed", weights, *epochs]
    running = subprocess.Popen(
        command(*killed), cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    log = tmp_path / "killed/results/smoke/logs/train/digits/glow/seed=0/epoch=200.log"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
    kill_job(running.pid, "train.py")
    assert running.wait(60) != 0
    snakemake(project, *killed)
    rows_of_rerun = log.read_text().splitlines()
    assert len(rows_of_rerun) <= 200 - 2
    snakemake(project, "--directory", tmp_path / "whole", weights, *epochs)
    for name in ("weights.safetensors", "state.safetensors"):
        file = Path(weights).with_name(name)
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.slow
def test_snakemake_killed_with_its_job_alive(project, tmp_path):
    """A second run is refused while the job trains; a third, when it is dead, goes on where it was."""
    epochs = ["--config", "epochs=[0,200]"]
    weights = "results/smoke/checkpoints/digits/glow/seed=0/epoch=200/weights.safetensors"
    again = ["--directory", tmp_path, weights, *epochs]
    running = subprocess.Popen(command(*again), cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "results/smoke/logs/train/digits/glow/seed=0/epoch=200.log"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
    orphan = job_of(running.pid, "train.py")
    try:
        orphan.suspend()  # alive, and holding its lock, for as long as this takes
        running.kill()
        running.wait()
        said = snakemake(project, *again, ok=False)
        assert "--unlock" in said  # Snakemake's own lock, of the run that is dead
        snakemake(project, "--directory", tmp_path, "--unlock", *epochs)
        said = snakemake(project, *again, ok=False)
        assert "another process is training this run; wait for it or stop it" in said
    finally:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()
    snakemake(project, *again)
    assert len(log.read_text().splitlines()) < 200 - 2


@pytest.mark.slow
def test_two_studies_in_one_results_folder_at_once(project, tmp_path):
    """Each makes what it makes alone."""
    table = "tables/auroc_digits.csv"
    (tmp_path / "first.yaml").write_text((project / "studies/smoke.yaml").read_text().replace("smoke", "first"))
    (tmp_path / "second.yaml").write_text((project / "studies/smoke.yaml").read_text().replace("smoke", "second"))
    both = [
        subprocess.Popen(
            [*command("--directory", tmp_path, f"results/{name}/{table}", study=tmp_path / f"{name}.yaml"), "--nolock"],
            cwd=project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in ("first", "second")
    ]
    assert [one.wait(300) for one in both] == [0, 0]
    seconds = re.compile(r",[^,]*$", re.MULTILINE)  # the last column
    expected = seconds.sub("", (project / f"results/smoke/{table}").read_text())
    for name in ("first", "second"):
        assert seconds.sub("", (tmp_path / f"results/{name}/{table}").read_text()) == expected


@pytest.mark.slow
def test_scores_under_a_model_of_another_set_are_that_models(project, tmp_path):
    """Also where Snakemake's memory is gone there is nothing left to do, and another option is named."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    option = ["--config", "detectors={stranger: {detector: trained_elsewhere, of: {detector: likelihood}}}"]
    snakemake(folder, "scores", *option)
    for own, other in (("digits", "glyphs"), ("glyphs", "digits")):
        scores = load_scores(folder / f"results/smoke/scores/{own}/glow/seed=0/epoch=3/scores.safetensors")
        features = folder / f"results/smoke/features/{other}/glow/seed=0/epoch=3"
        for split, name in ((f"test-{own}", own), (f"test-{other}", other), (f"fit-{own}", own)):
            seen = load_features(features / f"{split}.safetensors")[1][5]
            assert (seen.dataset, seen.split) == (name, split.split("-")[0])
            np.testing.assert_array_equal(scores.of("stranger", 5, name, seen.split), -seen.log_prob)
        images = np.load(folder / f"results/smoke/data/{own}/fit.npy")[:50]
        model, _ = load_model(folder / f"results/smoke/checkpoints/{other}/glow/seed=0/epoch=3/weights.safetensors")
        pixels = (torch.from_numpy(images).double() + 0.5) / 256 - 0.5  # in the middle of the noise
        with torch.no_grad():
            expected = model.double().log_prob(pixels).numpy()
        fit = load_features(features / f"fit-{own}.safetensors")[1][1].log_prob
        assert np.corrcoef(fit, expected)[0, 1] > 0.95
    shutil.rmtree(folder / ".snakemake")
    assert jobs(folder, "scores", *option) == {"fit": 6, "score": 6}
    said = snakemake(folder, "scores", "--dry-run", *option, "features={noise: fresh}", ok=False)
    assert "features.noise is 'fixed', but 'fresh' in this study" in said
    assert "(11 more files)" in said


@pytest.mark.slow
def test_calibration_images_are_further_images_of_the_fit_set_and_make_nothing_else_anew(project, tmp_path):
    """Also where Snakemake's memory is gone; another number of them makes them anew."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    evaluation = "evaluation={calibration_images: 40, drift: {letters: {of: digits, through: [glyphs]}}}"
    option = ["--config", evaluation, "id_datasets=[digits]", "epochs=[3]"]
    targets = [f"results/smoke/{path}" for path in ("tables/false_alarms.csv", "tables/drift.csv")]
    targets.append("results/smoke/plots/glow/false_alarms.png")
    targets.append("results/smoke/plots/glow/drift_b=1.png")  # its rule draws those of all b
    made = {"extract_calibration": 1, "score_calibration": 1, "false_alarms": 1, "drift": 1}
    made |= {"plot_false_alarms": 1, "plot_drift": 1}
    made |= {"training_log": 1}  # of one epoch
    assert jobs(folder, *targets, *option) == made
    snakemake(folder, *targets, *option)
    place = "digits/glow/seed=0/epoch=3"
    features = load_features(folder / f"results/smoke/features/{place}/calibration.safetensors")[1][5]
    assert (features.dataset, features.split, *features.images.shape) == ("digits", "calibration", 8, 5)
    images = np.load(folder / "results/smoke/data/digits/fit.npy")[50:90]
    model, _ = load_model(folder / f"results/smoke/checkpoints/{place}/weights.safetensors")
    pixels = (torch.from_numpy(images).double() + 0.5) / 256 - 0.5  # in the middle of the noise
    with torch.no_grad():
        of_images = model.double().log_prob(pixels).numpy()
    assert np.corrcoef(features.log_prob, of_images[features.images].mean(axis=1))[0, 1] > 0.95
    own = load_scores(folder / f"results/smoke/scores/{place}/calibration.safetensors")
    np.testing.assert_array_equal(own.of("likelihood", 5, "digits", "calibration"), -features.log_prob)
    tested = load_scores(folder / f"results/smoke/scores/{place}/scores.safetensors")
    table = pd.read_csv(folder / targets[0])
    row = table.query("detector == 'likelihood' and batch_size == 1 and level == 0.05 and ood_dataset == 'glyphs'")
    second = np.sort(own.of("likelihood", 1, "digits", "calibration"))[-2]  # of 40; p ≤ 0.05 is to exceed it
    units, alarms = tested.units_of(1, "glyphs"), tested.of("likelihood", 1, "glyphs") > second
    expected = np.mean([alarms[units == unit].mean() for unit in {*units.tolist()}])
    assert row["alarms"].item() == pytest.approx(expected, abs=1e-5)
    assert "p ≤ 0.01 is out of reach of 40" in (folder / "results/smoke/tables/false_alarms.txt").read_text()
    drift = pd.read_csv(folder / targets[1])
    assert {*zip(drift["stage"], drift["dataset"], strict=True)} == {(0, "digits"), (1, "glyphs")}
    assert drift["refit"].between(0, 1).all()
    shutil.rmtree(folder / ".snakemake")
    assert not {"train", "extract", "extract_calibration"} & jobs(folder, *targets, *option).keys()
    fewer = [*option[:1], "evaluation={calibration_images: 30}", *option[2:]]
    targets = [path for path in targets if "drift" not in path]
    said = snakemake(folder, *targets, "--dry-run", *fewer, ok=False)
    assert "calibration_images is 40, but 30 in this study" in said


@pytest.mark.slow
def test_results_that_were_moved_are_as_good(project, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(project, moved, ignore=shutil.ignore_patterns(".snakemake"))
    table = moved / "results/smoke/tables/auroc_digits.csv"
    before = table.read_bytes()
    assert "train" not in jobs(moved, "--rerun-triggers", "mtime")
    snakemake(moved, "--rerun-triggers", "mtime", "--force", "results/smoke/tables/auroc_digits.csv")
    assert table.read_bytes() == before


@pytest.mark.slow
def test_without_snakemakes_memory_a_changed_study_is_refused_by_name(tmp_path):
    """Also of images drawn from a model. An unchanged one has nothing to do; a dry run decides nothing."""
    folder = copy_project(tmp_path / "project")
    features = "results/smoke/features/digits/glow/seed=0/epoch=0/fit.safetensors"
    weights = "results/smoke/checkpoints/digits/glow/seed=0/epoch=0/weights.safetensors"
    images = "results/smoke/data/more/manifest.json"
    drawn = "datasets={more: {train: 64, samples_of: {dataset: digits, epoch: 0%s}}}"
    same = ["--config", drawn % ""]
    changed = ["--config", drawn % ", temperature: 0.8", "training={learning_rate: 0.05, batch_size: 32}"]
    snakemake(folder, features, images, *same)
    shutil.rmtree(folder / ".snakemake")
    for _ in range(2):
        said = snakemake(folder, "--dry-run", features, *changed, ok=False)
        assert f"{weights}: training.learning_rate is 0.001, but 0.05 in this study" in said
        assert f"{images}: samples.temperature is 1.0, but 0.8 in this study" in said
        assert "delete results/smoke/checkpoints" in said
        assert "delete results/smoke/data/more" in said
        assert jobs(folder, features, images, *same) == {}


@pytest.mark.slow
def test_without_a_home_and_with_a_read_only_cache(project, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment |= {"XDG_CACHE_HOME": str(cache), "MPLCONFIGDIR": str(cache)}
    target = "results/smoke/plots/datasets.png"
    done = subprocess.run(
        command("--directory", tmp_path, target), cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / target).exists()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def job_of(snakemake_pid, script):
    """The process that runs the script of a rule."""
    for child in psutil.Process(snakemake_pid).children(recursive=True):
        if child.name() == script or any(part.endswith(script) for part in child.cmdline()):  # of a fork, its name
            return child
    raise AssertionError(f"nothing runs {script}")


def kill_job(snakemake_pid, script):
    """Kills a job, as an out-of-memory killer would."""
    os.kill(job_of(snakemake_pid, script).pid, signal.SIGKILL)
