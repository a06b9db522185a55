"""Pictures from real life: turned by EXIF data, of few bits, and files that are none."""

import os
import struct
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image

from immature_ood.datasets import SPLITS, folder
from immature_ood.datasets._pixels import FORMATS
from immature_ood.datasets._pools import of_files
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images.pictures import through_jpeg
from immature_ood.storage import StorageError

COLOUR = ImageConfig(channels=3, side=32)
NOWHERE = Path("/nowhere")


def pixels_of(content, image=COLOUR):
    return of_files(["a"], lambda places: iter([content]), "here", image).read(np.arange(1))


def lying(upright, orientation):
    """The stored array of a picture (H, W, ...) that a viewer turns upright; from the EXIF standard's own table.

    It says where the stored first row and first column lie in what is shown.
    """
    rows_become_columns = orientation >= 5
    shown = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    first_at_bottom, first_at_right = shown
    stored = upright[::-1] if first_at_bottom else upright
    stored = stored[:, ::-1] if first_at_right else stored
    return stored.swapaxes(0, 1) if rows_become_columns else stored


def tagged(array, orientation, form, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return archives.encoded(Image.fromarray(np.ascontiguousarray(array)), form, exif=exif, **options)


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "TIFF, packed": {"compression": "tiff_lzw"}}


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_data_say(orientation, form):
    upright = np.asarray(next(archives.crops("coffee.png", 1, [(32, 32)])))
    content = tagged(lying(upright, orientation), orientation, form.partition(",")[0], **LOSSLESS[form])
    np.testing.assert_array_equal(pixels_of(content).pixels[0], upright.transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_before_it_is_cropped(orientation):
    """A portrait whose upper half alone is bright: its middle square is half bright at the top."""
    upright = np.zeros((60, 40), np.uint8)
    upright[:30, :20] = 240
    content = tagged(lying(upright, orientation), orientation, "JPEG", quality=95)
    (pixels,) = pixels_of(content, ImageConfig(side=40)).pixels[:, 0]
    expected = np.zeros((40, 40))
    expected[:20, :20] = 240
    assert np.abs(pixels - expected).max() < 25


def test_the_same_pictures_upright_and_lying_are_the_same_data_set(tmp_path):
    for number, crop in enumerate(archives.crops("coffee.png", 12, [(40, 60)])):
        for name, orientation in (("upright", 1), ("phone", 6)):
            (tmp_path / name).mkdir(exist_ok=True)
            content = tagged(lying(np.asarray(crop), orientation), orientation, "PNG")
            (tmp_path / name / f"{number}.png").write_bytes(content)
    upright, phone = (
        folder.load(folder.Config(path=str(tmp_path / name), train=4, fit=4, test=4), COLOUR, NOWHERE)
        for name in ("upright", "phone")
    )
    for split in SPLITS:
        np.testing.assert_array_equal(upright[split].pixels, phone[split].pixels)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation):
    upright = np.asarray(next(archives.crops("coffee.png", 1, [(32, 32)])))
    np.testing.assert_array_equal(pixels_of(tagged(upright, orientation, "PNG")).pixels[0], upright.transpose(2, 0, 1))


def test_damaged_exif_data_turn_nothing():
    upright = np.asarray(next(archives.crops("coffee.png", 1, [(32, 32)])))
    content = archives.encoded(Image.fromarray(upright), "PNG", exif=b"Exif\0\0XX\0*nonsense")
    np.testing.assert_array_equal(pixels_of(content).pixels[0], upright.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("levels", "stored"), [(65535, "PNG"), (4096, "PNG"), (4095, "PNG (12 of 16 bits)"), (200, "PNG (12 of 16 bits)")]
)
def test_few_bits_of_sixteen_are_told(levels, stored):
    ramp = np.linspace(0, levels, 28 * 28).reshape(28, 28).astype(np.uint16)
    assert pixels_of(archives.encoded(Image.fromarray(ramp), "PNG")).formats == [stored]


