"""PixelCNN: causality, exact probabilities, and samples that are of them."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, logistic
from test_models import CASES, images
from torch.func import jacrev

from immature_ood.gradients.closed_form import uncovered
from immature_ood.models import make_model
from immature_ood.models._pixelcnn import Shifted, log_probability, pairs
from immature_ood.models.pixelcnn import Config

PIXELCNNS = {name: case for name, case in CASES.items() if case.config.architecture == "pixelcnn"}

every_pixelcnn = pytest.mark.parametrize("case", PIXELCNNS.values(), ids=PIXELCNNS.keys())

LEVELS = torch.arange(256, dtype=torch.float64)


def pixelcnn(shape, seed=0, perturbation=0.1, **options):
    """A small model in float64 whose weights are perturbed, so that all that the network puts out matters."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model(Config(**{"blocks": 1, "hidden_channels": 4, "logistics": 3} | options), shape, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += perturbation * torch.randn(parameter.shape, generator=generator)
    return model.double()


def dequantised(levels):
    """x of levels 0 … 255, in the middle of each."""
    return (levels + 0.5) / 256 - 0.5


@cache
def every_image(shape):
    """A model, and its probabilities of all images, of two numbers at most: (256, ...)."""
    model, levels = pixelcnn(shape), torch.cartesian_prod(*[LEVELS] * math.prod(shape))
    with torch.no_grad():
        probabilities = model.log_prob(dequantised(levels).reshape(-1, *shape)).exp()
    return model, probabilities.reshape(256, -1)


TWO = [(1, 1, 2), (1, 2, 1), (2, 1, 1)]


@every_pixelcnn
def test_closed_forms_cover_every_layer(case):
    assert uncovered(case.make()) == []


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 3)])
def test_a_pixel_is_given_all_that_come_before_it_and_no_others(shape):
    model = pixelcnn(shape, blocks=2)
    channels, places = shape[0], shape[1] * shape[2]

    def put_out(flat):
        return sum(part.flatten(1, -3).sum(dim=1) for part in model.mixture(flat.reshape(1, *shape))).flatten()

    jacobian = jacrev(put_out)(2 * images(1, shape).flatten()).unflatten(1, (channels, places))
    seen = jacobian.abs().sum(dim=1) > 0  # (place of the distribution, place of a pixel)
    assert torch.equal(seen, torch.ones(places, places).tril(-1).bool())


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_pixel_is_given_so_many_rows_above_it(blocks):
    model = pixelcnn((1, 2 * blocks + 5, 1), blocks=blocks)
    of_last = lambda flat: model.mixture(flat.reshape(1, *model.shape)).at(model.shape[1] - 1, 0).logits.flatten()  # noqa: E731
    rows = jacrev(of_last)(torch.zeros(model.dimensions, dtype=torch.float64)).abs().sum(dim=0) > 0
    assert rows.tolist() == [False] * (model.dimensions - 1 - model.rows_above) + [True] * model.rows_above + [False]


def test_no_weight_is_masked():
    """Every number of every convolution acts on some image, but for what is given to no pixel."""
    model = pixelcnn((3, 4, 4), blocks=2)
    model.log_prob(images(8, model.shape)).sum().backward()
    for module in (module for module in model.modules() if isinstance(module, Shifted)):
        assert module.convolution.weight.grad.all()


@pytest.mark.parametrize("shape", [(1, 1, 1), *TWO])
def test_the_probabilities_of_all_images_add_up_to_one(shape):
    _, probabilities = every_image(shape)
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)


def oracle(model, levels):
    """P(pixels of the first channels of a 1×1 image) by sums of differences of SciPy's logistic distribution."""
    with torch.no_grad():
        mixture = model.mixture(torch.zeros(1, *model.shape, dtype=torch.float64))  # of one pixel, given nothing
    logits, means, log_scales, slopes = (part[0, ..., 0, 0].numpy() for part in mixture)
    weights, pixels = np.exp(logits) / np.exp(logits).sum(), np.asarray(levels) / 127.5 - 1
    total = 0.0
    for k, weight in enumerate(weights):
        of_k = weight
        for c, (level, pixel) in enumerate(zip(levels, pixels, strict=True)):
            before = [slopes[place, k] * pixels[pair[0]] for place, pair in enumerate(pairs(3)) if pair[1] == c]
            law = logistic(means[c, k] + sum(before), np.exp(log_scales[c, k]))
            upper = 1.0 if level == 255 else law.cdf(pixel + 1 / 255)
            of_k *= upper - (0.0 if level == 0 else law.cdf(pixel - 1 / 255))
        total += of_k
    return total


