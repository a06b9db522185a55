"""The command immature-ood: a folder of images in, a detector file and rows of scores out."""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import betabinom, binomtest
from sklearn.metrics import roc_auc_score
from test_estimator import TINY, rough, smooth
from typer.testing import CliRunner

from immature_ood import fitting
from immature_ood.cli import app
from immature_ood.cli.pictures import Picture, pictures_of
from immature_ood.cli.score import Drift, Group, Job
from immature_ood.cli.writing import Format, writer
from immature_ood.detector_file import load
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.plots import sheet
from immature_ood.plots.sheet import Extremes, Tile, montage, printable
from immature_ood.training import TrainingInterrupted

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COLUMNS = ["path", "score", "p_value", "verdict", "error"]


def written(folder, images, suffix=".png", **options):
    """Images (N, C, H, W) as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{number:04}{suffix}", **options)
    return folder


def ran(*arguments, code=0):
    found = CliRunner().invoke(app, [*map(str, arguments)])
    assert found.exit_code == code, (found.output, found.exception)
    return found


def rows_of(*arguments, code=0):
    return [*csv.DictReader(io.StringIO(ran("score", *arguments, code=code).stdout))]


@pytest.fixture(scope="module", autouse=True)
def tiny_models():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "model_for", lambda shape: TINY)
        yield


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    written(folder / "known", smooth(240))
    written(folder / "new" / "alike", smooth(12, seed=2))
    written(folder / "new" / "odd", rough(7))
    return folder


@pytest.fixture(scope="module")
def detector(places):
    path = places / "mine.iood"
    ran("fit", places / "known", "--out", path, "--epochs", 1)
    return path


def test_a_folder_is_fitted_and_another_scored(places, detector):
    rows = rows_of(detector, places / "new")
    assert [*rows[0]] == COLUMNS
    assert [row["path"] for row in rows] == sorted(map(str, (places / "new").rglob("*.png")))
    verdicts = {place: [row["verdict"] for row in rows if f"/{place}/" in row["path"]] for place in ("alike", "odd")}
    assert verdicts["odd"] == ["odd"] * 7
    assert verdicts["alike"].count("odd") <= 3


def test_rows_are_those_of_the_detector_on_the_pixels(places, detector):
    loaded, rows = load(detector), rows_of(detector, places / "new" / "odd", "--false-alarms", 0.1)
    scores = loaded.score(rough(7))
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores, rtol=1e-6)
    np.testing.assert_allclose([float(row["p_value"]) for row in rows], loaded.p_values(scores), rtol=1e-12)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_formats_hold_the_same(places, detector, tmp_path, suffix):
    out = tmp_path / f"scores{suffix}"
    found = ran("score", detector, places / "new", "--out", out)
    assert found.stdout == ""
    read = {".csv": pd.read_csv, ".jsonl": lambda file: pd.read_json(file, lines=True), ".parquet": pd.read_parquet}
    table = read[suffix](out)
    assert [*table] == COLUMNS
    expected = rows_of(detector, places / "new")
    assert table["path"].tolist() == [row["path"] for row in expected]
    np.testing.assert_allclose(table["score"], [float(row["score"]) for row in expected], rtol=1e-9)


def test_infinite_scores_are_null_in_json(tmp_path):
    with writer(tmp_path / "a.jsonl", Format.JSONL, {"score": float}) as write:
        write([{"score": float("inf")}, {"score": 1.5}])
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"score": None},
        {"score": 1.5},
    ]


def test_the_same_images_give_the_same_bytes(places, detector, tmp_path):
    ran("fit", places / "known", "--out", tmp_path / "again.iood", "--epochs", 1)
    assert (tmp_path / "again.iood").read_bytes() == detector.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["again.iood"]


def test_a_training_that_was_interrupted_goes_on_by_resume(places, tmp_path, monkeypatch):
    from immature_ood import training

    fit = ["fit", places / "known", "--epochs", 2, "--out"]
    ran(*fit, tmp_path / "whole.iood")
    steps = iter(range(100))
    real = training._step

    def interrupted(*arguments, **options):
        if next(steps) == 5:
            raise TrainingInterrupted("SIGINT in epoch 2, 2 of 3 steps done; run again to go on there")
        return real(*arguments, **options)

    monkeypatch.setattr(training, "_step", interrupted)
    stopped = ran(*fit, tmp_path / "mine.iood", code=130)
    assert "SIGINT in epoch 2, 2 of 3 steps done; go on by the same command with --resume" in stopped.stderr
    assert not (tmp_path / "mine.iood").exists()
    assert (
        "holds a training that was interrupted; go on by --resume" in ran(*fit, tmp_path / "mine.iood", code=2).stderr
    )
    ran(*fit, tmp_path / "mine.iood", "--resume")
    assert (tmp_path / "mine.iood").read_bytes() == (tmp_path / "whole.iood").read_bytes()
    assert not (tmp_path / "mine.iood.work").exists()


def test_info_says_what_the_detector_is(places, detector):
    said = ran("info", detector).stdout
    for part in ("8×8, grey", "120 train, 48 fit, 48 calibration, 24 check", "240 PNG", "at 5%", "held-out bits/dim"):
        assert part in said
    assert max(map(len, said.splitlines())) <= 140
    card = json.loads(ran("info", detector, "--json").stdout)
    assert card == load(detector).card
    assert card["data"]["splits"]["train"]["count"] == 120


# --- what cannot be read, and what is not alike ---


def test_pictures_that_cannot_be_read_are_rows_and_lines_and_stop_nothing(places, detector, tmp_path):
    written(tmp_path / "some", smooth(3, seed=3))
    (tmp_path / "some" / "0001.png").write_bytes(b"no picture")
    (tmp_path / "some" / "0003.png").write_bytes((tmp_path / "some" / "0000.png").read_bytes()[:60])
    found = ran("score", detector, tmp_path / "some", code=3)
    rows = [*csv.DictReader(io.StringIO(found.stdout))]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    assert [row["score"] == "" for row in rows] == [False, True, False, True]
    assert "it is none of PNG" in rows[1]["error"]
    assert found.stderr.count(str(tmp_path / "some")) == 2
    assert "2 files could not be read" in found.stderr


def test_fit_lists_what_cannot_be_read_before_any_work(places, tmp_path):
    written(tmp_path / "some", smooth(120))
    for name in ("0007.png", "0009.png"):
        (tmp_path / "some" / name).write_bytes(b"no picture")
    said = ran("fit", tmp_path / "some", "--out", tmp_path / "mine.iood", code=2).stderr
    assert "2 pictures cannot be read; mend or remove them" in said
    assert "0007.png" in said
    assert "0009.png" in said
    assert [each.name for each in tmp_path.iterdir()] == ["some"]


def test_colour_jpeg_and_other_sizes_are_scored_with_a_warning_with_numbers(detector, tmp_path):
    written(tmp_path / "large", smooth(3, (3, 20, 24)), ".jpg")
    written(tmp_path / "large" / "small", smooth(2, seed=3))
    found = ran("score", detector, tmp_path / "large")
    assert found.stdout.count("\n") == 6
    assert "3 of 5 images have other formats (3 JPEG) than in fitting (240 PNG)" in found.stderr
    assert "3 of 5 images have other modes (3 RGB) than in fitting (240 L)" in found.stderr
    assert "3 of 5 images have other sizes (20 to 20 pixels) than in fitting (8 to 8)" in found.stderr


def test_images_that_are_alike_raise_no_warning(places, detector):
    assert "warning" not in ran("score", detector, places / "new" / "alike").stderr


def test_a_batch_that_has_drifted_is_told_with_numbers(places, detector, tmp_path):
    written(tmp_path / "bright", smooth(60, seed=4) // 2 + 128)
    said = ran("score", detector, tmp_path / "bright").stderr
    assert re.search(
        r"warning: \d+ of 60 \([\d.]+%\) have p ≤ 0.05, where images that belong have 5.0%, by chance up to", said
    )
    assert "or all are unlike the images of the fit set" in said


def test_drift_is_told_of_images_that_belong_as_rarely_as_it_says():
    """Fresh calibration and test scores; with a warning by chance in 1 of 20 instead of 1 of 1,000."""
    from immature_ood import conformal
    from immature_ood.cli import score

    generator, told = np.random.default_rng(0), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "SURE", 0.05)
        for _ in range(600):
            drift = Drift([0.05, 0.5], 60)
            calibration = generator.normal(size=60)
            for _ in range(2):
                drift.add(conformal.p_values(generator.normal(size=50), calibration))
            told += any(True for _ in drift.lines())
    assert binomtest(told, 600, 0.05, alternative="greater").pvalue > 1e-3
    assert told > 5


# --- groups ---


def test_groups_are_of_one_folder_and_the_rest_is_told(places, tmp_path):
    path = tmp_path / "mine.iood"
    ran("fit", written(tmp_path / "known", smooth(600)), "--out", path, "--epochs", 0)
    rows = rows_of(path, places / "new", "--group-by", "folder", "--b", 5)
    assert [Path(row["path"]).name for row in rows] == ["alike", "alike", "odd", "alike", "odd"]
    assert rows[2]["images"] == os.pathsep.join(f"{number:04}.png" for number in range(5))
    assert rows[2]["verdict"] == "odd"
    assert [row["error"] for row in rows[3:]] == ["2 images are left, which make no group of 5"] * 2
    expected = load(path).score(rough(5), 5)
    np.testing.assert_allclose(float(rows[2]["score"]), expected, rtol=1e-6)


def test_groups_need_to_be_named_and_fitted(places, detector):
    assert "--b 5" in ran("score", detector, places / "new", "--b", 5, code=2).stderr
    said = ran("score", detector, places / "new", "--b", 7, "--group-by", "folder", code=2).stderr
    assert "fitted to groups of 1, not of 7" in said


# --- other sources ---


def test_numpy_files_are_fitted_and_scored_as_folders_are(places, detector, tmp_path):
    np.save(tmp_path / "known.npy", smooth(240)[:, 0])
    np.savez(tmp_path / "new.npz", images=rough(4).transpose(0, 2, 3, 1))
    ran("fit", tmp_path / "known.npy", "--out", tmp_path / "mine.iood", "--epochs", 0)
    rows = rows_of(tmp_path / "mine.iood", tmp_path / "new.npz")
    assert [row["path"] for row in rows] == [f"{tmp_path / 'new.npz'}#{number}" for number in range(4)]
    np.testing.assert_allclose(
        [float(row["score"]) for row in rows], load(tmp_path / "mine.iood").score(rough(4)), 1e-6
    )


def test_pictures_alone_and_data_sets_by_name_are_scored(places, detector):
    one = places / "new" / "odd" / "0003.png"
    (row,) = rows_of(detector, one)
    np.testing.assert_allclose(float(row["score"]), load(detector).score(rough(7)[3:4])[0], rtol=1e-6)
    image = ImageConfig(channels=1, side=28)
    assert next(pictures_of("glyphs", image, places)).path.endswith("size=22")


def test_names_of_any_bytes_are_written_as_they_are(detector, tmp_path):
    written(tmp_path / "odd", rough(1))
    strange = os.fsencode(tmp_path / "odd") + b"/caf\xe9,\n.png"
    os.rename(tmp_path / "odd" / "0000.png", strange)
    out = tmp_path / "scores.csv"
    ran("score", detector, tmp_path / "odd", "--out", out)
    assert b'caf\xe9,\n.png"' in out.read_bytes()
    ran("score", detector, tmp_path / "odd", "--out", tmp_path / "scores.parquet")
    ran("score", detector, tmp_path / "odd", "--out", tmp_path / "scores.jsonl")


def test_size_and_colour_are_those_of_the_pictures_unless_one_says_otherwise(tmp_path):
    from immature_ood.cli.fit import _image

    grey_in_colour = np.repeat(smooth(4, (1, 45, 61)), 3, axis=1)
    image, _ = _image(str(written(tmp_path / "grey", grey_in_colour)), None, None)
    assert image.shape == (1, 32, 32)
    image, described = _image(str(written(tmp_path / "colour", smooth(4, (3, 22, 27)))), None, None)
    assert image.shape == (3, 20, 20)
    assert described == {"formats": {"PNG": 4}, "modes": {"RGB": 4}, "sides": {"least": 22, "median": 22, "most": 22}}
    assert _image(str(tmp_path / "colour"), 48, False)[0].shape == (1, 48, 48)


# --- errors and exit codes ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["fit", "nothing", "--out", "a.iood"],
            "there is no folder or NumPy file nothing, and no data set of that name",
        ),
        (["fit", "glphys", "--out", "a.iood"], "did you mean 'glyphs'?"),
        (["fit", "empty", "--out", "a.iood"], "there is no picture in empty"),
        (["fit", "few", "--out", "a.iood"], "99 images are too few: a detector needs 100"),
        (["fit", "alike", "--out", "a.iood"], "too few"),
        (["fit", "few", "--out", "few/0000.png/a.iood"], "is not a folder"),
        (["fit", "few", "--out", "a.iood", "--size", "9"], "both sides must be even"),
        (["score", "none.iood", "few"], "there is no detector file none.iood"),
        (["score", "few/0000.png", "few"], "is no detector file, or a damaged one"),
        (["score", "mine.iood", "few", "--false-alarms", "0.001"], "are less than 48 calibration groups can tell"),
        (["score", "mine.iood", "few", "--format", "parquet"], "say where it goes by --out"),
        (["score", "mine.iood", "few", "--out", "scores.xlsx"], "say --format"),
        (["score", "mine.iood", "nothing"], "there is no folder or NumPy file nothing"),
        (["info", "few/0000.png"], "is no detector file"),
        (["explain", "mine.iood", "few/none.png"], "there is no picture few/none.png"),
        (["explain", "mine.iood", "few/0000.png", "--out", "explain.jpg"], "figures are saved as .png, .pdf, .svg"),
        (["explain", "none.iood", "few/0000.png"], "there is no detector file none.iood"),
        (["score", "mine.iood", "few", "--format", "xml"], "Invalid value"),
    ],
)
def test_errors_are_a_line_and_exit_code_two(places, detector, tmp_path, monkeypatch, arguments, said):
    monkeypatch.setattr(fitting, "model_for", MODEL_FOR)
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    written(Path("few"), smooth(99))
    written(Path("alike"), np.repeat(smooth(4), 30, axis=0))
    Path("mine.iood").symlink_to(detector)
    found = ran(*arguments, code=2)
    assert said in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
    assert {each.name for each in tmp_path.iterdir()} <= {"empty", "few", "alike", "mine.iood", "a.iood.work"}
    assert not Path("a.iood").exists()


MODEL_FOR = fitting.model_for


def test_fail_on_odd_is_an_exit_code_for_scripts(places, detector):
    ran("score", detector, places / "new" / "odd", code=0)
    ran("score", detector, places / "new" / "odd", "--fail-on-odd", code=1)


@pytest.mark.parametrize("command", [[], ["fit"], ["score"], ["explain"], ["info"]])
def test_help_is_readable_in_80_columns_with_an_example(command):
    said = ran(*command, "--help").stdout
    assert max(map(len, said.splitlines())) <= 80
    assert f"  immature-ood {' '.join(command) or 'fit'} " in said


def test_help_comes_without_torch():
    code = "import sys, immature_ood.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- memory, and all of it together ---


def test_any_number_of_images_is_scored_in_the_same_memory(detector, tmp_path, monkeypatch):
    """However many there are, no more of them are there at once than are scored at once, and one that is read."""
    from immature_ood.cli import score

    monkeypatch.setattr(score, "CHUNK", 50)
    read, most = [], 0

    def pictures():
        nonlocal most
        for number, pixels in enumerate(rough(400)):
            picture = Picture(f"{number}", pixels)
            read.append(weakref.ref(picture))
            most = max(most, sum(each() is not None for each in read))
            yield picture

    score.Job(load(detector), 0.05, 1, False).run(pictures(), 400, tmp_path / "scores.csv", Format.CSV)
    assert (tmp_path / "scores.csv").read_text().count("\n") == 401
    assert most <= 52


def test_pictures_are_read_one_after_another(places):
    images = pictures_of(str(places / "known"), ImageConfig(channels=1, side=8), Path())
    np.testing.assert_array_equal(np.stack([next(images).pixels for _ in range(5)]), smooth(240)[:5])


@pytest.mark.slow
def test_the_three_commands_of_readme_tell_digits_from_photographs_and_letters(tmp_path):
    """Digits, photographs and letters that come inside packages, as PNG files; the model of the command itself."""
    from immature_ood.datasets import digits, glyphs, photos
    from immature_ood.kinds.images import ImageDatasetConfig

    def some(source, **sizes):
        config = ImageDatasetConfig(source=source.__name__, **{"train": 0, "fit": 0, **sizes})
        return source.load(config, ImageConfig(channels=1, side=28), tmp_path)

    known = some(digits, train=600, test=400)
    written(tmp_path / "pictures", known["train"].pixels)
    written(tmp_path / "new" / "digits", known["test"].pixels)
    written(tmp_path / "new" / "photos", some(photos, test=50)["test"].pixels)
    written(tmp_path / "new" / "letters", some(glyphs, test=200)["test"].pixels)
    commands = re.findall(r"^immature-ood ([^#\n]*)", README, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["fit", "score", "info"]
    for command in commands:
        arguments = [sys.executable, "-m", "immature_ood", *command.split()]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "28×28, grey" in done.stdout
    table = pd.read_csv(tmp_path / "scores.csv").assign(odd=lambda rows: rows["verdict"] == "odd")
    of = {kind: table[table["path"].str.contains(f"/{kind}/")] for kind in ("digits", "photos", "letters")}
    assert len(of["photos"]) == of["photos"]["odd"].sum() == 50
    rank = int(121 * 0.05)
    assert of["digits"]["odd"].sum() <= betabinom(400, rank, 121 - rank).isf(1e-3)
    letters = np.r_[of["digits"]["score"], of["letters"]["score"]]
    assert roc_auc_score(np.r_[np.zeros(400), np.ones(200)], letters) > 0.55


# --- why an image has its score ---


def test_explain_draws_a_picture_and_says_its_numbers(places, detector, tmp_path):
    one = places / "new" / "odd" / "0003.png"
    found = ran("explain", detector, one, "--out", tmp_path / "explain.png")
    (row,) = rows_of(detector, one)
    assert found.stdout.startswith(f"score {float(row['score']):.4g}, p = {float(row['p_value']):.2g}: odd at 0.05")
    assert re.search(r"^blocks\.0.*\n +[+-]\d+\.\d  ", found.stdout, re.MULTILINE)
    assert "the image itself\n" in found.stdout
    assert "fit --keep-thumbnails" in found.stderr
    with Image.open(tmp_path / "explain.png", formats=["PNG"]) as picture:
        assert picture.width == 3450


def test_a_row_of_a_numpy_file_is_explained_and_kept_pictures_are_shown_and_told(places, tmp_path):
    ran("fit", places / "known", "--out", tmp_path / "mine.iood", "--epochs", 0, "--keep-thumbnails")
    assert "48 of the fit part are in this file" in ran("info", tmp_path / "mine.iood").stdout
    np.save(tmp_path / "new.npy", rough(300))
    last = ran("explain", tmp_path / "mine.iood", f"{tmp_path / 'new.npy'}#299", "--out", tmp_path / "a.png")
    np.save(tmp_path / "alone.npy", rough(300)[299:])
    alone = ran("explain", tmp_path / "mine.iood", f"{tmp_path / 'alone.npy'}#0", "--out", tmp_path / "b.png")
    assert last.stdout == alone.stdout
    assert "keep-thumbnails" not in last.stderr
    said = ran("explain", tmp_path / "mine.iood", f"{tmp_path / 'alone.npy'}#1", code=2).stderr
    assert "alone.npy has 1 images: rows 0 to 0, not 1" in said


# --- the contact sheet ---


def tiles(scores):
    return [
        Tile(np.full((1, 1, 4, 4), number % 256, np.uint8), f"{number}", score) for number, score in enumerate(scores)
    ]


def test_a_contact_sheet_holds_the_highest_and_the_lowest_of_any_number():
    extremes = Extremes(3)
    scores = np.random.default_rng(0).permutation(1000).astype(float)
    scores[7] = np.inf
    for tile in tiles(scores):
        extremes.add(tile)
    assert [tile.score for tile in extremes.most()] == [*np.sort(scores)[:-4:-1]]
    assert [tile.score for tile in extremes.least()] == [*np.sort(scores)[:3]]
    assert len(extremes.highest) + len(extremes.lowest) == 6


def test_of_few_images_each_is_shown_once_and_of_equal_scores_the_first():
    extremes = Extremes(3)
    for tile in tiles([5.0, 5.0, 5.0, 5.0]):
        extremes.add(tile)
    assert [tile.name for tile in (*extremes.most(), *extremes.least())] == ["0", "1", "2"]
    extremes.add(Tile(np.zeros((1, 1, 4, 4), np.uint8), "low", 1.0))
    assert [tile.name for tile in extremes.least()] == ["low"]


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_a_group_lie_side_by_side_as_they_are(channels):
    images = rough(5, (channels, 4, 6))
    shown = montage(images)
    assert shown.shape == ((9, 20) if channels == 1 else (9, 20, 3))
    np.testing.assert_array_equal(np.atleast_3d(shown)[5:, 7:13], images[4].transpose(1, 2, 0))
    assert (np.atleast_3d(shown)[:, 6] == 255).all()


def test_score_draws_the_sheet_from_what_it_scored(places, detector, tmp_path, monkeypatch):
    drawn = []
    real = sheet.contact_sheet
    monkeypatch.setattr(sheet, "contact_sheet", lambda *given: drawn.append(given) or real(*given))
    out = tmp_path / "sheet.png"
    found = ran("score", detector, places / "new", "--sheet", out, "--sheet-each", 8)
    rows = sorted(csv.DictReader(io.StringIO(found.stdout)), key=lambda row: -float(row["score"]))
    ((most, least, count, _),) = drawn
    assert [tile.name for tile in most] == [row["path"] for row in rows[:8]]
    assert [tile.name for tile in least] == [row["path"] for row in rows[:-9:-1]]
    assert [f"{tile.p}" for tile in most] == [row["p_value"] for row in rows[:8]]
    assert count == 19
    np.testing.assert_array_equal(np.sort([tile.pixels[0] for tile in most][:7], 0), np.sort(rough(7), 0))
    with Image.open(out, formats=["PNG"]) as picture:
        assert picture.width > 1500


def test_a_sheet_of_groups_shows_each_group_whole(places, detector, tmp_path):
    loaded = load(detector)
    job = Job(
        replace(loaded, detectors={5: loaded.detectors[1]}, calibration={5: loaded.calibration[1]}), 0.05, 5, True
    )
    job.sheet = sheet.Sheet(tmp_path / "sheet.png", 2, 0.05)
    group = Group("new/odd", [*rough(5)], images=os.pathsep.join(["a.png", "b.png"]))
    job._scored(group, 3.0, 0.5)
    (tile,) = job.sheet.extremes.most()
    np.testing.assert_array_equal(tile.pixels, rough(5))
    assert tile.name == "new/odd/a.png +4"
    assert Group("x.npy", [*rough(2)], images=os.pathsep.join(["x.npy#2", "x.npy#3"])).name == "x.npy#2 +1"


def test_names_of_any_characters_are_drawn(tmp_path):
    strange = os.fsdecode(b"new/caf\xe9 $x_1$ \xe7\x8c\xab\n.png")
    made = sheet.contact_sheet([Tile(rough(1), strange, math.inf, 0.01, True)], [], 1, 0.05)
    sheet.save(made, tmp_path / "sheet.pdf")
    assert printable("a/猫.png", 20) == "a/▯.png"


def test_a_sheet_that_cannot_be_is_told_before_any_work(places, detector, tmp_path):
    said = ran("score", detector, places / "new", "--sheet", tmp_path / "sheet.jpg", code=2).stderr
    assert "figures are saved as .png, .pdf, .svg" in said
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "bad.png").write_bytes(b"no picture")
    said = ran("score", detector, tmp_path / "some", "--sheet", tmp_path / "sheet.png", code=3).stderr
    assert "no images were scored" in said
    assert not (tmp_path / "sheet.png").exists()
