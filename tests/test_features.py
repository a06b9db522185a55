"""Features are saved with all that says what they are."""

import numpy as np
import pytest

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.features import SCHEMA, Features, load_features, save_features
from immature_ood.storage import StorageError, load_arrays, save_arrays

CHECKPOINT = CheckpointId("digits", "glow", seed=0, epoch=4, images_seen=12000, run_key="abc")


def make(b, groups=4):
    generator = np.random.default_rng(b)
    norms = generator.normal(size=(groups, 2)).astype(np.float32)
    norms[0, 0] = -np.inf
    images = np.arange(groups * b).reshape(groups, b)
    return Features(
        "photos",
        "test",
        {"log_norms": norms, "log_prob": generator.normal(-900, 5, groups)},
        images,
        ("a", "b"),
        784,
        np.arange(groups) // 2,
    )


def test_what_was_saved_is_loaded(tmp_path):
    saved = {b: make(b) for b in (1, 5)}
    save_features(tmp_path / "f", CHECKPOINT, saved.values())
    checkpoint, loaded = load_features(tmp_path / "f")
    assert checkpoint == CHECKPOINT
    assert loaded.keys() == saved.keys()
    for b, features in loaded.items():
        assert features.batch_size == b
        assert (features.dataset, features.split, features.layers, features.dimensions) == (
            *("photos", "test"),
            *(("a", "b"), 784),
        )
        for name in ("log_norms", "log_prob", "images", "units"):
            np.testing.assert_array_equal(getattr(features, name), getattr(saved[b], name))


def test_bits_per_dim_is_of_the_mean_log_likelihood():
    features = make(1)
    assert features.bits_per_dim == pytest.approx(-features.log_prob.mean() / (784 * np.log(2)))


@pytest.mark.parametrize("missing", ["checkpoint", "layers", "b=1/log_prob"])
def test_features_that_lack_something_are_refused(tmp_path, missing):
    save_features(tmp_path / "f", CHECKPOINT, [make(1)])
    arrays, metadata = load_arrays(tmp_path / "f", SCHEMA)
    for mapping in (arrays, metadata):
        mapping.pop(missing, None)
    save_arrays(tmp_path / "f", SCHEMA, arrays, metadata)
    with pytest.raises(StorageError, match=rf"incomplete features \('{missing}'\); delete it and rerun"):
        load_features(tmp_path / "f")
