"""torchvision's data sets: what is read of its text, archives in true formats, and what is refused by name."""

import bz2
import gzip
import hashlib
import inspect
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import archives
import numpy as np
import pytest
import torch
from oracle import import_torchvision

from immature_ood import registry
from immature_ood.datasets import SPLITS, _torchvision, make
from immature_ood.datasets import torchvision as source
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.planning import plan
from immature_ood.storage import StorageError, read_json
from immature_ood.study import StudyError

datasets = import_torchvision().datasets
GREY, COLOUR = ImageConfig(), ImageConfig(channels=3, side=32)
SIZES = {"train": 30, "fit": 10, "test": 20}


def section(dataset, **options):
    return source.Config(dataset=dataset, **{**SIZES, **options})


def load(data_dir, dataset, image=GREY, **options):
    return source.load(section(dataset, **options), image, data_dir)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with archives.serve(tmp_path_factory.mktemp("served")) as running:
        running.folder = Path(running.RequestHandlerClass.keywords["directory"])
        yield running


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


# --- what is read of its text ----------------------------------------------------------------------------------------


def test_its_classes_and_their_arguments_are_those_that_an_import_finds():
    kinds = {name for name in datasets.__all__ if inspect.isclass(getattr(datasets, name))}
    assert {*source.classes()} == kinds - source.NO_SETS
    for name, known in source.classes().items():
        parameters = dict(inspect.signature(getattr(datasets, name)).parameters)
        parameters.pop("kwargs", None)
        assert {*parameters} <= {*known.arguments}, name
        needed = {each for each, parameter in parameters.items() if parameter.default is parameter.empty}
        assert needed == {each for each in parameters if known.arguments[each]}, name
    assert [name for name, known in source.classes().items() if {"train", "split"} <= {*known.options}] == ["EMNIST"]
    assert sum(known.page.startswith("http") for known in source.classes().values()) > 40


def test_a_study_is_planned_without_importing_torch():
    program = (
        "import sys; from immature_ood.planning import plan; "
        "plan({'name': 's', 'epochs': [0], 'datasets': {'a': {'source': 'torchvision', 'dataset': 'USPS'}, "
        "'digits': {}}}, here=False); print(*{'torch', 'torchvision', 'PIL'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize(
    ("dataset", "options", "train", "test"),
    [
        ("USPS", {}, {"train": True}, {"train": False}),
        ("SVHN", {}, {"split": "train"}, {"split": "test"}),
        (
            *("EMNIST", {"options": {"split": "letters"}}),
            *({"train": True, "split": "letters"}, {"train": False, "split": "letters"}),
        ),
        ("ImageNet", {"test_options": {"split": "val"}}, {"split": "train"}, {"split": "val"}),
        (
            *("STL10", {"train_options": {"split": "unlabeled"}, "options": {"folds": 3}}),
            *({"split": "unlabeled", "folds": 3}, {"split": "test", "folds": 3}),
        ),
        ("SVHN", {"options": {"split": "extra"}}, {"split": "extra"}, {"split": "extra"}),
        ("SEMEION", {}, {}, {}),
        ("FakeData", {"test_options": {"size": 5}}, {}, {"size": 5}),
    ],
)
def test_options_of_the_official_sets_follow_from_the_signature_and_the_study(dataset, options, train, test):
    config = section(dataset, **options)
    assert [*config.faults()] == []
    assert (config.arguments("train"), config.arguments("test")) == (train, test)
    assert {*config.available()} == ({"all"} if train == test else {"train", "test"})


