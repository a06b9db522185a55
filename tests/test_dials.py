"""Each dial changes one thing: what it keeps is kept, at 0 all, and of each image by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from immature_ood.dials import DIALS, turn

AMOUNTS = st.floats(0, 1)
IMAGES = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9).flatmap(
    lambda shape: st.sampled_from([1, 3]).flatmap(
        lambda channels: arrays(np.uint8, (shape[0], channels, *shape[1:]), elements=st.integers(0, 255))
    )
)
STEPS = (0, 0.1, 0.25, 0.5, 0.75, 1)


@pytest.fixture(scope="module")
def photos():
    """Patches of a photograph, grey, 28 by 28, of middling contrast: (40, 1, 28, 28)."""
    from skimage import data

    photo = np.asarray(data.camera())[256:480, 140:280]
    patches = photo.reshape(8, 28, 5, 28).swapaxes(1, 2).reshape(40, 1, 28, 28)
    return (64 + patches // 2).astype(np.uint8)


def distances(images, dial):
    """The mean squared distance of images turned by each of STEPS."""
    return [np.mean((turn(images, dial, step).astype(float) - images) ** 2) for step in STEPS]


@pytest.mark.parametrize("dial", DIALS)
@settings(max_examples=30)
@given(images=IMAGES)
def test_nothing_is_changed_at_0(dial, images):
    before = images.copy()
    np.testing.assert_array_equal(turn(images, dial, 0), before)


@pytest.mark.parametrize("dial", DIALS)
@settings(max_examples=30)
@given(images=IMAGES, amount=AMOUNTS, data=st.data())
def test_an_image_is_changed_by_itself(dial, images, amount, data):
    before = images.copy()
    changed = turn(images, dial, amount)
    assert (changed.dtype, changed.shape, changed.flags.c_contiguous) == (np.uint8, images.shape, True)
    assert not np.shares_memory(changed, images)
    np.testing.assert_array_equal(images, before)
    order = data.draw(st.permutations(range(len(images))))
    some = order[: data.draw(st.integers(0, len(images)))]
    np.testing.assert_array_equal(turn(images[some], dial, amount), changed[some])


@pytest.mark.parametrize("dial", DIALS)
def test_something_is_changed_above_0(photos, dial):
    assert (turn(photos, dial, 0.4) != photos).any((1, 2, 3)).all()


@pytest.mark.parametrize(
    "dial", ["blur", "contrast", "brightness", "noise", "occlusion", "jpeg", "resize", "grey_levels"]
)
def test_more_is_farther(photos, dial):
    assert (np.diff(distances(photos, dial)) > 0).all()


@given(images=IMAGES, amount=AMOUNTS)
def test_blur_and_contrast_keep_the_mean_of_each_channel(images, amount):
    for dial in ("blur", "contrast"):
        np.testing.assert_allclose(turn(images, dial, amount).mean((2, 3)), images.mean((2, 3)), atol=0.501)


def test_blur_is_the_heat_equation(photos):
    """SciPy's sampled Gaussian does the same: of a deviation of an eighth of the side at the most."""
    from scipy.ndimage import gaussian_filter

    expected = gaussian_filter(photos.astype(float), (0, 0, 1.75, 1.75), mode="reflect", truncate=8)
    assert np.abs(turn(photos, "blur", 0.5) - expected).max() <= 0.51


def test_contrast_is_scaled(photos):
    np.testing.assert_allclose(turn(photos, "contrast", 0.5).std((2, 3)), photos.std((2, 3)) / 2, atol=0.3)
    assert (np.ptp(turn(photos, "contrast", 1), axis=(2, 3)) == 0).all()


@pytest.mark.parametrize("amount", [0.5, 1, 1.0])
@given(images=IMAGES)
def test_brightness_keeps_differences_that_are_not_clipped(amount, images):
    changed = turn(images, "brightness", amount)
    np.testing.assert_array_equal(changed, np.minimum(images.astype(int) + 128 * amount, 255))