COLOURS = [(0, 0, 0), (255, 255, 255), (0, 255, 17), (3, 100, 250), (128, 127, 255)]


@pytest.mark.parametrize("colour", COLOURS)
def test_channels_depend_on_those_before_them_as_the_formula_says(colour):
    """And the probabilities of the last channel's levels add up to that of the first two."""
    model = pixelcnn((3, 1, 1), perturbation=0.3)
    with torch.no_grad():
        found = model.log_prob(dequantised(torch.tensor(colour, dtype=torch.float64)).reshape(1, 3, 1, 1)).exp().item()
        last = torch.stack([*torch.tensor(colour[:2], dtype=torch.float64)[:, None].expand(2, 256), LEVELS], dim=1)
        over_the_last = model.log_prob(dequantised(last)[:, :, None, None]).exp().sum().item()
    assert found == pytest.approx(oracle(model, colour), rel=1e-6)
    assert over_the_last == pytest.approx(oracle(model, colour[:2]), rel=1e-9)


def test_a_discretised_logistic_is_exact_far_from_its_mean():
    """Where the difference of the distribution function at two ends is zero in float64."""
    pixels, means = 2 * LEVELS / 255 - 1, torch.tensor([[-3.0], [0.2], [1.0]], dtype=torch.float64)
    log_scales = torch.tensor(-6.5, dtype=torch.float64)
    found = log_probability(pixels, means, log_scales)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(3, dtype=torch.float64))
    scale = math.exp(-6.5)
    tail = -(pixels[:-1] - 1 / 255 + 3) / scale  # log(1 − σ(l)) is −l where l is large
    torch.testing.assert_close(found[0, 1:-1], (tail + math.log(-math.expm1(-2 / 255 / scale)))[1:])
    single = log_probability(pixels.float(), means.float(), log_scales.float())
    torch.testing.assert_close(single.double(), found, rtol=1e-5, atol=1e-4)


def test_noise_within_a_level_changes_nothing():
    model, levels = pixelcnn((1, 3, 3)), torch.randint(256, (4, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    alike = [model.log_prob(((levels + noise) / 256 - 0.5).double()) for noise in (0.0, 0.3, 1 - 2**-16)]
    assert torch.equal(alike[0], alike[1])
    assert torch.equal(alike[0], alike[2])


@pytest.mark.parametrize("shape", TWO)
def test_samples_are_as_frequent_as_probable(shape):
    """In 16×16 bins of both numbers; those with five expected or fewer are one."""
    model, probabilities = every_image(shape)
    expected = 20_000 * probabilities.reshape(16, 16, 16, 16).sum(dim=(1, 3)).flatten().numpy()
    drawn = model.sample(20_000, torch.Generator().manual_seed(1))
    first, second = ((drawn.flatten(1) + 0.5) * 16).floor().long().unbind(dim=1)
    counts = torch.bincount(16 * first + second, minlength=256).numpy()
    rare = expected <= max(5, expected.min())
    assert sum(~rare) > 50
    pooled = [np.append(each[~rare], each[rare].sum()) for each in (counts, expected)]
    assert chisquare(*pooled).pvalue > 0.01


def test_samples_are_levels_of_pixels():
    drawn = pixelcnn((3, 3, 2)).sample(5, torch.Generator().manual_seed(0))
    levels = (drawn + 0.5) * 256 - 0.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-9, rtol=0)
    assert levels.min() >= 0
    assert levels.max() <= 255


@pytest.mark.parametrize(("blocks", "height"), [(1, 8), (2, 9)])
def test_samples_are_drawn_of_the_whole_image_above_a_pixel(blocks, height, monkeypatch):
    """The rows that the network is given while it samples are all that it sees."""
    model = pixelcnn((1, height, 2), blocks=blocks)
    assert height > model.rows_above + 1
    found = model.sample(3, torch.Generator().manual_seed(0))
    monkeypatch.setattr(model, "rows_above", height)
    torch.testing.assert_close(model.sample(3, torch.Generator().manual_seed(0)), found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_logistics_start_spread_over_the_grey_levels(channels):
    model = make_model(Config(), (channels, 4, 4), torch.Generator().manual_seed(0))
    means = model.head.bias.unflatten(0, (-1, model.logistics))[1 : 1 + channels]
    torch.testing.assert_close(means, torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8]).expand(channels, 5))
