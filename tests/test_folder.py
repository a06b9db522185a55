"""A folder of pictures as people have it: links, hidden files, other files, odd names, edits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image

from immature_ood.datasets import folder, make
from immature_ood.datasets.folder import listing, look
from immature_ood.kinds.images import Config as ImageConfig

NOWHERE = Path("/nowhere")


def touch(folder, *names):
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_linked_folders_are_walked(tmp_path):
    touch(tmp_path / "elsewhere", "1.png", "deep/2.jpg")
    mine = touch(tmp_path / "mine", "cats/3.png")
    (mine / "dogs").symlink_to(tmp_path / "elsewhere")
    (mine / "4.png").symlink_to(tmp_path / "elsewhere/1.png")
    assert look(mine).files == ["4.png", "cats/3.png", "dogs/1.png", "dogs/deep/2.jpg"]
    assert look(mine).left_out == {}


def test_a_folder_that_is_a_link_is_walked(tmp_path):
    touch(tmp_path / "there", "1.png")
    (tmp_path / "mine").symlink_to(tmp_path / "there")
    assert look(tmp_path / "mine").files == ["1.png"]


def test_links_that_lead_back_end(tmp_path):
    mine = touch(tmp_path / "mine", "z/1.png", "z/deep/2.png")
    (mine / "z/up").symlink_to(mine)
    (mine / "a").symlink_to(mine / "z")  # comes first by its name, but the folder itself is read
    (mine / "self").symlink_to("self")
    found = look(mine)
    assert found.files == ["z/1.png", "z/deep/2.png"]
    assert found.left_out == {"folders linked to twice": 2, "links to nothing": 1}


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    mine = touch(tmp_path, "1.png", "2.JPG", ".hidden.png", ".trash/3.png", "4.heic", "b/5.HEIC", "6", "notes.txt")
    (mine / "7.png").symlink_to("/nowhere/7.png")
    os.mkfifo(mine / "8.png")
    found = look(mine)
    assert found.files == ["1.png", "2.JPG"]
    assert found.left_out == {
        **{".heic": 2, ".txt": 1, "hidden": 2, "links to nothing": 1, "no files": 1, "no suffix": 1},
    }


def test_folders_that_cannot_be_entered_are_counted(tmp_path, monkeypatch):
    touch(tmp_path, "1.png", "locked/2.png")
    scandir = os.scandir

    def refuses(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)  # root may enter everywhere
    assert look(tmp_path).files == ["1.png"]
    assert look(tmp_path).left_out == {"folders that cannot be entered": 1}


def test_what_is_left_out_is_in_the_manifest(tmp_path):
    touch(tmp_path / "mine", "a.heic", "b.heic", "c")
    for number, crop in enumerate(archives.crops("coffee.png", 3, [(32, 32)])):
        crop.save(tmp_path / f"mine/{number}.png")
    config = folder.Config(path=str(tmp_path / "mine"), train=1, fit=1, test=1)
    make("mine", config, ImageConfig(), tmp_path / "set", NOWHERE)
    assert json.loads((tmp_path / "set/manifest.json").read_text())["left_out"] == {".heic": 2, "no suffix": 1}


def test_names_that_are_not_utf8_are_read(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    picture = archives.encoded(Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)), "PNG")
    with open(os.fsencode(mine) + b"/caf\xe9.png", "wb") as file:
        file.write(picture)
    config = folder.Config(path=str(mine), train=0, fit=0, test=1)
    make("mine", config, ImageConfig(), tmp_path / "set", NOWHERE)
    (origin,) = json.loads((tmp_path / "set/manifest.json").read_text())["splits"]["test"]["origins"]
    assert os.fsencode(origin).endswith(b"/caf\xe9.png")
    assert len(listing(str(mine))) == 16


MAKE = """
import sys
from pathlib import Path
from immature_ood.datasets import folder, make
from immature_ood.kinds.images import Config as ImageConfig
config = folder.Config(path="mine", train=1, fit=1, test=2)
make("mine", config, ImageConfig(), sys.argv[1], Path("/nowhere"))
print(folder.listing("mine"))
"""


@pytest.mark.parametrize("locale", [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX"}], ids=["UTF-8", "ASCII"])
def test_the_locale_does_not_matter(locale, tmp_path):
    """Not to names in UTF-8, nor to names that are not."""
    (tmp_path / "mine").mkdir()
    for number, name in enumerate((b"caf\xe9", "ä 猫".encode(), b"plain", "\N{GRINNING FACE}".encode())):
        with open(os.fsencode(tmp_path) + b"/mine/" + name + b".png", "wb") as file:
            Image.new("L", (28, 28), 10 * number).save(file, "PNG")
    found = {}
    for name, environment in (("here", {}), ("there", locale)):
        options = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment}
        arguments = [sys.executable, "-W", "error", "-c", MAKE, name]
        run = subprocess.run(arguments, cwd=tmp_path, env=os.environ | options, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        files = sorted((tmp_path / name).iterdir())
        found[name] = run.stdout, [(path.name, path.read_bytes()) for path in files]
    assert found["here"] == found["there"]


@pytest.mark.parametrize("suffix", [".bmp", ".pgm", ".tif", ".tga"])
def test_a_picture_edited_to_the_same_size_is_seen(suffix, tmp_path):
    path = tmp_path / f"1{suffix}"
    Image.new("L", (28, 28), 10).save(path)
    os.utime(path, ns=(0, 10**18))
    before, size = listing(str(tmp_path)), path.stat().st_size
    Image.new("L", (28, 28), 200).save(path)
    os.utime(path, ns=(0, 10**18 + 1))
    assert path.stat().st_size == size
    assert listing(str(tmp_path)) != before


def test_what_is_no_picture_does_not_change_the_listing(tmp_path):
    touch(tmp_path, "1.png")
    before = listing(str(tmp_path))
    touch(tmp_path, "notes.txt", ".hidden.png")
    assert listing(str(tmp_path)) == before
    touch(tmp_path, "2.png")
    assert listing(str(tmp_path)) != before


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    for path in (tmp_path / "nothing", touch(tmp_path, "file") / "file", Path("a\0b")):
        assert look(path).files == []


def test_pictures_in_a_linked_folder_are_loaded(tmp_path):
    (tmp_path / "there").mkdir()
    for number, crop in enumerate(archives.crops("coffee.png", 4, [(32, 32)])):
        crop.save(tmp_path / f"there/{number}.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/all").symlink_to(tmp_path / "there")
    config = folder.Config(path=str(tmp_path / "mine"), train=2, fit=1, test=1)
    splits = folder.load(config, ImageConfig(), NOWHERE)
    origins = sorted(origin for images in splits.values() for origin in images.origins)
    assert origins == [f"{tmp_path}/mine/all/{number}.png" for number in range(4)]
