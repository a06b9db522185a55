"""The downloaded sources and the folder: read byte for byte as torchvision does, and what goes wrong said clearly."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import archives
import numpy as np
import pytest
from archives import DOWNLOADED
from oracle import import_torchvision
from PIL import Image

from immature_ood import downloads, registry
from immature_ood.datasets import SPLITS, _idx, _pixels, celeba, fashion_mnist, folder, imagenet32, make
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig as DatasetConfig
from immature_ood.kinds.images.pictures import from_array
from immature_ood.storage import StorageError
from immature_ood.study import StudyError

ROOT = Path(__file__).parents[1]
torchvision = import_torchvision()
ALL = {"train": 60, "fit": 20, "test": 30}  # all the small archives have, fit and test images from 50


def native(source, most=1000):
    """The image section under which nothing is resized, where all images of a source have one shape."""
    channels, side, _ = getattr(registry.load("datasets", source), "SHAPE", (3, 32, 32))
    return ImageConfig(channels=channels, side=min(side, most))


def load(source, published, data_dir, image=None, **options):
    config = DatasetConfig(**{"source": source, **ALL, **options})
    with archives.downloads_from(published.url, published.checksums):
        return registry.load("datasets", source).load(config, image or native(source), data_dir)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Where downloads are kept while these tests run."""
    return tmp_path_factory.mktemp("downloads")


# --- torchvision reads the same --------------------------------------------------------------------------------------


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def of_idx(name):
    """torchvision's reader of a set in IDX: it wants the files unpacked, and labels."""

    def read(archive_folder, root):
        kind = getattr(torchvision.datasets, name)
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for prefix, number in (("train", 60), ("t10k", 50)):
            file = f"{prefix}-images-idx3-ubyte"
            (raw / file).write_bytes(gzip.decompress((archive_folder / f"{file}.gz").read_bytes()))
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(archives.idx(np.arange(number) % 10))
        for train, prefix in ((True, "train"), (False, "t10k")):
            for row, (picture, _) in enumerate(kind(str(root), train=train)):
                yield f"{prefix}-images-idx3-ubyte.gz#{row}", picture

    return read


def of_svhn(archive_folder, root):
    files = {split: f"{split}_32x32.mat" for split in ("train", "test")}
    table = {split: ["", file, md5(archive_folder / file)] for split, file in files.items()}
    with mock.patch.object(torchvision.datasets.SVHN, "split_list", table):
        for split, file in files.items():
            for row, (picture, _) in enumerate(torchvision.datasets.SVHN(str(archive_folder), split)):
                yield f"{file}#{row}", picture


def of_cifar10(archive_folder, root):
    """The version for Python, of the same images."""
    base = root / "cifar-10-batches-py"
    base.mkdir()
    for name, (labels, images) in archives.cifar_batches(60, 50).items():
        content = {"data": images.reshape(len(images), -1), "labels": labels.tolist()}
        (base / name).write_bytes(pickle.dumps(content))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": []}))
    train, test, meta = ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"], "batches.meta")
    kind = torchvision.datasets.CIFAR10
    patches = {
        "train_list": [[name, md5(base / name)] for name in train],
        "test_list": [[name, md5(base / name)] for name in test],
        "meta": {"filename": meta, "key": "label_names", "md5": md5(base / meta)},
    }
    with mock.patch.multiple(kind, **patches):
        for is_train, names in ((True, train), (False, test)):
            sizes = [len(archives.cifar_batches(60, 50)[name][0]) for name in names]
            origins = [f"{name}.bin#{row}" for name, size in zip(names, sizes, strict=True) for row in range(size)]
            for origin, (picture, _) in zip(origins, kind(str(root), train=is_train), strict=True):
                yield origin, picture


def unpacked(archive_folder, root):
    for archive in archive_folder.glob("*.zip"):
        with zipfile.ZipFile(archive) as file:
            file.extractall(root)
    return root


def of_omniglot(archive_folder, root):
    base = unpacked(archive_folder, root / "omniglot-py")
    names = ("images_background", "images_evaluation")
    for name in names:
        (base / f"{name}.zip").write_bytes((archive_folder / f"{name}.zip").read_bytes())
    with mock.patch.object(
        torchvision.datasets.Omniglot, "zips_md5", {name: md5(base / f"{name}.zip") for name in names}
    ):
        for name in names:
            images = torchvision.datasets.Omniglot(str(root), background=name == names[0])
            for (file, number), (picture, _) in zip(images._flat_character_images, images, strict=True):
                yield f"{name}.zip/{name}/{images._characters[number]}/{file}", picture