@pytest.mark.parametrize("dial", DIALS)
def test_a_whole_number_is_an_amount(photos, dial):
    np.testing.assert_array_equal(turn(photos, dial, 1), turn(photos, dial, 1.0))


@given(images=IMAGES, amount=AMOUNTS)
def test_grey_levels_are_evenly_spaced(images, amount):
    levels = round(2 ** (8 - 7 * amount))
    even = {round(255 * level / (levels - 1)) for level in range(levels)}
    changed = turn(images, "grey_levels", amount)
    assert {*changed.ravel().tolist()} <= even
    assert np.abs(changed.astype(float) - images).max() <= 255 / (levels - 1) / 2 + 0.5


@given(images=IMAGES, amount=AMOUNTS)
def test_shuffled_patches_keep_all_pixels(images, amount):
    changed = turn(images, "patch_shuffle", amount)
    for one, other in zip(changed, images, strict=True):
        colours, others = (sorted(map(tuple, image.reshape(len(image), -1).T.tolist())) for image in (one, other))
        assert colours == others


@pytest.mark.parametrize(("amount", "side"), [(0.01, 14), (0.2, 14), (0.4, 7), (0.5, 4), (0.8, 2), (1, 1)])
def test_shuffled_patches_are_whole(photos, amount, side):
    def patches(image):
        tiles = image.reshape(28 // side, side, 28 // side, side).swapaxes(1, 2).reshape(-1, side * side)
        return sorted(map(bytes, tiles))

    changed = turn(photos, "patch_shuffle", amount)
    assert [patches(image[0]) for image in changed] == [patches(image[0]) for image in photos]
    assert (changed != photos).any((1, 2, 3)).sum() > 30  # of 40: one order of 24 leaves four patches where they are


@pytest.mark.parametrize("amount", [0.3, 1])
def test_random_phases_keep_the_amplitudes(amount):
    """Of images whose deviation is so small that nothing is clipped, to what rounding makes of them."""
    generator = np.random.default_rng(3)
    for shape in [(5, 1, 28, 28), (5, 3, 9, 12)]:
        images = np.cumsum(generator.integers(-2, 3, shape), axis=3)
        images = (128 + images - images.mean((2, 3), keepdims=True)).round().astype(np.uint8)
        changed = turn(images, "phase", amount)
        before, after = (np.abs(np.fft.fft2(each)) for each in (images, changed))
        rounding = 6 * np.sqrt(np.prod(shape[2:]) / 12)
        assert np.abs(before - after).max() < rounding < before.max() / 10
        np.testing.assert_allclose(changed.mean((2, 3)), images.mean((2, 3)), atol=0.5)
        assert (changed != images).mean() > 0.5


def test_random_phases_are_alike_in_all_channels():
    grey = np.random.default_rng(5).integers(100, 156, (2, 1, 12, 12), np.uint8)
    changed = turn(np.repeat(grey, 3, axis=1), "phase", 1)
    np.testing.assert_array_equal(changed[:, :1], changed[:, 1:2])


def test_whole_random_phases_leave_no_shape(photos):
    """An image and the same with random phases have hardly more in common than strangers."""
    deviations = [each - each.mean((2, 3), keepdims=True) for each in (photos, turn(photos, "phase", 1).astype(float))]
    before, after = (each / np.linalg.norm(each, axis=(2, 3), keepdims=True) for each in deviations)
    assert abs((before * after).sum((1, 2, 3)).mean()) < 0.2


@given(amount=AMOUNTS)
def test_noise_has_the_deviation_it_says(amount):
    grey = np.full((4, 3, 30, 30), 128, np.uint8)
    added = turn(grey, "noise", amount).astype(float) - 128
    assert abs(added.mean()) < 3
    assert abs(added.std() - 64 * amount) < 4
    assert np.unique(turn(grey, "noise", 1), axis=0).shape[0] == 1  # the same image, the same noise


@pytest.mark.parametrize("amount", [0.1, 0.5, 1])
def test_occlusion_covers_its_share_in_the_mean_colour(photos, amount):
    changed = turn(photos, "occlusion", amount)
    side = round(28 * amount**0.5)
    for before, after in zip(photos[:, 0], changed[:, 0], strict=True):
        rows, columns = (np.flatnonzero((before != after).any(axis)) for axis in (1, 0))
        assert rows[-1] - rows[0] < side
        assert columns[-1] - columns[0] < side
        assert {*after[before != after].tolist()} == {round(before.mean())}
    assert (changed != photos).mean() > 0.8 * (side / 28) ** 2  # some are of the mean colour


def test_rotation_by_a_right_angle_is_exact(photos):
    np.testing.assert_array_equal(turn(photos, "rotation", 1), np.rot90(photos, axes=(2, 3)))


def test_rotation_is_that_of_pillow_inside(photos):
    """Pillow turns counter-clockwise, too; corners, which it leaves black, apart."""
    bilinear = Image.Resampling.BILINEAR
    expected = np.stack([np.asarray(Image.fromarray(image[0]).rotate(30, bilinear)) for image in photos])
    inside = np.s_[:, 8:20, 8:20]
    assert np.abs(turn(photos, "rotation", 1 / 3)[:, 0][inside].astype(int) - expected[inside]).max() <= 2


@given(images=IMAGES, amount=AMOUNTS)
def test_inversion_undoes_itself(images, amount):
    np.testing.assert_array_equal(turn(turn(images, "inversion", 1), "inversion", 1), images)
    np.testing.assert_array_equal(turn(images, "inversion", 1), 255 - images)
    mirrored = 255 - turn(images, "inversion", 1 - amount).astype(int)
    assert np.abs(mirrored - turn(images, "inversion", amount)).max() <= 1


def test_half_an_inversion_is_grey(photos):
    assert (turn(photos, "inversion", 0.5) == 128).all()  # 127.5, to even


def test_jpeg_is_that_of_the_quality(photos, tmp_path):
    Image.fromarray(photos[0, 0]).save(tmp_path / "image.jpg", quality=50)
    expected = np.asarray(Image.open(tmp_path / "image.jpg"))
    np.testing.assert_array_equal(turn(photos, "jpeg", 50 / 99)[0, 0], expected)


def test_jpeg_keeps_the_colours_apart():
    red = np.zeros((1, 3, 16, 16), np.uint8)
    red[:, 0, :, 8:] = 255
    changed = turn(red, "jpeg", 0.1).astype(int)
    assert np.abs(changed - red).max() < 20
    with pytest.raises(ValueError, match="dial: jpeg stores 1 or 3 channels, not 2; choose another dial"):
        turn(red[:, :2], "jpeg", 0.5)


def test_resizing_to_fewer_pixels_leaves_what_they_hold():
    """At 1/3 every second pixel is left: of stripes one pixel wide nothing but their mean."""
    stripes = np.zeros((1, 1, 32, 32), np.uint8)
    stripes[..., ::2] = 200
    inner = turn(stripes, "resize", 1 / 3)[..., 2:-2]
    assert np.abs(inner.astype(int) - 100).max() <= 26
    assert turn(np.full((1, 3, 28, 28), 7, np.uint8), "resize", 1).tolist() == np.full((1, 3, 28, 28), 7).tolist()


def test_it_says_what_is_to_be_mended(photos):
    with pytest.raises(ValueError, match="dial: unknown name 'blurr'; did you mean 'blur'"):
        turn(photos, "blurr", 0.5)
    for amount in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="amount: must be from 0, nothing, to 1, the most"):
            turn(photos, "blur", amount)
    with pytest.raises(ValueError, match="must be uint8"):
        turn(photos / 255, "blur", 0.5)


def test_of_no_images_there_is_nothing_to_change():
    none = np.zeros((0, 1, 28, 28), np.uint8)
    assert [turn(none, dial, 0.5).shape for dial in DIALS] == [none.shape] * len(DIALS)
