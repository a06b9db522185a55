"""Images that are made like those of another set: what a control on statistics sees is gone, phases stay."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from immature_ood import datasets, registry
from immature_ood.datasets import matched, unit_of
from immature_ood.detectors import image_statistics
from immature_ood.evaluation import auroc
from immature_ood.features import Features
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.pixel_statistics import PNG, statistics
from immature_ood.planning import plan
from immature_ood.storage import read_json
from immature_ood.study import StudyError

SIDE, NUMBER = 16, 900
IMAGE = ImageConfig(side=SIDE)
SIZES = {"train": 300, "fit": 300, "test": 300}
PIXELS = arrays(np.uint8, (3, 1, 8, 8), elements=st.integers(60, 190))


def textures(slope, mean, deviation, seed, number=NUMBER):
    """(N, 1, side, side) uint8 of random phases: nothing but spectrum, mean and deviation tells them apart."""
    generator = np.random.default_rng(seed)
    distance = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    distance[0, 0] = np.inf
    x = np.fft.ifft2(np.fft.fft2(generator.normal(size=(number, SIDE, SIDE))) * distance ** (-slope / 2)).real
    x = (x - x.mean(axis=(1, 2), keepdims=True)) / x.std(axis=(1, 2), keepdims=True)
    means, deviations = (generator.normal(each, each / 30, (number, 1, 1)) for each in (mean, deviation))
    return np.clip(np.rint(means + deviations * x), 0, 255).astype(np.uint8)[:, None]


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    """Two sets that differ in spectrum, mean and deviation, and one of images of both kinds."""
    folder = tmp_path_factory.mktemp("textures")
    kinds = {"rough": (0.8, 130, 30, 0), "smooth": (1.6, 110, 22, 1)}
    for name, options in kinds.items():
        np.save(folder / f"{name}.npy", textures(*options))
    both = [textures(*options[:3], seed=2, number=NUMBER // 2) for options in kinds.values()]
    np.save(folder / "mixed.npy", np.concatenate(both))
    return {name: {"source": "array", "path": str(folder / f"{name}.npy"), **SIZES} for name in (*kinds, "mixed")}


def config_of(sections, **options):
    section = {"source": "matched", "of": sections["smooth"], "like": sections["rough"], **SIZES, **options}
    return registry.parse("datasets", section)


def split_of(section, split):
    return datasets.samples(registry.parse("datasets", section), IMAGE, None)[split].pixels


def features(pixels, split):
    number = len(pixels)
    return Features(
        dataset="set",
        split=split,
        statistics={"pixels": pixels[:, None]},
        images=np.arange(number)[:, None],
        layers=(),
        dimensions=SIDE**2,
        units=np.arange(number),
    )


def auroc_of_control(sections, pixels):
    detector = image_statistics.fit(image_statistics.Config(), features(split_of(sections["rough"], "fit"), "fit"))
    of_id = detector.score(features(split_of(sections["rough"], "test"), "test"))
    return auroc(of_id, detector.score(features(pixels, "test")))


def test_what_the_control_saw_is_gone(sections):
    before = split_of(sections["smooth"], "test")
    after = matched.load(config_of(sections), IMAGE, None)["test"].pixels
    assert auroc_of_control(sections, before) > 0.95
    assert auroc_of_control(sections, after) == pytest.approx(0.5, abs=0.06)
    of_id = statistics(split_of(sections["rough"], "test"))
    p_values = [
        ks_2samp(of_id[:, place], statistics(after)[:, place], method="asymp").pvalue for place in range(of_id.shape[1])
    ]
    assert min(p_values) > 0.01 / len(p_values)
    assert ks_2samp(of_id[:, 1], statistics(before)[:, 1], method="asymp").pvalue < 1e-9


def test_moments_are_given_and_the_spectrum_is_left(sections):
    after = matched.load(config_of(sections, given="moments"), IMAGE, None)["test"].pixels
    of_id, found = statistics(split_of(sections["rough"], "test")), statistics(after)
    assert min(ks_2samp(of_id[:, place], found[:, place], method="asymp").pvalue for place in (0, 1)) > 0.01
    assert ks_2samp(of_id[:, 4], found[:, 4], method="asymp").pvalue < 1e-9  # differences of neighbours


@given(PIXELS, PIXELS)
def test_moments_are_those_of_the_partner(images, partners):
    """To half a grey level, where nothing is clipped and the image is not flat."""
    found = matched.with_moments(images, partners).astype(float)
    for x, y, before in zip(found[:, 0], partners[:, 0].astype(float), images[:, 0].astype(float), strict=True):
        unclipped = before.std() > 0 and x.min() > 0 and x.max() < 255
        if unclipped or y.std() == 0:
            assert x.mean() == pytest.approx(y.mean(), abs=0.51)
            assert x.std() == pytest.approx(y.std() if before.std() > 0 else 0, abs=0.6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_spectrum_is_that_of_the_partner_and_phases_stay(channels):
    """By an oracle that walks over the frequencies one by one."""
    images, partners = (
        textures(*options, number=6 * channels).reshape(6, channels, SIDE, SIDE)
        for options in ((1.6, 110, 12, 1), (0.8, 130, 15, 0))
    )
    found = matched.with_spectrum(images, partners)
    for x, y, before in zip(
        found.reshape(-1, SIDE, SIDE), *(each.reshape(-1, SIDE, SIDE) for each in (partners, images)), strict=True
    ):
        assert radial(x) == pytest.approx(radial(y), rel=0.15)
        assert x.mean() == pytest.approx(y.mean(), abs=0.5)
        turned = np.angle(np.fft.fft2(x) * np.conj(np.fft.fft2(before)))
        strong = np.abs(np.fft.fft2(before)) > 100
        assert np.abs(turned[strong]).mean() < 0.15


def radial(image):
    """Amplitude by ring, up to the highest frequency that all directions have."""
    transformed, rings = np.fft.fft2(image.astype(float)), {}
    for row in range(SIDE):
        for column in range(SIDE):
            distance = round(float(np.hypot(min(row, SIDE - row), min(column, SIDE - column))))
            rings.setdefault(distance, []).append(abs(transformed[row, column]) ** 2)
    return [np.sqrt(np.mean(rings[each])) for each in range(1, SIDE // 2)]


def test_a_flat_image_becomes_flat():
    flat, partner = np.full((1, 1, 8, 8), 9, np.uint8), np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    for give in (matched.with_moments, matched.with_spectrum):
        assert {*give(flat, partner).ravel().tolist()} <= {31, 32}
        assert {*give(partner, flat).ravel().tolist()} == {9}


@pytest.mark.parametrize("chosen_by", ["png", "statistics"])
def test_images_are_chosen_that_are_like_their_partners(chosen_by, sections):
    """Of two kinds, one of which is that of the partners."""
    options = {"of": sections["mixed"], "given": None, "chosen_by": chosen_by, "train": 0, "fit": 0, "test": 100}
    chosen = matched.load(config_of(sections, **options), IMAGE, None)["test"]
    pool = split_of(sections["mixed"], "test")
    assert len({*chosen.origins}) == 100
    assert {image.tobytes() for image in chosen.pixels} < {image.tobytes() for image in pool}
    assert auroc_of_control(sections, pool) > 0.7
    assert auroc_of_control(sections, chosen.pixels) == pytest.approx(0.5, abs=0.1)
    of_id, found = (statistics(pixels)[:, PNG] for pixels in (split_of(sections["rough"], "test"), chosen.pixels))
    assert ks_2samp(of_id, found, method="asymp").pvalue > 0.01


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.data())
def test_the_choice_is_the_nearest_of_all(wanted, data):
    """In one dimension, against all ways to choose."""
    numbers = data.draw(st.lists(st.integers(0, 50), min_size=len(wanted), max_size=6))
    chosen = matched._nearest(np.array(numbers, float)[:, None], np.array(wanted, float)[:, None])

    def cost(places):
        return sum((numbers[place] - want) ** 2 for place, want in zip(places, wanted, strict=True))

    assert len({*chosen.tolist()}) == len(wanted)
    assert cost(chosen) == min(map(cost, permutations(range(len(numbers)), len(wanted))))


def test_the_manifest_says_what_images_are_made_from(tmp_path, sections):
    config = registry.parse(
        "datasets",
        {
            "source": "matched",
            "of": {"source": "glyphs", "train": 0, "fit": 0, "test": 40, "classes": ["Greek"]},
            "like": sections["rough"],
            **{"train": 0, "fit": 0, "test": 30},
        },
    )
    datasets.make("set", config, IMAGE, tmp_path, None)
    manifest = read_json(tmp_path / "manifest.json")
    assert {"matplotlib", "scipy", "pillow"} <= {*manifest["packages"]}
    test = manifest["splits"]["test"]
    assert manifest["unit"] == "letter"
    partners = [origin.partition(matched.PARTNER)[2] for origin in test["origins"]]
    assert len({*partners}) == 30
    trained_on = datasets.samples(registry.parse("datasets", sections["rough"]), IMAGE, None)["train"].origins
    assert {*partners} <= {*trained_on}
    assert all(label.startswith("Greek") for label in test["labels"])
    kind, name_of = unit_of(config)
    assert (kind, name_of(test["origins"][0])) == ("letter", test["origins"][0].split()[1])


# --- planning --------------------------------------------------------------------------------------------------------

FEW = {"features": {"fit_images": 20, "test_images": 20}, "training": {"batch_size": 20}}
SETS = {"digits": {"train": 40, "fit": 20, "test": 20}, "glyphs": {"train": 40, "fit": 20, "test": 60}}


def planned(**options):
    made = {"source": "matched", "of": "glyphs", "like": "digits", "train": 0, "fit": 0, "test": 20, **options}
    return plan({"name": "s", "epochs": [0], "id_datasets": ["digits"], "datasets": {**SETS, "made": made}, **FEW})


def test_sets_of_the_study_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = planned(chosen_by="png").datasets["made"]
    assert (made.of.source, made.of.test, made.like.source, made.like.train) == ("glyphs", 60, "digits", 40)
    again = registry.parse("datasets", made.model_dump())
    assert again == made


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"of": "glyhps"}, "datasets.made.of: unknown name 'glyhps'; did you mean 'glyphs'?"),
        ({"of": {"source": "glyhps"}}, "datasets.made.of.source: unknown name 'glyhps'; did you mean 'glyphs'?"),
        ({"test": 70}, "datasets.made.test: 70 images asked for, but of has 60; lower it, or raise of.test"),
        (
            {"test": 60, "chosen_by": "png"},
            "datasets.made.chosen_by: of has 60 test images for 60, which is no choice; raise of.test",
        ),
        (
            {"like": {"source": "digits", "train": 0, "fit": 0}},
            "datasets.made.like: has neither training nor fit images, which are to be partners",
        ),
        (
            {"of": {"source": "digits", "classes": ["one"]}},
            "datasets.made.of.classes: the source digits has no class 'one'; valid names: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        ({"of": {"source": "folder", "path": "nowhere"}}, "datasets.made.of.path: there is no folder nowhere"),
    ],
)
def test_what_cannot_be_matched_is_refused(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as error:
        planned(**options)
    assert said in str(error.value).splitlines()
