"""What a GPU computes is what the CPU computes; skipped where torch sees none."""

import numpy as np
import pytest
import test_training
import torch
from test_bfloat16 import ERROR_OF_FEW
from test_extraction import extract

from immature_ood import runtime, training
from immature_ood.checkpoints import load_model
from immature_ood.gradients import layer_norms
from immature_ood.gradients.products import has_bfloat16

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


@pytest.fixture(autouse=True)
def cuda():
    yield runtime.prepare(1, "cuda")
    torch.use_deterministic_algorithms(False)


def trained(folder, device, *epochs, **options):
    state = training.start(test_training.with_options(**options), test_training.pixels(), device)
    for epoch in epochs:
        state = training.train(
            state, epoch, test_training.pixels(), test_training.pixels(30, seed=1), folder / "scratch"
        )
        training.save(state, folder / str(epoch))
        state = training.restore(state.run, folder / str(epoch), device)
    return state


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-coupling"}, {"precision": "tf32"}, {"compile": True}])
def test_training_makes_the_same_bytes_in_one_go_and_in_several(tmp_path, cuda, options):
    trained(tmp_path / "whole", cuda, 3, **options)
    trained(tmp_path / "parts", cuda, 1, 2, 3, **options)
    assert test_training.same_bytes(tmp_path / "whole/3", tmp_path / "parts/3")


def test_training_follows_the_cpu(tmp_path, cuda):
    found, expected = trained(tmp_path / "gpu", cuda, 2), trained(tmp_path / "cpu", torch.device("cpu"), 2)
    assert found.log[-1]["fit_bits_per_dim"] == pytest.approx(expected.log[-1]["fit_bits_per_dim"], abs=1e-2)


@pytest.mark.parametrize("chunk", [None, 10])
def test_features_are_those_of_the_cpu(tmp_path, cuda, chunk):
    trained(tmp_path, cuda, 2)
    model, _ = load_model(tmp_path / "2/weights.safetensors")
    pixels = test_training.pixels(60)
    expected = extract(model, pixels, "digits", "test", [1, 5])
    found = extract(model.to(cuda), pixels, "digits", "test", [1, 5], chunk)
    for on_gpu, on_cpu in zip(found, expected, strict=True):
        np.testing.assert_allclose(on_gpu.log_norms, on_cpu.log_norms, atol=1e-2)
        np.testing.assert_allclose(on_gpu.log_prob, on_cpu.log_prob, rtol=1e-5)


def test_norms_in_bfloat16_are_near_those_in_float32(tmp_path, cuda):
    if not has_bfloat16(cuda):
        pytest.skip("this GPU multiplies no bfloat16")
    trained(tmp_path, cuda, 2)
    model, pixels = load_model(tmp_path / "2/weights.safetensors")[0].to(cuda), test_training.pixels(60)
    expected = extract(model, pixels, "digits", "test", [1, 5])
    found = extract(model, pixels, "digits", "test", [1, 5], config={"precision": "bf16-norms"})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.log_norms, other.log_norms, atol=ERROR_OF_FEW)
        assert np.array_equal(one.log_prob, other.log_prob)


def test_norms_are_exact_in_float64(tmp_path, cuda):
    trained(tmp_path, cuda, 2)
    model = load_model(tmp_path / "2/weights.safetensors")[0].double()
    x = torch.rand(10, *model.shape, dtype=torch.float64) - 0.5
    expected = layer_norms(model, x, [1, 5])
    found = layer_norms(model.to(cuda), x.to(cuda), [1, 5])
    for b in (1, 5):
        torch.testing.assert_close(found[b].squared.cpu(), expected[b].squared, rtol=1e-9, atol=1e-12)