def of_gtsrb(archive_folder, root):
    base = unpacked(archive_folder, root / "gtsrb")
    names = sorted(path.name for path in (base / "GTSRB/Final_Test/Images").glob("*.ppm"))
    (base / "GT-final_test.csv").write_text("Filename;ClassId\n" + "".join(f"{name};0\n" for name in names))
    archive = {"train": "GTSRB-Training_fixed.zip", "test": "GTSRB_Final_Test_Images.zip"}
    for split in ("train", "test"):
        images = torchvision.datasets.GTSRB(str(root), split)
        for (file, _), (picture, _) in zip(images._samples, images, strict=True):
            yield f"{archive[split]}/{Path(file).relative_to(base)}", resized(squared(picture), 32)


def of_celeba(archive_folder, root):
    base = unpacked(archive_folder, root / "celeba")
    text = (archive_folder / "list_eval_partition.txt").read_text()
    (base / "list_eval_partition.txt").write_text(text)
    names = [line.split()[0] for line in text.splitlines()]
    (base / "identity_CelebA.txt").write_text("".join(f"{name} 1\n" for name in names))
    for file in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt", "list_attr_celeba.txt"):
        (base / file).write_text(f"{len(names)}\na b\n" + "".join(f"{name} 1 1\n" for name in names))
    kind = torchvision.datasets.CelebA
    table = [("", md5(base / file.name), file.name) for file in base.glob("*.txt")]
    with mock.patch.object(kind, "file_list", table):
        for split in ("train", "test"):
            images = kind(str(root), split, target_type=[])
            for file, (picture, _) in zip(images.filename, images, strict=True):
                yield f"img_align_celeba.zip/img_align_celeba/{file}", picture.crop((15, 40, 163, 188))


def of_imagenet32(archive_folder, root):
    """torchvision has none; read as tensorflow_datasets does."""
    for archive in archive_folder.glob("*.zip"):
        with zipfile.ZipFile(archive) as file:
            for member in file.namelist():
                for row, image in enumerate(np.load(io.BytesIO(file.read(member)))["data"]):
                    yield f"{member}#{row}", Image.fromarray(np.reshape(image, (3, 32, 32)).transpose(1, 2, 0))


def of_imagenet32_pixelrnn(archive_folder, root):
    for archive in archive_folder.glob("*.tar"):
        with tarfile.open(archive) as file:
            file.extractall(root, filter="data")
            for path in (root / archive.stem).glob("*.png"):
                yield f"{archive.name}/{path.relative_to(root)}", Image.open(path)


def of_tiny_imagenet(archive_folder, root):
    """torchvision has none: its folder of pictures by class."""
    base, archive = unpacked(archive_folder, root), "tiny-imagenet-200.zip"
    for part in ("train", "val"):
        images = torchvision.datasets.ImageFolder(str(base / "tiny-imagenet-200" / part))
        for (file, _), (picture, _) in zip(images.samples, images, strict=True):
            yield f"{archive}/{Path(file).relative_to(base)}", resized(picture, 32)


of_mnist, of_fashion_mnist, of_kmnist = map(of_idx, ("MNIST", "FashionMNIST", "KMNIST"))


