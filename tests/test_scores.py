import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
from test_detectors import detectors

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.config import POOLED
from immature_ood.detectors import Fitted, fit, fit_all, save_fitted
from immature_ood.features import Features, save_features
from immature_ood.scores import ScoreKey, Scores, load_scores, save_scores, score_all
from immature_ood.storage import StorageError, load_arrays, save_arrays

CHECKPOINT = CheckpointId("digits", "glow", seed=0, epoch=4, images_seen=12000, run_key="abc")


def make_features(dataset="digits", split="test", groups=20, b=1, seed=0):
    generator = np.random.default_rng(seed)
    norms = generator.normal(size=(groups, 2)).astype(np.float32)
    norms[:, 1] = -np.inf
    log_prob = generator.normal(-900, 20, groups)
    images = np.arange(groups * b).reshape(groups, b)
    return Features(
        dataset,
        split,
        {"log_norms": norms, "log_prob": log_prob},
        images,
        ("weight", "bias"),
        dimensions=784,
        units=np.arange(groups) // 2,
    )


@pytest.fixture
def files(tmp_path):
    """Paths of the fitted detectors and the features, by what they are of."""
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("fitted", "fit", "test", "ood")}
    fit = {b: make_features(split="fit", b=b, seed=b) for b in (1, 5)}
    configs = detectors("gradient_norms", "typicality")
    save_fitted(paths["fitted"], fit_all(CHECKPOINT, configs, {CHECKPOINT: fit}))
    save_features(paths["fit"], CHECKPOINT, fit.values())
    save_features(paths["test"], CHECKPOINT, [make_features(b=b, seed=2) for b in (1, 5)])
    # An OOD data set may bear the name of a split.
    save_features(paths["ood"], CHECKPOINT, [make_features("fit", b=b, groups=30, seed=10 + b) for b in (1, 5)])
    return paths


def score(files, **changed):
    paths = files | changed
    return score_all(paths["fitted"], [paths[name] for name in ("fit", "test", "ood") if paths[name]])


def test_every_detector_scores_every_split(files):
    scores = score(files)
    assert scores.checkpoint == CHECKPOINT
    assert scores.ood_datasets == ["fit"]
    assert {(key.dataset, key.split, len(value)) for key, value in scores.values.items()} == {
        ("digits", "fit", 20),
        ("digits", "test", 20),
        ("fit", "test", 30),
    }
    assert len(scores.values) == 2 * 2 * 3
    assert scores.dead_layers == {
        **dict.fromkeys([("gradient_norms", 1), ("gradient_norms", 5)], ("bias",)),
        **dict.fromkeys([("typicality", 1), ("typicality", 5)], ()),
    }
    assert scores.bits_per_dim == make_features(seed=2).bits_per_dim


def test_scores_are_those_of_the_detector_of_the_batch_size(files):
    for b in (1, 5):
        detector = fit(detectors("typicality")["typicality"], make_features(split="fit", b=b, seed=b))
        expected = detector.score(make_features("fit", b=b, groups=30, seed=10 + b))
        np.testing.assert_array_equal(score(files).of("typicality", b, "fit"), expected)


