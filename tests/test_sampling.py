import json

import numpy as np
import torch

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.density import DensityModel
from immature_ood.dequantisation import training_noise
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images.tensors import dequantise, quantise
from immature_ood.models import make_model
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.sampling import draw, write_samples

DATA = ImageConfig(side=4)
SHAPE = DATA.shape


def glow():
    model = make_model(GlowConfig(blocks=1, steps=1, hidden_channels=4), SHAPE, torch.Generator().manual_seed(0))
    model.initialise(torch.rand(32, *SHAPE, generator=torch.Generator().manual_seed(1)) - 0.5)
    return model


def test_draws_depend_on_the_name_alone_and_the_first_are_the_same_of_more():
    first = draw(glow(), DATA, 20, 1.0, "samples").stored
    assert first.shape == (20, *SHAPE)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(draw(glow(), DATA, 20, 1.0, "samples").stored, first)
    assert (draw(glow(), DATA, 20, 1.0, "other").stored != first).any()
    many = draw(glow(), DATA, 600, 1.0, "samples").stored
    np.testing.assert_array_equal(draw(glow(), DATA, 500, 1.0, "samples").stored, many[:500])


def test_a_lower_temperature_spreads_less():
    spreads = [draw(glow(), DATA, 500, temperature, "samples").stored.std() for temperature in (0.3, 1.0)]
    assert spreads[0] < spreads[1]


class Ends(DensityModel):
    """Draws below, at both ends of, and above the range, in a known share."""

    def log_prob(self, x):
        raise NotImplementedError

    def sample(self, number, generator, temperature=1.0):
        values = torch.tensor([-2.0, -0.5, 0.49999, 0.5]).reshape(1, 1, 2, 2)
        return values.expand(number, 1, 2, 2)


def test_pixels_out_of_range_are_clipped_and_counted():
    drawn = draw(Ends((1, 2, 2)), DATA, 7, 1.0, "ends")
    assert (drawn.stored.reshape(7, 4) == [0, 0, 255, 255]).all()
    assert drawn.clipped == 0.5


def test_quantise_undoes_dequantise():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(quantise(dequantise(pixels, training_noise(pixels.shape, 0)))[0], pixels)
    found, outside = quantise(torch.tensor([float("nan"), float("inf"), -float("inf")]))
    assert found.tolist() == [128, 255, 0]
    assert outside == 3


def test_samples_are_written_with_where_they_come_from(tmp_path):
    checkpoint = CheckpointId("digits", "glow", seed=0, epoch=4, images_seen=12000, run_key="abc")
    drawn = draw(glow(), DATA, 10, 1.0, "samples")
    for folder in ("one", "two"):
        write_samples(tmp_path / folder, "samples", drawn, checkpoint, {"samples": {"temperature": 0.8}})
    for file in ("train.npy", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    manifest = json.loads((tmp_path / "one/manifest.json").read_text())
    assert manifest["checkpoint"]["epoch"] == 4
    assert manifest["splits"]["train"]["count"] == 10
    assert manifest["made_from"] == {"samples": {"temperature": 0.8}}
    np.testing.assert_array_equal(np.load(tmp_path / "one/train.npy"), drawn.stored)
