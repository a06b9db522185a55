"""Why an image has its score: the gradient is that of the score, the deviations are those of the detector."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_detector_file import splits
from test_estimator import TINY, rough, smooth

from immature_ood import explaining, face, fitting, pixel_statistics
from immature_ood.dequantisation import fixed_noise
from immature_ood.detector_file import NAME, ImageDetector, extracted, load
from immature_ood.explaining import Explanation, explain, gradient_of
from immature_ood.features import Features
from immature_ood.fitting import DETECTOR, Recipe, parts_of
from immature_ood.gradients.loop import Loop
from immature_ood.plots.explanation import explanation

PART = {name: {"detector": name} for name in ("gradient_norms_mahalanobis", "gradient_norms_fisher")}
ON_NORMS = {
    "gradient_norms": {"detector": "gradient_norms"},
    "epsilon": {"detector": "gradient_norms", "epsilon": 1e-3, "layers": "without_weights"},
    "mahalanobis": {"detector": "gradient_norms_mahalanobis", "log_prob": True},
    "knn": {"detector": "gradient_norms_knn", "neighbours": 2},
    "fisher": {"detector": "gradient_norms_fisher"},
    "mixture": {"detector": "gradient_norms_mixture", "layers": "*.logs"},
    "sum": {"detector": "combined", "how": "sum", "parts": PART},
}


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def detector(tmp_path_factory, request):
    parts = parts_of(splits(shape=(request.param, 8, 8)))
    recipe = Recipe(TINY, epochs=1, batch_sizes=[1], keep_thumbnails=True)
    return fitting.fit(parts, recipe, tmp_path_factory.mktemp("work"))


def refitted(detector, described):
    """The same model, under another detector."""
    reads = face.plug_in("detectors", described)
    fitted = face.fit(reads, *extracted(detector.model, reads, detector.thumbnails, [1])[1])
    return replace(detector, reads=reads, detectors={1: fitted})


def image_of(detector, seed=3):
    return (smooth(1, detector.shape, seed)[0] // 2 + rough(1, detector.shape, seed)[0] // 3).astype(np.uint8)


def scored(detector, pixels, noise):
    """The score of pixels (C, H, W) float64 under fixed noise, by a loop over parameters and NumPy, all in float64."""
    model = copy.deepcopy(detector.model).double()
    x = (torch.from_numpy(pixels[None]) + noise / 65536) / 256 - 0.5
    measured = Loop(model)(x, [1])
    log_norms = dict(zip(Loop(model).layers, torch.log(measured.squared[1][0]).tolist(), strict=True))
    fitted = detector.detectors[1]
    layers = fitted.layers[0]
    norms = np.array([[log_norms[layer] for layer in layers]])
    log_prob = measured.evaluated.statistics["log_prob"].numpy()
    features = Features(
        "", "", {"log_norms": norms, "log_prob": log_prob}, np.zeros((1, 1), int), layers, 1, np.zeros(1)
    )
    if detector.reads.detector != "combined" or "statistics" not in detector.reads.parts:
        return fitted.detector.score(features)[0]
    on_numbers, on_norms = fitted.detector.parts
    numbers = on_numbers.standard(pixel_statistics.statistics(pixels[None])[:, on_numbers.chosen])
    both = np.array([[on_numbers.density.score(numbers)[0], on_norms.score(features)[0]]])
    return 2 * fitted.detector.calibration(both).sum()


def hold_png(image, monkeypatch):
    png = pixel_statistics.statistics(image[None])[0, pixel_statistics.PNG]
    monkeypatch.setattr(pixel_statistics, "_png_bytes", lambda image: np.exp(png))


@pytest.mark.parametrize("described", [DETECTOR, *ON_NORMS.values()], ids=["default", *ON_NORMS])
def test_the_gradient_is_that_of_finite_differences(detector, described, monkeypatch):
    """Of the score in float64, the noise held fixed; bytes as PNG, which jump, are held fixed too."""
    one = refitted(detector, described)
    image = image_of(one)
    found = gradient_of(one, image)
    hold_png(image, monkeypatch)
    noise, pixels, step = fixed_noise(image[None], NAME), image.astype(np.float64), 1e-4
    places = np.random.default_rng(0).permutation(image.size)[:6]
    for place in map(tuple, np.transpose(np.unravel_index(places, image.shape))):
        move = np.zeros_like(pixels)
        move[place] = step
        slope = (scored(one, pixels + move, noise) - scored(one, pixels - move, noise)) / (2 * step)
        assert found[place] == pytest.approx(slope, rel=1e-4, abs=1e-6 * np.abs(found).max())
    assert np.abs(found).max() > 1e-4


def test_the_slow_way_gives_the_score_of_the_detector(detector, monkeypatch):
    image = image_of(detector)
    hold_png(image, monkeypatch)
    slow = scored(detector, image.astype(np.float64), fixed_noise(image[None], NAME))
    assert slow == pytest.approx(detector.score(image[None])[0], rel=1e-3)


def test_small_steps_along_the_gradient_raise_the_score(detector):
    """With whole grey levels and the noise that follows from them, as `score` has it."""
    one = refitted(detector, ON_NORMS["gradient_norms"])
    image = image_of(one)
    steps = 4 * np.sign(gradient_of(one, image))
    lighter, darker = ((image + sign * steps).clip(0, 255).astype(np.uint8) for sign in (1, -1))
    assert one.score(lighter[None])[0] > one.score(darker[None])[0]


def test_deviations_are_those_of_the_fit_set(detector):
    for described in (ON_NORMS["gradient_norms"], DETECTOR, ON_NORMS["mahalanobis"]):
        one = refitted(detector, described)
        image = image_of(one)
        of_fit = extracted(one.model, one.reads, one.thumbnails, [1])[1][0]
        own = extracted(one.model, one.reads, image[None], [1])[1][0]
        found = explain(one, image)
        for layer, deviation in found.layers.items():
            norms, norm = of_fit.log_prob, own.log_prob[0]
            if layer != "log p":
                place = of_fit.layers.index(layer)
                norms, norm = of_fit.log_norms[:, place].astype(float), own.log_norms[0, place]
            assert deviation == pytest.approx((norm - norms.mean()) / norms.std(), rel=1e-3, abs=1e-3)
        assert len(found.layers) == len(of_fit.layers) - len(one.detectors[1].dead_layers) + ("log p" in found.layers)


def test_the_numbers_of_the_image_are_named_and_standardised(detector):
    image = image_of(detector)
    found = explain(detector, image)
    known = pixel_statistics.statistics(detector.thumbnails)
    number = explaining.NUMBERS.index("steps in a row")
    own = pixel_statistics.statistics(image[None])[0, number]
    expected = (own - known[:, number].mean()) / known[:, number].std()
    assert found.numbers["steps in a row"] == pytest.approx(expected)
    assert found.score == detector.score(image[None])[0]
    assert sum(found.parts.values()) == pytest.approx(found.score)
    assert {*found.parts} == {"image statistics", "gradient norms"}
    assert not explain(refitted(detector, ON_NORMS["knn"]), image).numbers


@pytest.mark.parametrize(
    ("number", "drawn", "said"), [(5.0, 5.0, "+5.0"), (-90.0, -8.0, "-90.0 …"), (1.0, 1.0, "+1.0")]
)
def test_a_bar_is_as_long_as_its_number_or_says_that_it_is_cut(number, drawn, said):
    image = np.zeros((1, 8, 8), np.uint8)
    found = Explanation(image, 1.0, 0.5, image.astype(float), {"top.logs": -4.0}, {"mean": number}, {})
    bars = explanation(found, "a.png", 0.05).axes[3]
    assert sorted(bar.get_width() for bar in bars.patches) == pytest.approx(sorted([-4.0, drawn]))
    assert said in {text.get_text() for text in bars.texts}


def test_numbers_in_torch_are_those_of_numpy():
    for shape in ((1, 8, 8), (3, 6, 9)):
        for image in (*rough(3, shape), np.full(shape, 7, np.uint8)):
            png = pixel_statistics.statistics(image[None])[0, pixel_statistics.PNG]
            found = explaining._differentiable_numbers(torch.from_numpy(image.astype(float)), png)
            np.testing.assert_allclose(found.numpy(), pixel_statistics.statistics(image[None])[0], rtol=1e-12)
            assert len(found) == (8 if shape[0] == 1 else len(explaining.NUMBERS))


def test_an_image_of_one_grey_has_a_gradient(detector):
    assert np.isfinite(gradient_of(detector, np.full(detector.shape, 90, np.uint8))).all()


def test_the_nearest_of_an_image_of_the_fit_set_is_itself(detector):
    image = detector.thumbnails[17]
    first, second = explain(detector, image, nearest=2).nearest
    assert first.distance == pytest.approx(0, abs=1e-3)
    assert second.distance > 0.1
    np.testing.assert_array_equal(first.pixels, image)


def test_a_detector_file_holds_pictures_only_where_they_are_kept(detector, tmp_path):
    detector.save(tmp_path / "with.iood")
    np.testing.assert_array_equal(load(tmp_path / "with.iood").thumbnails, detector.thumbnails)
    replace(detector, thumbnails=None).save(tmp_path / "without.iood")
    found, again = (explain(load(tmp_path / f"{name}.iood"), image_of(detector)) for name in ("with", "without"))
    assert again == replace(found, nearest=(), gradient=again.gradient, pixels=again.pixels)
    np.testing.assert_allclose(again.gradient, gradient_of(detector, image_of(detector)), rtol=1e-6, atol=1e-9)
    assert len(found.nearest) == 8
    sizes = [(tmp_path / f"{name}.iood").stat().st_size for name in ("with", "without")]
    assert sizes[0] - sizes[1] >= detector.thumbnails.nbytes


# --- what has no such explanation ---


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"detector": "image_statistics"}, "image_statistics reads no gradient norms"),
        ({"detector": "likelihood"}, "likelihood reads no gradient norms"),
        ({"detector": "total_gradient_norm"}, "tells no layers apart"),
        (
            {"detector": "combined", "parts": {"a": {"detector": "pixels_knn"}, "b": {"detector": "gradient_norms"}}},
            "pixels_knn reads pixels; explain follows detectors of gradient norms",
        ),
    ],
)
def test_detectors_that_no_gradient_leads_through_are_refused_in_a_line(detector, described, said):
    with pytest.raises(ValueError, match=said) as error:
        explain(refitted(detector, described), image_of(detector))
    assert "\n" not in str(error.value)


def test_a_model_that_rounds_pixels_is_refused(detector):
    config = face.model_of({"architecture": "vae", "channels": 4, "levels": 1, "latents": 2}, detector.shape)
    model = face.make_model(config, detector.shape)
    reads = face.plug_in("detectors", ON_NORMS["gradient_norms"])
    fitted = face.fit(reads, *extracted(model, reads, detector.thumbnails, [1])[1])
    one = ImageDetector(model, config, reads, detector.shape, {1: fitted}, detector.calibration)
    with pytest.raises(ValueError, match="Vae rounds pixels to whole numbers"):
        explain(one, image_of(detector))
