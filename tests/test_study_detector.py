"""A finished study scores new images as it scored its own: here a small one, made by the functions of its rules."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_command import ran
from test_estimator import TINY, rough, smooth

from immature_ood import conformal, face, registry, study_detector
from immature_ood.calibration import CALIBRATION, score_calibration
from immature_ood.checkpoints import load_model
from immature_ood.detectors import fit_all, save_fitted
from immature_ood.extraction import Split, extract
from immature_ood.features import save_features
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.scores import load_scores, save_scores, score_all
from immature_ood.study import FeatureConfig, TrainingConfig
from immature_ood.training import save, start, train

DATA = ImageConfig(channels=1, side=8)
PLACE = "smooth/glow/seed=0"
EPOCHS = (0, 1, 2)
FEATURES = FeatureConfig(batch_sizes=[1, 2], chunk_images=30)
STATISTICS = ("log_norms", "log_prob")
DETECTORS = {
    "gradient_norms": {"detector": "gradient_norms"},
    "several": {"detector": "gradient_norms_knn", "epochs": 2},
}


def images(split):
    return {"fit": smooth(60, seed=1), CALIBRATION: smooth(40, seed=2), "test": smooth(30, seed=3)}[split]


def trained(folder):
    """Epochs 0 to 2; the last is said to have diverged a little."""
    pixels = smooth(96)
    run = face.run_of(face.model_of(TINY, DATA.shape), pixels, TrainingConfig(batch_size=32), 0, "smooth")
    state = start(replace(run, data=DATA), pixels)
    for epoch in EPOCHS:
        place = folder / f"checkpoints/{PLACE}/epoch={epoch}"
        state = train(state, epoch, pixels, images("fit"), folder / "scratch", keep=lambda one, to=place: save(one, to))
    sidecar = place / "checkpoint.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "fit_bits_per_dim": 99.0}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """results/mine, with calibration scores at epoch 1 alone."""
    study = tmp_path_factory.mktemp("project") / "results" / "mine"
    trained(study)
    detectors = {name: registry.parse("detectors", section) for name, section in DETECTORS.items()}
    made_from = {"data": DATA.model_dump(), "features": FEATURES.model_dump(exclude={"layers"}), "layers": None}
    made_from |= {"statistics": STATISTICS, "original": "smooth"}
    known, files = {}, {}
    for epoch in EPOCHS:
        model, one = load_model(study / f"checkpoints/{PLACE}/epoch={epoch}/weights.safetensors")
        for split in ("fit", "test", CALIBRATION):
            found = extract(model, Split(images(split), DATA, "smooth", split), FEATURES, STATISTICS)
            path = study / f"features/{PLACE}/epoch={epoch}/{split}.safetensors"
            save_features(path, one, found, made_from)
            known[one, split], files[epoch, split] = {each.batch_size: each for each in found}, path
        every = {one: by_size for (one, split), by_size in known.items() if split == "fit"}
        reads = {"several": [*every][:-3:-1]}
        place = study / f"scores/{PLACE}/epoch={epoch}"
        save_fitted(place / "fitted.safetensors", fit_all(one, detectors, every, reads))
        read = [files[each.epoch, split] for split in ("fit", "test") for each in reads["several"]]
        save_scores(place / "scores.safetensors", score_all(place / "fitted.safetensors", read))
        if epoch == 1:
            found = score_calibration(place / "fitted.safetensors", files[epoch, CALIBRATION])
            save_scores(place / "calibration.safetensors", found)
    np.save(study / "test.npy", images("test"))
    np.save(study / "odd.npy", rough(12))
    return study


def scored(study, *options, data="test.npy"):
    found = ran("score", "--study", study, *options, study / data)
    return pd.read_csv(io.StringIO(found.stdout)), found.stderr


@pytest.mark.parametrize("epoch", EPOCHS)
@pytest.mark.parametrize("detector", [*DETECTORS])
@pytest.mark.parametrize("b", [1, 2])
def test_its_own_test_images_have_the_scores_that_the_study_gave_them(made, epoch, detector, b):
    options = ["--group-by", "folder", "--b", b] if b > 1 else []
    table, _ = scored(made, "--epoch", epoch, "--detector", detector, *options)
    expected = load_scores(made / f"scores/{PLACE}/epoch={epoch}/scores.safetensors").of(detector, b, "smooth")
    np.testing.assert_allclose(table["score"], expected, rtol=1e-4)


def test_p_values_are_those_of_the_calibration_images(made):
    table, said = scored(made, "--epoch", 1, "--false-alarms", 0.1)
    known = load_scores(made / f"scores/{PLACE}/epoch=1/calibration.safetensors")
    expected = conformal.p_values(table["score"].to_numpy(), known.of("gradient_norms", 1, "smooth", CALIBRATION))
    np.testing.assert_allclose(table["p_value"], expected)
    np.testing.assert_array_equal(table["verdict"] == "odd", expected <= 0.1)
    assert "30 images scored" in said
    odd, _ = scored(made, "--epoch", 1, data="odd.npy")
    assert (odd["verdict"] == "odd").all()


def test_p_values_weigh_units_not_images():
    scores = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
    units = np.array([0, 1, 1, 1, 2])
    one = study_detector.StudyDetector("", None, DATA, "", (), {1: None}, {1: (scores, units)})
    np.testing.assert_allclose(one.p_values(np.array([2.0])), [3 / 4])
    assert one.calibrated_on(1) == 3


def test_without_calibration_images_there_are_scores_alone_and_it_is_said(made, tmp_path):
    table, said = scored(made, "--epoch", 0, "--sheet", tmp_path / "sheet.png")
    assert table["score"].notna().all()
    assert table["p_value"].isna().all()
    assert table["verdict"].isna().all()
    assert "30 images scored, without p-values and verdicts: the study has no calibration images" in said
    assert "warning" not in said
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_a_verdict_is_not_asked_for_where_there_is_none(made):
    said = ran("score", "--study", made, "--epoch", 0, "--fail-on-odd", made / "test.npy", code=2).stderr
    assert "--fail-on-odd needs p-values" in said


def test_what_is_not_asked_for_is_chosen_and_told(made):
    bits = [
        json.loads((made / f"checkpoints/{PLACE}/epoch={epoch}/checkpoint.json").read_text())["fit_bits_per_dim"]
        for epoch in EPOCHS
    ]
    assert int(np.argmin(bits)) == 1
    _, said = scored(made)
    assert f"{made}: ID smooth, model glow, seed 0, epoch 1, detector gradient_norms" in said


def test_where_no_checkpoint_says_its_bits_the_last_epoch_is_chosen(made, tmp_path):
    study = tmp_path / "results" / "mine"
    shutil.copytree(made / "scores", study / "scores")
    assert study_detector.choose(study).epoch == 2
    shutil.copytree(made / "features", study / "features")
    with pytest.raises(ValueError, match=r"weights checkpoints/smooth/glow/seed=0/epoch=2/weights.safetensors"):
        study_detector.load(study_detector.choose(study))


def test_checkpoints_may_be_those_of_a_study_beside_it(made, tmp_path):
    study = tmp_path / "results" / "mine"
    shutil.copytree(made, study)
    shutil.move(study / "checkpoints", study.parent / "shared" / "checkpoints")
    table, _ = scored(study)
    pd.testing.assert_frame_equal(table.drop(columns="path"), scored(made)[0].drop(columns="path"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--id", "digits"], "--id digits: the study has smooth"),
        (["--model", "vae"], "--model vae: the study has glow"),
        (["--seed", "7"], "--seed 7: the study has 0"),
        (["--epoch", "5"], "--epoch 5: the study has 0, 1, 2"),
        (["--detector", "likelihood"], "--detector likelihood: the study has gradient_norms, several"),
        (["--b", "3", "--group-by", "folder"], "was fitted to groups of 1, 2 in this study, not of 3"),
        (["--false-alarms", "0.01"], "are less than 40 units of calibration images can tell"),
    ],
)
def test_what_the_study_has_not_is_told_with_what_it_has(made, options, said):
    found = ran("score", "--study", made, *options, made / "test.npy", code=2)
    assert said in " ".join(found.stderr.split())


def test_other_errors_are_a_line(made, tmp_path):
    found = ran("score", "--study", tmp_path / "none", made / "test.npy", code=2).stderr
    assert "there is no finished study in" in found
    assert "--epoch is of a study" in ran("score", "mine.iood", made / "test.npy", "--epoch", 1, code=2).stderr
    assert "say what is to be scored" in ran("score", "mine.iood", code=2).stderr


def test_names_and_numbers_are_in_their_order():
    assert sorted(["all", "10", "9"], key=study_detector._by_number) == ["9", "10", "all"]