@pytest.mark.parametrize("image", [ImageConfig(side=28), ImageConfig(channels=3, side=28)], ids=["grey", "colour"])
def test_cielab_is_read(image):
    """L* of 53.6 of 100 is a grey of 128 of 255 in sRGB."""
    content = archives.encoded(Image.new("LAB", (28, 28), (137, 128, 128)), "TIFF")
    assert np.abs(pixels_of(content, image).pixels.astype(int) - 128).max() <= 1


# --- files that are no pictures --------------------------------------------------------------------------------------

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A gs on the PATH that leaves a trace: the file whose path this is."""
    program, trace = tmp_path / "bin" / "gs", tmp_path / "gs was called"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # not looked for yet
    return trace


def test_postscript_in_a_picture_starts_nothing(ghostscript, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/x.png").write_bytes(POSTSCRIPT)
    config = folder.Config(path=str(tmp_path / "mine"), train=0, fit=0, test=1)
    with pytest.raises(StorageError, match=r"mine/x\.png: cannot be read as a picture \(it is none of PNG, JPEG"):
        folder.load(config, COLOUR, NOWHERE)
    assert not ghostscript.exists()


def test_the_trap_of_the_test_before_works(ghostscript):
    import io

    with pytest.raises(OSError), Image.open(io.BytesIO(POSTSCRIPT)) as picture:  # noqa: PT011 (gs gave no picture)
        picture.load()
    assert ghostscript.exists()


BLP = b"BLP2" + struct.pack("<i4B2I", 1, 9, 0, 0, 0, 4, 4) + bytes(1200)
RAISED = [AttributeError("no such thing"), NotImplementedError(), RuntimeError("Conversion from YUV failed"), OSError()]


@pytest.mark.parametrize("content", [BLP, b"", b"<html>404</html>", b"8BPS" + bytes(60), b"%PDF-1.4"])
def test_what_is_no_bitmap_is_refused_by_its_name(content):
    with pytest.raises(
        StorageError, match=r"^here/a: cannot be read as a picture \(.+\); mend or remove it, then rerun$"
    ):
        pixels_of(content)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_pillow_raises_names_the_file(error, monkeypatch):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
    with pytest.raises(StorageError, match=r"^here/a: cannot be read as a picture \(.+\); mend"):
        pixels_of(archives.encoded(Image.new("L", (32, 32)), "PNG"))


def read_or_refused(content):
    """What is under the error of a file that cannot be read, None of one that can."""
    try:
        pixels_of(content)
    except StorageError as error:
        return error.__cause__
    return None


def test_damaged_avif_files_are_refused():
    """Pillow raises a RuntimeError over some of them."""
    good = archives.encoded(next(archives.crops("coffee.png", 1, [(64, 64)])), "AVIF")
    generator = np.random.default_rng(0)
    causes = set()
    for _ in range(80):
        content = np.frombuffer(good, np.uint8).copy()
        content[generator.integers(0, len(good), 8)] ^= 255
        causes.add(type(read_or_refused(content.tobytes())))
    assert RuntimeError in causes


def test_every_place_that_opens_a_picture_names_its_formats():
    sources = Path(folder.__file__).parents[1]
    lines = (line for path in sources.rglob("*.py") for line in path.read_text("utf-8").splitlines())
    opened = [line for line in lines if "Image.open(" in line]
    assert len(opened) == 5
    assert all("formats=" in line for line in opened)


def test_every_suffix_that_is_read_is_of_a_format_that_is_read():
    Image.init()
    assert {Image.EXTENSION.get(suffix, "PPM") for suffix in folder.SUFFIXES} == {*FORMATS}


def test_jpeg_of_a_data_set_is_read_as_jpeg_alone(monkeypatch):
    asked = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda file, **options: asked.append(options) or real(file, **options))
    through_jpeg(np.zeros((2, 1, 8, 8), np.uint8), 75)
    assert asked == [{"formats": ("JPEG",)}] * 2