def squared(picture):
    """Cropped at the centre to a square, by slices."""
    pixels = np.asarray(picture)
    side, over = min(pixels.shape[:2]), [(length - min(pixels.shape[:2])) // 2 for length in pixels.shape[:2]]
    return Image.fromarray(pixels[over[0] : over[0] + side, over[1] : over[1] + side])


def resized(picture, side):
    """As torchvision's transform does it, which is antialiased for pictures."""
    if picture.size == (side, side):
        return picture
    return torchvision.transforms.functional.resize(picture, [side, side])


@pytest.mark.parametrize("source", DOWNLOADED)
def test_every_image_is_the_one_that_torchvision_reads(source, published, data_dir, tmp_path):
    oracle = globals().get(f"of_{source}")
    if not oracle:
        pytest.skip(f"no other reader of {source} is here: write of_{source}")
    if any(published.folder.glob(f"{source}/*.tar")) and not hasattr(tarfile, "data_filter"):
        pytest.skip("before 3.11.4 Python unpacks no tar safely, and refuses to")
    expected = dict(oracle(published.folder / source, tmp_path))
    splits = load(source, published, data_dir)
    found = {
        origin: image for images in splits.values() for origin, image in zip(images.origins, images.pixels, strict=True)
    }
    assert len(found) == 110
    assert found.keys() == expected.keys()
    for origin, image in found.items():
        picture = np.asarray(expected[origin])
        np.testing.assert_array_equal(image, np.atleast_3d(picture).transpose(2, 0, 1), err_msg=origin)


@pytest.mark.parametrize("source", DOWNLOADED)
def test_official_sets_are_kept_apart(source, published, data_dir):
    """Fit and test images are from the official test set; or fit images from the training set."""
    splits = load(source, published, data_dir)
    assert {split: len(splits[split].origins) for split in SPLITS} == ALL
    from_test = {*splits["fit"].origins, *splits["test"].origins}
    fewer = load(source, published, data_dir, train=30, fit=30, test=50, fit_from="train")
    assert {*fewer["test"].origins} == from_test
    assert {*fewer["train"].origins, *fewer["fit"].origins} == {*splits["train"].origins}


@pytest.mark.parametrize("source", DOWNLOADED)
def test_it_is_said_how_images_were_stored_and_whether_they_were_resampled(source, published, data_dir):
    image = native(source, most=32)
    splits = load(source, published, data_dir, image)
    assert {form for images in splits.values() for form in images.formats} == {published.formats[source]}
    as_they_are = getattr(registry.load("datasets", source), "SHAPE", None) == image.shape
    assert [images.resized for images in splits.values()] == [not as_they_are] * len(SPLITS)


@pytest.mark.parametrize("source", [name for name in DOWNLOADED if hasattr(registry.load("datasets", name), "SHAPE")])
@pytest.mark.parametrize(
    "image", [ImageConfig(side=20, resize="bicubic"), ImageConfig(channels=3, side=36)], ids=["grey", "colour"]
)
def test_arrays_follow_the_resizing_rule_too(source, image, published, data_dir):
    as_stored, other = (load(source, published, data_dir, each) for each in (native(source), image))
    assert as_stored["test"].origins == other["test"].origins
    for before, after in zip(as_stored["test"].pixels, other["test"].pixels, strict=True):
        expected, _ = _pixels.to_image(from_array(before), image)
        np.testing.assert_array_equal(after, expected)
    assert other["test"].resized


# --- where files come from -------------------------------------------------------------------------------------------


def torchvision_table():
    """The addresses and md5 that torchvision has, by source and file."""
    kinds = torchvision.datasets
    table = {}
    for source, kind in (("mnist", kinds.MNIST), ("fashion_mnist", kinds.FashionMNIST), ("kmnist", kinds.KMNIST)):
        for file, digest in kind.resources:
            table[source, file] = ([f"{mirror}{file}" for mirror in kind.mirrors], digest)
    for url, file, digest in kinds.SVHN.split_list.values():
        table["svhn", file] = ([url], digest)
    for name, digest in kinds.Omniglot.zips_md5.items():
        table["omniglot", f"{name}.zip"] = ([f"{kinds.Omniglot.download_url_prefix}/{name}.zip"], digest)
    for number, digest, file in kinds.CelebA.file_list:
        address = f"https://drive.usercontent.google.com/download?id={number}&export=download&confirm=t"
        table["celeba", file] = ([address], digest)
    with mock.patch("torchvision.datasets.gtsrb.download_and_extract_archive") as download:
        for split in ("train", "test"):
            with pytest.raises(RuntimeError, match="not found"):
                kinds.GTSRB("/nowhere", split, download=True)
    for call in download.call_args_list:
        table["gtsrb", call.args[0].rpartition("/")[2]] = ([call.args[0]], call.kwargs["md5"])
    return table


def test_addresses_and_checksums_are_those_of_torchvision():
    table = torchvision_table()
    compared = set()
    for source in DOWNLOADED:
        for download in registry.load("datasets", source).FILES.values():
            if (source, download.file) in table:
                urls, digest = table[source, download.file]
                assert {*urls} <= {*download.urls}
                assert download.checksum == f"md5:{digest}"
                compared.add(source)
    assert compared == {source for source, _ in table}


def test_the_files_of_a_source_are_well_described():
    for source in DOWNLOADED:
        module = registry.load("datasets", source)
        for download in module.FILES.values():
            method, digest = download.checksum.split(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[method]
            assert int(digest, 16)
            assert download.size > 1_000_000
            assert all(urlsplit(url).hostname for url in (*download.urls, download.page))
        assert module.OFFICIAL.keys() >= {"train", "test"}
        assert all(f"{count:,}" in module.__doc__ for count in module.OFFICIAL.values())


def one_file(published, data_dir, source="mnist", **changes):
    """Loads a source of which the file for tests is changed."""
    table = archives.local(source, published.url, published.checksums)
    module = registry.load("datasets", source)
    with mock.patch.object(module, "FILES", {**table, "test": replace(table["test"], **changes)}):
        return module.load(DatasetConfig(source=source, **{**ALL, "train": 0}), native(source), data_dir)


@pytest.fixture
def impatient(monkeypatch):
    """One attempt a download."""
    fetch = downloads.fetch
    monkeypatch.setattr(downloads, "fetch", lambda download, folder: fetch(download, folder, attempts=1))


def test_a_file_is_looked_for_in_the_folder_then_in_a_package_then_on_the_internet(published, tmp_path):
    file = "t10k-images-idx3-ubyte.gz"
    packaged = tmp_path / "package" / file
    packaged.parent.mkdir()
    packaged.write_bytes(gzip.compress(gzip.decompress((published.folder / "mnist" / file).read_bytes()), mtime=1))
    package = (str(packaged), f"md5:{md5(packaged)}")
    expected = one_file(published, tmp_path / "plain")["test"].pixels
    asked = len(published.asked)

    np.testing.assert_array_equal(one_file(published, tmp_path / "1", package=package)["test"].pixels, expected)
    assert len(published.asked) == asked  # the package had it
    assert not (tmp_path / "1").exists()

    own = tmp_path / "2" / "mnist" / file
    own.parent.mkdir(parents=True)
    own.write_bytes((published.folder / "mnist" / file).read_bytes())
    packaged.write_bytes(b"another version")
    np.testing.assert_array_equal(one_file(published, tmp_path / "2", package=package)["test"].pixels, expected)
    assert len(published.asked) == asked  # it was put there by hand

    np.testing.assert_array_equal(one_file(published, tmp_path / "3", package=package)["test"].pixels, expected)
    assert len(published.asked) == asked + 1  # another version in the package is not taken
    assert (tmp_path / "3/mnist" / file).exists()


def test_the_file_of_a_package_may_be_put_into_the_folder(published, tmp_path):
    own = tmp_path / "mnist/t10k-images-idx3-ubyte.gz"
    own.parent.mkdir()
    own.write_bytes(gzip.compress(gzip.decompress((published.folder / "mnist" / own.name).read_bytes()), mtime=1))
    one_file(published, tmp_path, package=("/nowhere/file", f"md5:{md5(own)}"))


def test_another_file_in_the_folder_is_not_taken(published, tmp_path):
    own = tmp_path / "mnist/t10k-images-idx3-ubyte.gz"
    own.parent.mkdir()
    own.write_bytes(b"another")
    with pytest.raises(StorageError, match=rf"{own}: has md5:\w+, expected md5:\w+; .* delete it"):
        one_file(published, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checksum": f"md5:{'0' * 32}"}, "a file of .* bytes came, with md5:"),
        ({"path": "quota"}, "a web page of .* bytes came"),
        ({"path": "quota", "checksum": ""}, "a web page of .* bytes came"),
        ({"path": "missing"}, "404"),
    ],
    ids=["wrong checksum", "quota", "quota, no checksum", "missing"],
)
def test_what_cannot_be_downloaded_says_what_to_do_by_hand(changes, said, published, tmp_path, impatient):
    changes = dict(changes)
    if path := changes.pop("path", None):
        changes["urls"] = (f"{published.url}/{path}/t10k-images-idx3-ubyte.gz",)
    with pytest.raises(StorageError, match=said) as error:
        one_file(published, tmp_path, page="https://example.org/mnist", **changes)
    place = tmp_path / "mnist/t10k-images-idx3-ubyte.gz"
    assert f"get it by hand from https://example.org/mnist, put it at {place} and rerun" in str(error.value)


@pytest.mark.parametrize("source", DOWNLOADED)
def test_every_source_says_what_to_do_by_hand(source, published, tmp_path, impatient):
    checksums = {source: dict.fromkeys(files, f"md5:{'0' * 32}") for source, files in published.checksums.items()}
    module = registry.load("datasets", source)
    with archives.downloads_from(published.url, checksums), pytest.raises(StorageError) as error:
        module.load(DatasetConfig(source=source, **ALL), native(source), tmp_path)
    download = next(each for each in module.FILES.values() if each.file in str(error.value))
    assert f"get it by hand from {download.page}, put it at {tmp_path / source / download.file}" in str(error.value)


def test_debian_has_the_published_fashion_mnist():
    """Its files lack the name and the time in gzip's header; with them they have the published checksum."""
    times = {"train": 1504176606, "test": 1504176627}  # the last of August 2017
    for part, download in fashion_mnist.FILES.items():
        path, checksum = Path(download.package[0]), download.package[1]
        if not path.exists():
            pytest.skip("Debian's package dataset-fashion-mnist is not here")
        assert f"md5:{md5(path)}" == checksum
        name = download.file.removesuffix(".gz").encode() + b"\0"
        header = struct.pack("<4sI2s", b"\x1f\x8b\x08\x08", times[part], b"\x00\x03") + name
        published = header + path.read_bytes()[10:]
        assert download.checksum == f"md5:{hashlib.md5(published).hexdigest()}"
        assert download.size == len(published)


def test_fashion_mnist_is_whole_and_has_no_repeats(tmp_path):
    if not Path(fashion_mnist.FILES["train"].package[0]).exists():
        pytest.skip("Debian's package dataset-fashion-mnist is not here")
    config = DatasetConfig(source="fashion_mnist", train=60_000, fit=5000, test=5000)
    make("fashion_mnist", config, ImageConfig(), tmp_path / "set", tmp_path / "data")
    splits = json.loads((tmp_path / "set/manifest.json").read_text())["splits"]
    assert {split: (entry["count"], entry["dropped"]) for split, entry in splits.items()} == {
        "train": (60_000, 0),
        "fit": (5000, 0),
        "test": (5000, 0),
    }
    assert len({origin for entry in splits.values() for origin in entry["origins"]}) == 70_000


# --- damaged files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(archives.idx(np.zeros((3, 4, 4))))[:-9],
        gzip.compress(archives.idx(np.zeros((3, 4, 4)))[:-1]),
        gzip.compress(archives.idx(np.zeros((3, 4, 4))) + b"x"),
        gzip.compress(archives.idx(np.zeros(3))),
        gzip.compress(b"\0\0\x0d\3" + archives.idx(np.zeros((3, 4, 4)))[4:]),
        gzip.compress(b""),
        b"",
    ],
    ids=["no gzip", "cut gzip", "cut", "too long", "labels", "floats", "empty", "nothing"],
)
def test_a_damaged_idx_file_is_named(content, tmp_path):
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(StorageError, match=r"images.gz: .* delete it"):
        _idx.read(tmp_path / "images.gz")


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"<html>no</html>"])
@pytest.mark.parametrize("source", DOWNLOADED)
def test_a_damaged_archive_is_named(source, damage, published, tmp_path):
    """Its checksum would tell; but where it is right, and the content is not."""
    files = registry.load("datasets", source).FILES
    changed = {"mnist": "t10k-images-idx3-ubyte.gz"}.get(source, max(files.values(), key=lambda each: each.size).file)
    (tmp_path / source).mkdir()
    checksums = dict(published.checksums[source])
    for file in checksums:
        content = (published.folder / source / file).read_bytes()
        (tmp_path / source / file).write_bytes(damage(content) if file == changed else content)
        checksums[file] = f"md5:{md5(tmp_path / source / file)}"
    config = DatasetConfig(source=source, **ALL)
    local = archives.downloads_from("http://127.0.0.1:9", {**published.checksums, source: checksums})
    with local, pytest.raises(StorageError, match=changed):
        registry.load("datasets", source).load(config, native(source), tmp_path)


