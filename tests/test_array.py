"""Images in a NumPy file: every layout, what is beside them, and what is refused by name."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from immature_ood.datasets import SPLITS, _pixels, array, make, unit_of
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images.pictures import from_array
from immature_ood.planning import plan
from immature_ood.storage import StorageError, read_json
from immature_ood.study import StudyError

GREY, COLOUR = ImageConfig(side=8), ImageConfig(channels=3, side=8)
NOWHERE = Path("/nowhere")
SIZES = {"train": 6, "fit": 3, "test": 3}


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def written(path, images, **beside):
    """The file, by its suffix, with arrays beside the images."""
    if path.suffix == ".npy":
        np.save(path, images)
    else:
        (np.savez_compressed if len(images) % 2 else np.savez)(path, images=images, **beside)
    return path


def by_row(splits):
    """The pixels by the row of the file that the origin names."""
    return {
        int(origin.partition("#")[2].partition(" ")[0]): image
        for images in splits.values()
        for origin, image in zip(images.origins, images.pixels, strict=True)
    }


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("shape", "to_channels_first", "image"),
    [
        ((12, 8, 8), lambda images: images[:, None], GREY),
        ((13, 8, 8, 1), lambda images: images.transpose(0, 3, 1, 2), GREY),
        ((12, 8, 8, 3), lambda images: images.transpose(0, 3, 1, 2), COLOUR),
        ((13, 3, 8, 8), lambda images: images, COLOUR),
        ((12, 3, 3, 3), lambda images: images, ImageConfig(channels=3, side=3)),  # of two, the second
    ],
    ids=["NHW", "NHW1", "NHWC", "NCHW", "either"],
)
def test_every_layout_is_read(shape, to_channels_first, image, suffix, tmp_path):
    images = pixels(*shape)
    path = written(tmp_path / f"mine{suffix}", images)
    splits = array.load(array.Config(path=str(path), **SIZES), image, NOWHERE)
    assert {split: len(splits[split].pixels) for split in SPLITS} == SIZES
    for row, found in by_row(splits).items():
        np.testing.assert_array_equal(found, to_channels_first(images)[row])
    assert {form for each in splits.values() for form in each.formats} == {suffix[1:].upper()}
    assert not any(each.resized for each in splits.values())


def test_the_layout_may_be_said(tmp_path):
    images = pixels(12, 3, 3, 3)
    path = written(tmp_path / "mine.npy", images)
    config = array.Config(path=str(path), layout="channels_last", **SIZES)
    for row, found in by_row(array.load(config, ImageConfig(channels=3, side=3), NOWHERE)).items():
        np.testing.assert_array_equal(found, images[row].transpose(2, 0, 1))


@pytest.mark.parametrize("order", ["C", "F"])
def test_images_of_another_size_follow_the_resizing_rule(order, tmp_path, monkeypatch):
    monkeypatch.setattr(array, "AT_ONCE", 2)
    images = pixels(12, 11, 9, 3)
    path = written(tmp_path / "mine.npy", np.asarray(images, order=order))
    splits = array.load(array.Config(path=str(path), **SIZES), GREY, NOWHERE)
    for row, found in by_row(splits).items():
        expected, _ = _pixels.to_image(from_array(images[row].transpose(2, 0, 1)), GREY)
        np.testing.assert_array_equal(found, expected)
    assert all(each.resized for each in splits.values())


def test_only_the_chosen_images_of_a_npy_are_read(tmp_path, monkeypatch):
    path = written(tmp_path / "mine.npy", pixels(12, 8, 8))
    assert isinstance(array._stored(path), np.memmap)


@pytest.mark.parametrize("kind", [str, np.bytes_])
def test_official_sets_names_and_units_are_those_of_the_file(kind, tmp_path):
    images = pixels(20, 8, 8)
    split = np.array(["train", "test"] * 10).astype(kind)
    names, unit = np.array([f"a {row}.png" for row in range(20)]), np.array([f"track {row // 4}" for row in range(20)])
    path = written(tmp_path / "mine.npz", images, split=split, names=names, unit=unit, labels=np.arange(20))
    config = array.Config(path=str(path), train=10, fit=4, test=6)
    splits = array.load(config, GREY, NOWHERE)
    rows = {each: sorted(by_row({each: splits[each]})) for each in SPLITS}
    assert rows["train"] == [*range(0, 20, 2)]
    assert sorted(rows["fit"] + rows["test"]) == [*range(1, 20, 2)]
    origin = next(each for each in splits["train"].origins if "#12 " in each)
    assert origin == "mine.npz#12 unit=track%203 name=a 12.png"
    kind, name_of = unit_of(config)
    assert (kind, name_of(origin)) == ("unit", "track%203")
    make("mine", config, GREY, tmp_path / "set", NOWHERE)
    manifest = read_json(tmp_path / "set/manifest.json")
    assert (manifest["fit_from"], manifest["unit"]) == ("test", "unit")
    assert len({*manifest["splits"]["train"]["units"]}) == 5


def test_a_file_without_split_has_no_official_sets(tmp_path):
    path = written(tmp_path / "mine.npz", pixels(12, 8, 8), names=np.arange(12))
    make("mine", array.Config(path=str(path), **SIZES), GREY, tmp_path / "set", NOWHERE)
    manifest = read_json(tmp_path / "set/manifest.json")
    assert manifest["fit_from"] is None
    assert manifest["splits"]["test"]["units"] == [0, 1, 2]


def bad_npz(**arrays):
    return lambda path: np.savez(path, **arrays)


GOOD = pixels(12, 8, 8)
FAULTS = {
    "missing": ("mine.npz", lambda path: None, "there is no file"),
    "a text": ("mine.txt", lambda path: path.write_text("1 2"), r"neither \.npy nor \.npz"),
    "floats": ("mine.npz", bad_npz(images=GOOD / 255), r"images are float64, but must be uint8; .* np\.rint\(255"),
    "floats, npy": (
        "mine.npy",
        lambda path: np.save(path, GOOD / 255),
        r"float64, but must be uint8; .* np\.rint\(255",
    ),
    "whole numbers": ("mine.npz", bad_npz(images=GOOD.astype(np.int64)), r"int64, .* images\.astype\(np\.uint8\)"),
    "truth": ("mine.npz", bad_npz(images=GOOD > 9), r"bool, .* write 255 \* images\.astype\(np\.uint8\)"),
    "texts": ("mine.npz", bad_npz(images=np.array(["a"])), "images are <U1, but must be uint8; write numbers"),
    "objects": ("mine.npz", bad_npz(images=np.array([[GOOD], None], object)), "images are Python objects, which are"),
    "objects, npy": ("mine.npy", lambda path: np.save(path, np.array([None])), "images are Python objects"),
    "a pickle": ("mine.npy", lambda path: path.write_bytes(pickle.dumps(GOOD)), "cannot be read .* another file"),
    "another key": ("mine.npz", bad_npz(image=GOOD), "there is no array 'images'; did you mean 'image'"),
    "other keys": ("mine.npz", bad_npz(x_train=GOOD, y=GOOD), "no array 'images'; valid names: x_train, y"),
    "rows": ("mine.npz", bad_npz(images=GOOD.reshape(12, -1)), r"images are \(12, 64\), but must be \(N, H, W\), "),
    "four channels": ("mine.npz", bad_npz(images=pixels(5, 8, 8, 4)), r"images are \(5, 8, 8, 4\), but must be"),
    "none": ("mine.npz", bad_npz(images=pixels(0, 8, 8)), r"images are \(0, 8, 8\), but must be"),
    "cut npy": ("mine.npy", lambda path: cut(path, 1), "has 895 of 896 bytes: it is cut off"),
    "cut header": ("mine.npy", lambda path: cut(path, 850), "cannot be read .* cut off"),
    "cut npz": ("mine.npz", lambda path: cut(path, 200), "cannot be read .* cut off"),
    "another split": (
        "mine.npz",
        bad_npz(images=GOOD, split=["val"] * 12),
        "split has 'val'; it must be train or test",
    ),
    "a short split": ("mine.npz", bad_npz(images=GOOD, split=["test"]), r"split is <U4 \(1,\), .* each of 12 images"),
    "pickled names": (
        "mine.npz",
        bad_npz(images=GOOD, names=np.array([None] * 12)),
        r"names: Object .* np\.array\(names",
    ),
}


def cut(path, number):
    written(path, GOOD)
    path.write_bytes(path.read_bytes()[:-number])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_named_with_the_mend_when_the_study_is_planned(fault, tmp_path):
    name, write, said = FAULTS[fault]
    path = tmp_path / name
    write(path)
    with pytest.raises(StudyError, match=said) as error:
        plan(study_of(path), here=False)
    lines = str(error.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["datasets.mine.path"]
    assert str(path) in lines[0]
    with pytest.raises(StudyError, match=f"^path: .*{said}"):
        array.load(array.Config(path=str(path), **SIZES), GREY, NOWHERE)


def study_of(path, **options):
    datasets = {"mine": {"source": "array", "path": str(path), **options}, "digits": {}}
    return {"name": "s", "epochs": [0], "datasets": datasets}


def test_units_that_the_file_has_not_are_named(tmp_path):
    path = written(tmp_path / "mine.npz", pixels(325, 2, 2))
    assert plan(study_of(path, unit="image"), here=False).datasets["mine"].unit == "image"
    with pytest.raises(StudyError, match=r"^datasets\.mine\.unit: there is no array 'unit' in .*mine\.npz; add it, or"):
        plan(study_of(path, unit="unit"), here=False)


def test_a_layout_that_the_images_have_not_is_named(tmp_path):
    path = written(tmp_path / "mine.npy", pixels(12, 8, 8, 3))
    with pytest.raises(StudyError, match=r"\(12, 8, 8, 3\) and layout channels_first, but must"):
        plan(study_of(path, layout="channels_first"), here=False)


@pytest.mark.parametrize("images", [GOOD // 200, np.zeros_like(GOOD)])
def test_images_of_0_and_1_are_refused(images, tmp_path):
    path = written(tmp_path / "mine.npy", images)
    with pytest.raises(StudyError, match=r"path: no pixel of .* is above 1, of 255; write 255 \* images"):
        array.load(array.Config(path=str(path), **SIZES), GREY, NOWHERE)


def test_damage_that_the_headers_do_not_show_is_named_by_the_job(tmp_path):
    path = written(tmp_path / "mine.npz", pixels(12, 32, 32))
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("images.npy").header_offset + 1000
    content = bytearray(path.read_bytes())
    content[start] ^= 255
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"mine\.npz: its images cannot be read \(Bad CRC-32 .* damaged, write it"):
        array.load(array.Config(path=str(path), **SIZES), GREY, NOWHERE)


def test_another_file_makes_the_data_anew(tmp_path):
    path = written(tmp_path / "mine.npy", GOOD)
    config = array.Config(path=str(path))
    os.utime(path, ns=(0, 10**18))
    before = config.contents()
    assert config.contents() == before
    os.utime(path, ns=(0, 10**18 + 1))
    assert config.contents() != before
    assert config.available() == {"all": 12}
    written(path, pixels(14, 8, 8))
    assert config.available() == {"all": 14}  # nothing is remembered of the file as it was


def test_a_copy_of_an_npz_without_its_time_makes_nothing_anew(tmp_path):
    config = array.Config(path=str(written(tmp_path / "mine.npz", GOOD)))
    before = config.contents()
    os.utime(config.path, ns=(0, 10**18))
    assert config.contents() == before
    others = GOOD.copy()
    others[3, 2, 1] ^= 1
    written(tmp_path / "mine.npz", others)
    assert config.contents() != before


@pytest.mark.parametrize(
    ("numbers", "options", "sizes", "caps"),
    [
        (None, {}, (156, 52, 52), (50, 50)),
        ((200, 60), {}, (200, 30, 30), (30, 30)),
        ((200, 60), {"fit_from": "train"}, (150, 50, 60), (50, 60)),
        ((5000, 4000), {}, (3000, 1000, 1000), (1000, 1000)),
    ],
)
def test_a_file_of_which_no_numbers_are_said_gets_shares(numbers, options, sizes, caps, tmp_path):
    """Of one pool 3/5, 1/5 and 1/5; of official sets half of the test images, or a quarter of the training images."""
    beside = {} if numbers is None else {"split": np.repeat(["train", "test"], numbers)}
    path = written(tmp_path / "mine.npz", pixels(sum(numbers or [260]), 2, 2), **beside)
    study = plan(study_of(path, **options), here=False)
    mine = study.datasets["mine"]
    assert (mine.train, mine.fit, mine.test) == sizes
    assert (study.features.fit_images, study.features.test_images) == caps


def test_more_images_than_an_official_set_has_are_refused(tmp_path):
    path = written(tmp_path / "mine.npz", pixels(260, 2, 2), split=np.repeat(["train", "test"], (200, 60)))
    with pytest.raises(StudyError) as error:
        plan(
            study_of(path, train=300, fit=50, test=50) | {"features": {"fit_images": 50, "test_images": 50}}, here=False
        )
    assert str(error.value).splitlines() == [
        f"datasets.mine.train: 300 images asked for, but there are 200 train images in {path}; lower them, or leave "
        "all three out for shares",
        f"datasets.mine.fit, test: 50 + 50 images asked for, but there are 60 test images in {path}; lower them, or "
        "leave all three out for shares",
    ]