FAULTS = {
    "case": ({"dataset": "Emnist"}, r"dataset: torchvision [\d.+a-z]+ has no 'Emnist'; did you mean 'EMNIST'\?"),
    "class": ({"dataset": "Flower102"}, "dataset: .* has no 'Flower102'; did you mean 'Flowers102'"),
    "folder": ({"dataset": "ImageFolder"}, "dataset: .* has no 'ImageFolder'"),
    "option": (
        {"dataset": "EMNIST", "options": {"splits": "letters"}},
        "options.splits: EMNIST has no such option; did",
    ),
    "for test": ({"dataset": "USPS", "test_options": {"trian": True}}, "test_options.trian: USPS .* mean 'train'"),
    "ours": ({"dataset": "USPS", "options": {"root": "there"}}, "options.root: USPS has no such option"),
    "none": (
        {"dataset": "SEMEION", "options": {"split": "a"}},
        "options.split: SEMEION has no such option; it has none",
    ),
    "missing": ({"dataset": "EMNIST"}, "options.split: is missing; EMNIST needs it"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unknown_names_are_told_when_the_study_is_planned_and_before_any_download(fault, tmp_path):
    options, said = FAULTS[fault]
    with pytest.raises(StudyError, match=f"^datasets.mine.{said}"):
        plan(
            {"name": "s", "epochs": [0], "datasets": {"mine": {"source": "torchvision", **options}, "digits": {}}},
            here=False,
        )
    with pytest.raises(StudyError, match=f"^{said}"):
        source.load(source.Config(**options), GREY, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_without_torchvision_a_study_is_planned_and_the_job_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "classes", dict)
    config = section("Emnist")
    assert [*config.faults()] == []
    assert config.available() == {}
    with pytest.raises(StudyError, match=r"source: torchvision is not installed where .* pip install torchvision, of"):
        source.load(config, GREY, tmp_path)


def test_remarks_say_where_files_come_from_and_where_terms_are():
    here = Path("data")
    downloaded = [*section("EMNIST", options={"split": "letters"}).remarks(here)]
    assert downloaded == [
        "torchvision downloads EMNIST to data/torchvision if it is not there (size not known)",
        "terms of use of EMNIST: torchvision does not tell; see "
        "https://www.westernsydney.edu.au/bens/home/reproducible_research/emnist",
    ]
    assert "has no download of it" in next(section("FER2013").remarks(here))


# --- archives in true formats ----------------------------------------------------------------------------------------


def build_emnist(folder, train, test):
    """The archive of all six splits: here of the letters alone. Each picture lies on its side."""
    members = {}
    for part, images in (("train", train), ("test", test)):
        prefix = f"gzip/emnist-letters-{part}"
        members[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(archives.idx(images.transpose(0, 2, 1)))
        members[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(archives.idx(np.arange(len(images)) % 26 + 1))
    archives.write_zip(folder / "gzip.zip", members)


def test_emnist_is_downloaded_once_and_every_image_is_as_in_its_file(server, tmp_path):
    ink = archives.letters(70, 28)
    build_emnist(server.folder, ink[:40], ink[40:])
    options = {"options": {"split": "letters"}}
    address = {"url": f"{server.url}/gzip.zip", "md5": md5(server.folder / "gzip.zip")}
    with mock.patch.multiple(datasets.EMNIST, **address):
        make("letters", section("EMNIST", **options), GREY, tmp_path / "set", tmp_path)
        asked = len(server.asked)
        splits = load(tmp_path, "EMNIST", **options)
    assert asked == len(server.asked) > 0
    assert (tmp_path / "torchvision/EMNIST/raw/emnist-letters-train-images-idx3-ubyte").exists()
    for split in SPLITS:
        part, first = ("train", 0) if split == "train" else ("test", 40)
        for origin, image in zip(splits[split].origins, splits[split].pixels, strict=True):
            name, _, row = origin.partition("#")
            assert name == f"EMNIST/{part}"
            np.testing.assert_array_equal(image[0], ink[first + int(row)].T)
        assert {*splits[split].formats} == {"array"}
    manifest = read_json(tmp_path / "set/manifest.json")
    assert manifest["fit_from"] == "test"
    assert {"torchvision", "torch", "pillow"} < {*manifest["packages"]}


def build_usps(path, images):
    """Lines of a label and 256 values from -1 to 1, as LIBSVM has it."""
    rows = (images.reshape(len(images), -1) / 127.5 - 1).tolist()
    lines = [" ".join(["1", *(f"{i}:{value:.6f}" for i, value in enumerate(row, 1))]) for row in rows]
    path.write_bytes(bz2.compress("\n".join(lines).encode()))


def test_usps_from_its_own_format(server, tmp_path):
    ink = archives.letters(60, 16)
    table = {}
    for part, images in (("train", ink[:30]), ("test", ink[30:])):
        build_usps(server.folder / f"{part}.bz2", images)
        table[part] = [f"{server.url}/{part}.bz2", f"{part}.bz2", md5(server.folder / f"{part}.bz2")]
    with mock.patch.object(datasets.USPS, "split_list", table):
        splits = load(tmp_path, "USPS", ImageConfig(side=16), fit_from="test")
    for origin, image in zip(splits["train"].origins, splits["train"].pixels, strict=True):
        expected = ink[int(origin.removeprefix("USPS/train#"))].astype(int)
        assert np.abs(image[0] - expected).max() <= 1


def test_pictures_put_there_by_hand_follow_the_resizing_rule_and_keep_their_format(tmp_path):
    """DTD: what torchvision's readers give is converted, and has lost the name of its format."""
    root = tmp_path / "torchvision/dtd/dtd"
    (root / "labels").mkdir(parents=True)
    (root / "images/banded").mkdir(parents=True)
    for number, crop in enumerate(archives.crops("coffee.png", 60, [(60, 40)])):
        (root / f"images/banded/{number}.jpg").write_bytes(archives.encoded(crop, "JPEG"))
    for part, numbers in (("train", range(30)), ("test", range(30, 60))):
        (root / f"labels/{part}1.txt").write_text("".join(f"banded/{number}.jpg\n" for number in numbers))
    splits = load(tmp_path, "DTD", COLOUR)
    assert {form for images in splits.values() for form in images.formats} == {"JPEG"}
    assert all(images.resized for images in splits.values())
    make("textures", section("DTD"), COLOUR, tmp_path / "set", tmp_path)
    assert read_json(tmp_path / "set/manifest.json")["lossy"] is True
    origin, pixels = splits["test"].origins[0], splits["test"].pixels[0]
    picture, _ = datasets.DTD(tmp_path / "torchvision", split="test")[int(origin.removeprefix("DTD/test#"))]
    np.testing.assert_array_equal(pixels, _torchvision.to_image(picture, COLOUR)[0])


def test_without_official_sets_images_are_dealt_from_one_pool(tmp_path):
    splits = load(tmp_path, "FakeData", COLOUR, options={"size": 60, "image_size": [3, 32, 32]})
    numbers = [int(origin.removeprefix("FakeData#")) for images in splits.values() for origin in images.origins]
    assert sorted(numbers) == [*range(60)]
    number = int(splits["train"].origins[0].removeprefix("FakeData#"))
    expected = np.asarray(datasets.FakeData(60, (3, 32, 32))[number][0]).transpose(2, 0, 1)
    np.testing.assert_array_equal(splits["train"].pixels[0], expected)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "options", "kind", "said"),
    [
        (
            "EMNIST",
            {"options": {"split": "leters"}},
            StudyError,
            "^options: EMNIST: Unknown value 'leters' for argument split",
        ),
        ("FakeData", {"options": {"size": "many"}}, StorageError, "FakeData cannot be had|cannot be read"),
        (
            "FER2013",
            {},
            StorageError,
            r"FER2013 cannot be had \(.*\); see https://.*kaggle.*, put its files below .*/tor",
        ),
    ],
)
def test_what_torchvision_refuses_is_named(dataset, options, kind, said, tmp_path):
    with pytest.raises(kind, match=said):
        load(tmp_path, dataset, **options)


def test_a_download_that_fails_is_named(server, tmp_path):
    table = {part: [f"{server.url}/nothing.bz2", "nothing.bz2", "0" * 32] for part in ("train", "test")}
    with (
        mock.patch.object(datasets.USPS, "split_list", table),
        pytest.raises(StorageError, match=r"USPS cannot be had \(.*404.*\); see https://.*, put its files below"),
    ):
        load(tmp_path, "USPS")


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, place: (torch.zeros(3, 8, 8), 0))
    with pytest.raises(StudyError, match=r"^dataset: FakeData gives Tensor, not pictures"):
        load(tmp_path, "FakeData", options={"size": 60})


def test_a_picture_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def fails(self, place):
        raise OSError("image file is truncated")

    monkeypatch.setattr(datasets.FakeData, "__getitem__", fails)
    with pytest.raises(StorageError, match=r"FakeData#\d+: cannot be read \(image file is truncated\); mend or"):
        load(tmp_path, "FakeData", options={"size": 60})


def test_of_two_jobs_one_opens_a_set_and_the_other_waits(tmp_path):
    lock, order = tmp_path / "torchvision/.EMNIST.lock", []

    def second():
        with _torchvision._alone(lock):
            order.append("second")

    thread = threading.Thread(target=second)
    with _torchvision._alone(lock):
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_folder_that_is_only_read_needs_no_lock(tmp_path):
    (tmp_path / "torchvision").write_text("no folder")
    with _torchvision._alone(tmp_path / "torchvision/.EMNIST.lock"):
        pass


def test_its_job_has_the_environment_with_torch():
    assert registry.load("datasets", "torchvision").ENVIRONMENT == "torch"
    environment = (Path(__file__).parents[1] / "envs/torch.yaml").read_text()
    assert all(f"- {package}=" in environment for package in ("torchvision", "pytorch", "pillow"))