def test_a_face_that_is_listed_but_not_there_is_named(published, tmp_path):
    (tmp_path / "celeba").mkdir()
    for file in ("img_align_celeba.zip", "list_eval_partition.txt"):
        (tmp_path / "celeba" / file).write_bytes((published.folder / "celeba" / file).read_bytes())
    with (tmp_path / "celeba/list_eval_partition.txt").open("a") as file:
        file.write("999999.jpg 2\n")
    table = {part: replace(download, checksum="") for part, download in celeba.FILES.items()}
    with (
        mock.patch.object(celeba, "FILES", table),
        pytest.raises(StorageError, match=r"img_align_celeba.zip: .*999999.jpg"),
    ):
        celeba.load(DatasetConfig(source="celeba", train=0, fit=0, test=51), native("celeba"), tmp_path)


def test_batches_are_in_the_order_of_their_numbers(published):
    """2 before 10."""
    pool = imagenet32._pool(published.folder / "imagenet32/Imagenet32_train_npz.zip", native("imagenet32"))
    origins = pool.read(np.arange(pool.size)).origins
    numbers = [int(origin.removeprefix("train_data_batch_").partition(".")[0]) for origin in origins]
    assert numbers == sorted(numbers)
    assert {*numbers} == {*range(1, 11)}


def test_only_the_chosen_members_are_read(published, data_dir):
    """CelebA has 202,599 pictures."""
    read = []
    original = zipfile.ZipFile.read

    def counted(archive, name, *options):
        read.append(name)
        return original(archive, name, *options)

    with mock.patch.object(zipfile.ZipFile, "read", counted):
        splits = load("celeba", published, data_dir, train=3, fit=2, test=1)
    assert len(read) == 6
    assert {f"img_align_celeba.zip/{name}" for name in read} == {
        o for images in splits.values() for o in images.origins
    }


