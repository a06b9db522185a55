"""The controls that see pixels alone, against a few lines of their own."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist, mahalanobis
from scipy.stats import entropy, norm
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from test_detectors import fitted_to, having, make_features

from immature_ood import registry
from immature_ood.config import Kept, Place
from immature_ood.detectors._pixels import statistics
from immature_ood.detectors.spectrum_slope import slopes

CONTROLS = [
    name for name in registry.names("detectors") if getattr(registry.config_class("detectors", name), "control", False)
]


def pictures(groups, b=1, channels=3, seed=0):
    features = make_features(groups, b, seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (groups, b, channels, 6, 6), dtype=np.uint8)
    return having(features, pixels=pixels)


def test_the_controls_are_those_that_read_pixels_alone():
    needs = {name: registry.parse("detectors", {"detector": name}).needs() for name in registry.names("detectors")}
    assert [name for name, needed in needs.items() if needed == ("pixels",)] == CONTROLS
    assert {"image_statistics", "pixels_knn", "pixels_mahalanobis", "spectrum_slope"} <= {*CONTROLS}


@pytest.mark.parametrize(("channels", "numbers"), [(1, 8), (3, 13)])
def test_the_statistics_of_an_image(channels, numbers):
    image = pictures(1, channels=channels).of("pixels")[0, 0]
    found = statistics(image[None])[0]
    assert len(found) == numbers
    x = image.astype(float)
    rows = np.mean([abs(x[c, i, j + 1] - x[c, i, j]) for c in range(channels) for i in range(6) for j in range(5)])
    columns = np.mean([abs(x[c, i + 1, j] - x[c, i, j]) for c in range(channels) for i in range(5) for j in range(6)])
    second = np.mean([abs(x[c, i, j + 2] - 2 * x[c, i, j + 1] + x[c, i, j]) for c, i, j in np.ndindex(channels, 6, 4)])
    np.testing.assert_allclose(found[:4], [x.mean(), x.std(), x.min(), x.max()])
    np.testing.assert_allclose(found[4:7], np.log(np.array([rows, columns, second]) + 1e-3))
    file = io.BytesIO()
    Image.fromarray(image[0] if channels == 1 else image.transpose(1, 2, 0)).save(file, "PNG", compress_level=6)
    assert found[7] == np.log(len(file.getvalue()))
    if channels == 3:
        differences = [np.abs(x[0] - x[1]).mean(), np.abs(x[1] - x[2]).mean()]
        np.testing.assert_allclose(found[8:], [*(channel.mean() for channel in x), *differences])


@pytest.mark.parametrize("b", [1, 5])
def test_image_statistics_are_the_mahalanobis_distance_of_a_groups_mean(b):
    fit, test = pictures(40, b), pictures(7, b, seed=1)
    mean_of = [np.array([statistics(group).mean(axis=0) for group in one.of("pixels")]) for one in (fit, test)]
    deviation = np.where(np.ptp(mean_of[0], axis=0) > 0, mean_of[0].std(axis=0), 1)
    varies = np.ptp(mean_of[0], axis=0) > 0
    first, second = ((each / deviation)[:, varies] for each in mean_of)
    covariance = LedoitWolf().fit(first)
    expected = [mahalanobis(each, covariance.location_, covariance.precision_) for each in second]
    np.testing.assert_allclose(fitted_to("image_statistics", fit).score(test), expected)
    nearest = np.sort(cdist(second, first), axis=1)[:, 2]
    np.testing.assert_allclose(fitted_to("image_statistics", fit, density="knn", neighbours=3).score(test), nearest)


def test_pixels_are_brought_to_their_principal_components():
    fit, test = pictures(40), pictures(7, seed=1)
    pca = PCA(4, whiten=True, svd_solver="full").fit(fit.of("pixels").reshape(40, -1).astype(float))
    first, second = (pca.transform(one.of("pixels").reshape(len(one.units), -1).astype(float)) for one in (fit, test))
    nearest = np.sort(cdist(second, first), axis=1)[:, 1] * np.sqrt(40 / 39)  # it divides by N − 1
    np.testing.assert_allclose(fitted_to("pixels_knn", fit, components=4, neighbours=2).score(test), nearest)


def slope_by_definition(channel):
    """Of (H, W): a discrete Fourier transform as a sum over pixels, a loop over frequencies, a line by polyfit."""
    height, width = channel.shape
    rings = {}
    for u, v in np.ndindex(height, width):
        signed = [(k + side // 2) % side - side // 2 for k, side in ((u, height), (v, width))]
        waves = np.add.outer(u * np.arange(height) / height, v * np.arange(width) / width)
        power = abs((channel * np.exp(-2j * np.pi * waves)).sum()) ** 2 / channel.size
        radius = min(height, width) * np.sqrt((signed[0] / height) ** 2 + (signed[1] / width) ** 2)
        rings.setdefault(round(radius), []).append(power)
    used = np.arange(1, min(height, width) // 2 + 1)
    return np.polyfit(np.log(used), [np.log(np.mean(rings[r]) + 1 / 12) for r in used], 1)[0]


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 6, 6), (1, 7, 7), (2, 5, 9), (3, 12, 4), (1, 28, 28)])
def test_the_slope_is_that_of_a_line_through_the_rings(shape):
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    expected = [np.mean([slope_by_definition(channel) for channel in image]) for image in images.astype(np.float64)]
    np.testing.assert_allclose(slopes(images), expected, rtol=1e-9)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_the_slope_of_noise_whose_power_falls_as_a_power_of_frequency(exponent):
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
    frequency[0, 0] = np.inf
    white = np.random.default_rng(0).normal(size=(200, 1, 32, 32))
    noise = np.fft.ifft2(np.fft.fft2(white) * frequency ** (-exponent / 2)).real
    images = np.clip(128 + 30 * noise / noise.std(), 0, 255).astype(np.uint8)
    assert slopes(images).mean() == pytest.approx(-exponent, abs=0.15)  # clipped and rounded; a ring has a width


def test_an_image_of_one_colour_has_the_slope_of_rounding():
    np.testing.assert_allclose(slopes(np.full((1, 3, 8, 8), 77, dtype=np.uint8)), 0, atol=1e-9)


@pytest.mark.parametrize("b", [1, 5])
def test_the_slope_is_scored_by_how_many_deviations_it_is_off(b):
    fit, test = pictures(40, b), pictures(7, b, seed=1)
    known, found = (
        [np.mean([slope_by_definition(channel) for image in group for channel in image]) for group in one.of("pixels")]
        for one in (fit, test)
    )
    expected = np.sqrt(
        -2 * (norm.logpdf(found, np.mean(known), np.std(known)) + np.log(np.std(known) * np.sqrt(2 * np.pi)))
    )
    np.testing.assert_allclose(fitted_to("spectrum_slope", fit).score(test), expected, rtol=1e-6)


def test_images_without_two_frequencies_are_refused():
    small = having(make_features(9), pixels=np.zeros((9, 1, 1, 3, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match="images of 3×8 pixels have no two frequencies"):
        fitted_to("spectrum_slope", small)


@pytest.mark.parametrize("name", CONTROLS)
def test_images_that_are_all_alike_are_refused(name):
    alike = having(make_features(), pixels=np.zeros((200, 1, 1, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"digits/fit: no .* varies over 200 groups"):
        fitted_to(name, alike)


def places_of(name, own, kept, **options):
    config = registry.parse("detectors", {"detector": name, **options})
    return [place.epoch for place in config.reads(Place("glow", 0, own), Kept(("glow",), (0,), kept))]


def test_untrained_is_the_score_at_epoch_0():
    assert places_of("untrained", 4, (0, 1, 4)) == [0]
    fit, test = make_features(), make_features(9, seed=1)
    found = fitted_to("untrained", fit, of={"detector": "likelihood"})
    np.testing.assert_array_equal(found.score(test), -test.log_prob)
    config = registry.parse("detectors", {"detector": "untrained"})
    assert [*config.faults(Kept(("glow",), (0,), (1, 4)))] == ["of: epoch 0 is not kept; add it to epochs"]


def test_the_model_of_another_set_is_that_of_the_next_or_of_the_one_that_is_named():
    kept = Kept(("glow",), (0,), (0, 4), ("a", "b", "c"))

    def trained_on(own, **options):
        config = registry.parse("detectors", {"detector": "trained_elsewhere", **options})
        return [place.id for place in config.reads(Place("glow", 0, 4, own), kept)]

    assert [trained_on(own) for own in ("a", "b", "c", "of samples")] == [["b"], ["c"], ["a"], []]
    assert [trained_on(own, trained_on="b") for own in ("a", "b", "c")] == [["b"], [], ["b"]]
    config = registry.parse("detectors", {"detector": "trained_elsewhere", "of": {"detector": "untrained"}})
    assert [*config.reads(Place("glow", 0, 4, "a"), kept)] == [Place("glow", 0, 0, "b")]


@pytest.mark.parametrize(
    ("options", "id_datasets", "line"),
    [
        ({}, ("a",), "trained_on: the study has one ID data set with images of its own; add another to id_datasets"),
        ({"trained_on": "glyps"}, ("a", "glyphs"), "trained_on: 'glyps' is not among the ID data sets; did you mean"),
        ({"of": {"detector": "waic"}}, ("a", "b"), "of: reads all seeds together, which this cannot"),
        ({"of": {"detector": "untrained"}}, ("a", "b"), "of.of: epoch 0 is not kept; add it to epochs"),
    ],
)
def test_what_is_wrong_with_a_model_of_another_set_is_said(options, id_datasets, line):
    config = registry.parse("detectors", {"detector": "trained_elsewhere", **options})
    assert [each[: len(line)] for each in config.faults(Kept(("glow",), (0, 1), (1, 4), id_datasets))] == [line]


def test_ranks_are_averaged_over_epochs():
    assert [places_of("over_epochs", own, (0, 1, 4, 8), epochs=3) for own in (8, 0)] == [[8, 4, 1], [0]]
    fit, test = ([make_features(40, seed=seed + e) for e in (0, 9)] for seed in (0, 1))
    found = fitted_to("over_epochs", *fit, of={"detector": "likelihood"}, epochs=2)
    expected = np.zeros(40)
    for held_out, one in zip(fit, test, strict=True):
        known, score = -held_out.log_prob[1::2], -one.log_prob
        inside = score < np.sort(known)[-5]
        p_value = np.array([(1 + np.count_nonzero(known >= each)) / 21 for each in score])
        expected -= 2 * np.log(p_value)
        expected[~inside] = np.nan  # in the tail
    compared = np.isfinite(expected)
    assert compared.sum() > 10
    gap = found.score(test[0], test[1])[compared] - expected[compared]
    assert (gap <= 1e-9).all()  # between two held-out scores −log p is interpolated
    assert np.abs(gap).max() < 4 * np.log(2)


@pytest.mark.parametrize("wrapper", ["untrained", "over_epochs", "combined"])
@pytest.mark.parametrize(
    ("section", "reads_weights"),
    [
        ({"detector": "gradient_norms"}, True),
        ({"detector": "gradient_norms", "layers": "without_weights"}, False),
        ({"detector": "likelihood"}, False),
        ({"detector": "untrained", "of": {"detector": "gradient_norms_knn", "layers": "without_weights"}}, False),
    ],
)
def test_a_detector_of_others_reads_weights_if_they_do(wrapper, section, reads_weights):
    options = {"parts": {"one": section}} if wrapper == "combined" else {"of": section}
    assert registry.parse("detectors", {"detector": wrapper, **options}).reads_weights() == reads_weights


# Bytes ---------------------------------------------------------------------------------------------------------------


def text(groups, b, letters, seed=0):
    drawn = np.random.default_rng(seed).choice([*letters], (groups, b, 64)).astype(np.uint8)
    return having(make_features(groups, b, seed), pixels=drawn)


@pytest.mark.parametrize("b", [1, 5])
def test_the_compression_length_is_how_far_the_mean_length_is_from_the_usual(b):
    fit, test = text(40, b, b"etaoin shrdlu"), text(7, b, b"et", seed=1)
    lengths = [
        np.array([np.mean([len(zlib.compress(each.tobytes(), 9)) for each in group]) for group in one.of("pixels")])
        for one in (fit, test)
    ]
    expected = np.abs(lengths[1] - lengths[0].mean()) / lengths[0].std()
    np.testing.assert_allclose(fitted_to("compression_length", fit).score(test), expected)
    assert expected.min() > 3  # text of two letters is shorter


def test_samples_that_all_compress_alike_are_refused():
    alike = having(make_features(9), pixels=np.zeros((9, 1, 64), np.uint8))
    with pytest.raises(ValueError, match="digits/fit: no length after compression"):
        fitted_to("compression_length", alike)


@pytest.mark.parametrize("b", [1, 5])
def test_the_histogram_of_bytes_is_compared_by_divergence(b):
    fit, test = text(40, b, b"etaoin shrdlu"), text(7, b, b"etaoinx", seed=1)
    p, q = (
        np.array([[np.sum(group == level) for level in range(256)] for group in one.of("pixels")])
        for one in (fit, test)
    )
    expected = [entropy(of_group, p.sum(axis=0) + 0.5) for of_group in q]
    np.testing.assert_allclose(fitted_to("byte_histogram", fit).score(test), expected)


def test_the_histogram_knows_no_order():
    fit, test = text(40, 2, b"etaoin shrdlu"), text(7, 2, b"etaoinx", seed=1)
    backwards = having(test, pixels=test.of("pixels")[:, ::-1, ::-1])
    detector = fitted_to("byte_histogram", fit)
    np.testing.assert_array_equal(detector.score(backwards), detector.score(test))


def test_the_histogram_is_of_bytes():
    with pytest.raises(ValueError, match="digits/fit: a histogram of bytes is of uint8, not of int16"):
        fitted_to("byte_histogram", having(make_features(9), pixels=np.zeros((9, 1, 64), np.int16)))