def test_scores_tell_which_groups_belong_together(files, tmp_path):
    save_scores(tmp_path / "scores.safetensors", score(files))
    for scores in (score(files), load_scores(tmp_path / "scores.safetensors")):
        for dataset, split, groups in (("digits", "fit", 20), ("digits", "test", 20), ("fit", "test", 30)):
            for b in (1, 5):
                assert scores.units_of(b, dataset, split).tolist() == [group // 2 for group in range(groups)]
        with pytest.raises(KeyError, match="photos"):
            scores.units_of(1, "photos")


def test_scores_come_back_exactly(files, tmp_path):
    scores = score(files)
    next(iter(scores.values.values()))[0] = np.inf
    save_scores(tmp_path / "scores.safetensors", scores)
    loaded = load_scores(tmp_path / "scores.safetensors")
    assert replace(loaded, values={}, units={}) == replace(scores, values={}, units={})
    assert loaded.units.keys() == scores.units.keys()
    assert loaded.values.keys() == scores.values.keys()
    for key, value in scores.values.items():
        np.testing.assert_array_equal(loaded.values[key], value)


def test_features_of_another_checkpoint_are_refused(files):
    save_features(files["ood"], replace(CHECKPOINT, epoch=5), [make_features("fit")])
    with pytest.raises(StorageError, match=r"ood\.safetensors: is of .*epoch=5.* fitted to .*epoch=4"):
        score(files)


def test_a_detector_may_read_the_model_of_another_set(files, tmp_path):
    """Its scores are of that model; bits per dim stay those of the row's own, of all seeds together too."""
    other = replace(CHECKPOINT, id_dataset="letters", run_key="other")
    own = {b: make_features("digits", "fit", b=b) for b in (1, 5)}
    seen = {b: make_features("digits", "fit", b=b, seed=5) for b in (1, 5)}
    reads = {"likelihood": (other,)}
    for seed in (CHECKPOINT.seed, POOLED):
        row = replace(CHECKPOINT, seed=seed)
        save_fitted(files["fitted"], fit_all(row, detectors("likelihood"), {CHECKPOINT: own, other: seen}, reads))
        tests = [make_features(b=b, seed=2) for b in (1, 5)], [make_features(b=b, seed=7) for b in (1, 5)]
        given = {"own-fit": own.values(), "other-fit": seen.values(), "own-test": tests[0], "other-test": tests[1]}
        for name, each in given.items():
            save_features(tmp_path / name, CHECKPOINT if name.startswith("own") else other, each)
        scores = score_all(files["fitted"], [tmp_path / name for name in given])
        np.testing.assert_array_equal(scores.of("likelihood", 5, "digits"), -tests[1][1].log_prob)
        assert scores.bits_per_dim == tests[0][0].bits_per_dim != tests[1][0].bits_per_dim


@pytest.mark.parametrize("split", ["fit", "test"])
def test_a_missing_id_split_is_named(files, split):
    with pytest.raises(StorageError, match=f"no features of digits/{split}"):
        score(files, **{split: None})


@pytest.mark.parametrize("batch_sizes", [[1], [1, 3, 5]])
def test_other_batch_sizes_are_refused(files, batch_sizes):
    save_features(files["ood"], CHECKPOINT, [make_features("fit", b=b) for b in batch_sizes])
    with pytest.raises(StorageError, match=r"ood\.safetensors: has groups of b=.* the detectors b=\[1, 5\]"):
        score(files)


@dataclass(frozen=True)
class Broken:
    """A detector that does not keep the contract."""

    result: np.ndarray
    dead_layers = ()

    def score(self, features):
        return self.result


@pytest.mark.parametrize("result", [np.full(20, np.nan), np.zeros(19), np.zeros((20, 1))])
def test_a_detector_that_gives_no_number_a_group_is_named(files, result, monkeypatch):
    both = {("broken", 1): Broken(result), ("broken", 5): Broken(result)}
    broken = Fitted(CHECKPOINT, both, {"broken": "broken"}, {"broken": (CHECKPOINT,)})
    monkeypatch.setattr("immature_ood.scores.load_fitted", lambda path: broken)
    with pytest.raises(ValueError, match=r"broken/b=1/digits/fit: .* each of the 20 groups"):
        score(files)


def test_an_incomplete_file_is_refused(files, tmp_path):
    path = tmp_path / "scores.safetensors"
    save_scores(path, score(files))
    arrays, metadata = load_arrays(path, "scores/2")
    del metadata["bits_per_dim"]
    save_arrays(path, "scores/2", arrays, metadata)
    with pytest.raises(StorageError, match=r"scores\.safetensors: incomplete scores .*bits_per_dim"):
        load_scores(path)


def test_an_unknown_key_is_a_key_error():
    scores = Scores(CHECKPOINT, 3.0, {}, {ScoreKey("likelihood", 1, "digits", "test"): np.zeros(3)})
    assert scores.of("likelihood", 1, "digits").shape == (3,)
    with pytest.raises(KeyError, match="photos"):
        scores.of("likelihood", 1, "photos")


def test_scoring_needs_numpy_and_pydantic_alone():
    heavy = "{'torch', 'pandas', 'scipy', 'sklearn', 'matplotlib'}"
    code = f"import immature_ood.scores, sys; print(*{heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


def test_where_the_likelihood_is_not_known_there_are_no_bits_per_dim(files, tmp_path):
    configs, splits = detectors("gradient_norms"), {"fit": "fit", "test": "test"}
    known = {name: [make_features(split=split, b=b, seed=b) for b in (1, 5)] for name, split in splits.items()}
    norms = {
        name: [replace(each, statistics={"log_norms": each.log_norms}) for each in features]
        for name, features in known.items()
    }
    for name, features in norms.items():
        save_features(files[name], CHECKPOINT, features)
    save_fitted(files["fitted"], fit_all(CHECKPOINT, configs, {CHECKPOINT: {f.batch_size: f for f in norms["fit"]}}))
    scores = score(files, ood=None)
    assert np.isnan(scores.bits_per_dim)
    save_scores(tmp_path / "scores.safetensors", scores)
    assert np.isnan(load_scores(tmp_path / "scores.safetensors").bits_per_dim)
