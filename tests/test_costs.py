"""What detectors cost: measured, kept and read back."""

import math

import numpy as np
import pytest
import torch
from test_gradients import SHAPE, glow

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.costs import (
    FeatureCost,
    ScoreCosts,
    Stopwatch,
    peak_memory,
    read_feature_costs,
    read_score_costs,
    restart_peak,
    write_feature_costs,
    write_score_costs,
)
from immature_ood.extraction import Split
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.measuring import feature_costs
from immature_ood.storage import StorageError
from immature_ood.study import FeatureConfig

CHECKPOINT = CheckpointId("digits", "glow", 0, 4, 100, "key")


def test_costs_come_back_as_they_were_written(tmp_path):
    features = {"gradient_norms": FeatureCost(1.5, 30.0, 9.0), "pixels": FeatureCost(0.0)}
    write_feature_costs(tmp_path / "glow.json", "glow", features)
    found = read_feature_costs([tmp_path / "glow.json"])
    assert found["glow", "gradient_norms"] == features["gradient_norms"]
    assert found["glow", "pixels"].seconds == 0
    assert math.isnan(found["glow", "pixels"].mebibytes)
    scores = ScoreCosts(CHECKPOINT, {("gradient_norms", 1): 0.25}, {"gradient_norms": (CHECKPOINT,)})
    write_score_costs(tmp_path / "costs.json", scores)
    assert read_score_costs(tmp_path / "costs.json") == scores


@pytest.mark.parametrize("content", ["[]", "{}", '{"checkpoint": {"epoch": 1}}'])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "costs.json").write_text(content)
    for read in (read_score_costs, lambda path: read_feature_costs([path])):
        with pytest.raises(StorageError, match=r"costs\.json: does not say what detectors cost .* delete it and rerun"):
            read(tmp_path / "costs.json")


def test_a_stopwatch_tells_seconds_for_a_thousand():
    watch = Stopwatch()
    watch("knn", 5, 0.5, 100)
    watch("knn", 5, 0.5, 900)
    assert watch.seconds == {("knn", 5): 1.0}


def test_each_detector_is_charged_for_what_it_needs():
    """The same needs are measured once; pixels cost nothing; gradients more memory than a forward pass."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)
    config = FeatureConfig(batch_sizes=[1, 5])
    needs = {"norms": ("log_norms",), "likelihood": ("log_prob",), "other": ("log_prob",), "pixels": ("pixels",)}
    asked = {name: (each, config) for name, each in needs.items()}
    asked["half"] = (("log_norms",), config.model_copy(update={"layers": "without_weights"}))
    model = glow(blocks=1, steps=1, hidden=2, dtype=torch.float32)
    found = feature_costs(model, Split(pixels, ImageConfig(), "noise", "test"), asked)
    assert found.keys() == asked.keys()
    assert found["half"] != found["norms"]
    assert found["norms"].seconds > 0
    assert found["norms"].loop_seconds > 0
    assert math.isnan(found["likelihood"].loop_seconds)
    assert found["likelihood"].seconds == found["other"].seconds > 0
    assert found["pixels"].seconds == found["pixels"].mebibytes == 0


def test_the_peak_is_that_since_it_was_restarted():
    """Less than what was held and given back before, and as much as is held since, whatever came first."""
    np.ones(64 << 17).sum()  # 64 MiB
    before = restart_peak()
    assert peak_memory() - before < 16
    np.ones(32 << 17).sum()
    assert 30 < peak_memory() - before < 48
    assert restart_peak() - before < 16