# --- the resizing rule -----------------------------------------------------------------------------------------------


def gradient(width, height):
    """(height, width) uint8, all columns and rows different."""
    return ((np.arange(width) * 7 + np.arange(height)[:, None] * 13) % 256).astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), [(28, 28), (31, 28), (28, 45)])
def test_a_picture_that_fits_is_only_cropped(width, height):
    pixels, resampled = _pixels.to_image(Image.fromarray(gradient(width, height)), ImageConfig())
    left, top = (width - 28) // 2, (height - 28) // 2
    np.testing.assert_array_equal(pixels[0], gradient(width, height)[top : top + 28, left : left + 28])
    assert not resampled


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "lanczos", "box"])
def test_larger_and_smaller_pictures_are_resampled_by_pillow(resize):
    for side in (20, 57):
        picture = Image.fromarray(gradient(side, side))
        pixels, resampled = _pixels.to_image(picture, ImageConfig(resize=resize))
        expected = picture.resize((28, 28), getattr(Image.Resampling, resize.upper()))
        np.testing.assert_array_equal(pixels[0], np.asarray(expected))
        assert resampled


def test_making_smaller_is_antialiased():
    """A fine checkerboard becomes grey, not a coarse one."""
    board = (np.indices((280, 280)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels, _ = _pixels.to_image(Image.fromarray(board), ImageConfig())
    assert np.abs(pixels.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I"])
@pytest.mark.parametrize("image", [ImageConfig(), ImageConfig(channels=3)], ids=["grey", "colour"])
def test_every_mode_becomes_grey_or_colour(mode, image):
    grey = Image.fromarray(gradient(28, 28))
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    if mode == "I":
        picture = Image.fromarray(np.asarray(grey).astype(np.int32) * 257)
    pixels, _ = _pixels.to_image(picture, image)
    assert pixels.shape == image.shape
    assert pixels.dtype == np.uint8
    if mode in ("L", "LA", "RGB", "RGBA", "I;16", "I", "P"):
        assert all(np.array_equal(channel, gradient(28, 28)) for channel in pixels)


@pytest.mark.parametrize("palette", [False, True])
def test_what_is_transparent_lies_over_black(palette):
    picture = Image.new("RGBA", (28, 28), (200, 100, 50, 255))
    picture.paste((255, 255, 255, 0), (0, 0, 14, 28))
    picture.paste((200, 100, 50, 128), (0, 0, 28, 14)) if not palette else None
    pixels, _ = _pixels.to_image(picture.convert("P") if palette else picture, ImageConfig(channels=3))
    np.testing.assert_array_equal(pixels[:, 20, 20], [200, 100, 50] if not palette else pixels[:, 27, 27])
    np.testing.assert_array_equal(pixels[:, 20, 2], [0, 0, 0] if not palette else pixels[:, 27, 2])
    if not palette:
        np.testing.assert_array_equal(pixels[:, 2, 2], [100, 50, 25])


@pytest.mark.parametrize(
    ("array", "said"), [(np.zeros((4, 4), np.float32), "no whole"), (np.full((4, 4), -1, np.int32), "more than 16")]
)
def test_pixels_that_are_no_grey_levels_are_refused(array, said):
    with pytest.raises(ValueError, match=said):
        _pixels.to_image(Image.fromarray(array), ImageConfig())


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_of_any_pictures_is_read(pictures):
    config = folder.Config(path=str(pictures), train=60, fit=30, test=30)
    splits = folder.load(config, ImageConfig(channels=3, side=32), Path("/nowhere"))
    origins = [origin for images in splits.values() for origin in images.origins]
    assert sorted(origins) == sorted(str(path) for path in pictures.rglob("[0-9]*.*"))
    assert {form for images in splits.values() for form in images.formats} == {
        "PNG",
        "JPEG",
        "BMP",
        "TIFF",
        "WEBP",
        "PPM",
    }
    for images in splits.values():
        for origin, pixels in zip(images.origins, images.pixels, strict=True):
            with Image.open(origin) as picture:
                expected = resized(squared(picture.convert("RGB")), 32)
            np.testing.assert_array_equal(pixels, np.asarray(expected).transpose(2, 0, 1))


def test_a_relative_path_is_relative_to_the_working_directory(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    config = folder.Config(path=pictures.name, train=5, fit=5, test=5)
    origins = folder.load(config, ImageConfig(), Path("/nowhere"))["test"].origins
    assert all(origin.startswith(f"{pictures.name}/day ") for origin in origins)


@pytest.mark.parametrize(("path", "said"), [("nothing", "there is no folder"), ("empty", "no pictures")])
def test_a_folder_without_pictures_names_the_key(path, said, tmp_path):
    (tmp_path / "empty").mkdir()
    config = folder.Config(path=str(tmp_path / path))
    with pytest.raises(StudyError, match=rf"^datasets\.mine\.path: {said}.*{path}"):
        make("mine", config, ImageConfig(), tmp_path / "set", Path("/nowhere"))


@pytest.mark.parametrize("content", [b"", b"no picture", archives.encoded(Image.new("RGB", (64, 64)), "PNG")[:60]])
def test_a_file_that_is_no_picture_is_named(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    config = folder.Config(path=str(tmp_path), train=0, fit=0, test=1)
    with pytest.raises(StorageError, match=rf"{tmp_path / 'a.png'}: cannot be read as a picture"):
        folder.load(config, ImageConfig(), Path("/nowhere"))


def test_a_picture_in_a_folder_twice_is_in_one_split(tmp_path):
    for i, crop in enumerate(archives.crops("coffee.png", 10, [(40, 40)])):
        for copy in range(3):
            (tmp_path / f"{i}-{copy}.png").write_bytes(archives.encoded(crop, "PNG"))
    config = folder.Config(path=str(tmp_path), train=10, fit=10, test=10)
    make("mine", config, ImageConfig(), tmp_path / "set", Path("/nowhere"))
    manifest = json.loads((tmp_path / "set/manifest.json").read_text())
    numbers = [{Path(origin).name[0] for origin in entry["origins"]} for entry in manifest["splits"].values()]
    assert not numbers[0] & numbers[1]
    assert not numbers[1] & numbers[2]
    assert not numbers[0] & numbers[2]
    assert all(entry["count"] + entry["dropped"] == 10 for entry in manifest["splits"].values())


# --- the helpers of the tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", DOWNLOADED)
def test_a_copy_of_a_source_can_be_pointed_to_other_archives(source, published, tmp_path):
    module = registry.load("datasets", source)
    copy = tmp_path / f"{source}.py"
    copy.write_text(Path(module.__file__).read_text())
    archives.point_to(copy, published.url, published.checksums)
    names = {"__name__": source, "__file__": str(copy)}
    exec(compile(copy.read_text(), copy, "exec"), names)
    pages = {part: download.page for part, download in module.FILES.items()}
    local = archives.local(source, published.url, published.checksums)
    assert names["FILES"] == {part: replace(each, size=0, page=pages[part]) for part, each in local.items()}


def test_no_data_is_tracked():
    """Data sets have terms of their own: neither what lies in data/ nor any array or archive is in the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is not a checkout of Git")
    tracked = listed.stdout.split("\0")
    assert "tests/test_sources.py" in tracked
    assert not [
        path for path in tracked if path.partition("/")[0] == "data" or path.endswith((".npz", ".npy", ".gz", ".tar"))
    ]
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "data"], cwd=ROOT)  # a folder, or a link to one
    assert ignored.returncode == 0
