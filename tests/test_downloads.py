"""Downloads against a real server that answers in every bad way, and archives that try to leave their folder."""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from immature_ood.downloads import Download, extract, fetch, find
from immature_ood.storage import StorageError

unpacks_tars = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="before 3.11.4 Python unpacks no tar safely, and refuses to"
)

CONTENT = bytes(range(256)) * 4000  # a megabyte
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PAGE = b"<!DOCTYPE html><html>Quota exceeded</html>"


class Handler(BaseHTTPRequestHandler):
    """Answers /kind in that kind of way; `tries` counts the requests of each kind."""

    def do_GET(self):
        kind = self.path.strip("/")
        with self.server.guard:
            self.server.tries[kind] = count = self.server.tries.get(kind, 0) + 1
        self.server.ranges.append(self.headers.get("Range"))
        getattr(self, kind.replace("-", "_"))(count)

    def answer(self, content, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def good(self, count):
        self.answer(CONTENT)

    def missing(self, count):
        self.answer(b"not here", 404)

    def busy_once(self, count):
        self.answer(CONTENT) if count > 1 else self.answer(b"busy", 503)

    def cut_once(self, count):
        self.answer(CONTENT) if count > 1 else self.answer(CONTENT[:262_144], length=len(CONTENT))

    def cut_and_resumed(self, count):
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        part = CONTENT[start : start + 393_216]
        self.answer(part, 206 if start else 200, length=len(CONTENT) - start)

    def always_cut(self, count):
        self.answer(CONTENT[:262_144], length=len(CONTENT))

    def short(self, count):
        self.answer(CONTENT[:-1])

    def quota(self, count):
        self.answer(PAGE)

    def wrong(self, count):
        self.answer(CONTENT[::-1])

    def stalls_once(self, count):
        if count > 1:
            self.answer(CONTENT)
        else:
            self.answer(CONTENT[:1000], length=len(CONTENT))
            self.server.stop.wait(5)

    def slow(self, count):
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.answer(b"", 206 if start else 200, length=len(CONTENT) - start)
        for place in range(start, len(CONTENT), 50_000):
            self.wfile.write(CONTENT[place : min(place + 50_000, len(CONTENT))])
            if self.server.stop.wait(0.05):
                return

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.tries, server.ranges, server.guard, server.stop = {}, [], threading.Lock(), threading.Event()
        server.handle_error = lambda *arguments: None  # a client that goes away is no error
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stop.set()
        server.shutdown()
        thread.join()


def download(server, *kinds, checksum=MD5):
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{kind}" for kind in kinds)
    return Download("set.bin", urls, checksum, page="https://example.org/set")


def fetched(server, folder, *kinds, checksum=MD5, attempts=3):
    return fetch(download(server, *kinds, checksum=checksum), folder, timeout=0.5, attempts=attempts, pause=0.01)


@pytest.mark.parametrize("checksum", [MD5, SHA256])
@pytest.mark.parametrize("kind", ["good", "busy-once", "cut-once", "cut-and-resumed", "stalls-once"])
def test_what_can_be_had_is_had_whole(server, tmp_path, kind, checksum):
    path = fetched(server, tmp_path, kind, checksum=checksum)
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "set.bin.sha256").read_text() == f"{SHA256.removeprefix('sha256:')}  set.bin\n"
    assert {file.name for file in tmp_path.iterdir()} == {"set.bin", "set.bin.sha256", ".set.bin.lock"}
    tries = dict(server.tries)
    assert fetched(server, tmp_path, kind, checksum=checksum) == path  # and not asked for again
    assert server.tries == tries


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    fetched(server, tmp_path, "cut-and-resumed")
    assert server.ranges == [None, "bytes=393216-", "bytes=786432-"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "404"),
        ("always-cut", "ended after 262,144 of 1,024,000 bytes"),
        ("short", "a file of 1,023,999 bytes came, with md5:"),
        ("quota", "a web page of 42 bytes came"),
        ("wrong", "a file of 1,024,000 bytes came, with md5:"),
    ],
)
def test_what_cannot_be_had_says_what_came_and_what_to_do(server, tmp_path, kind, said):
    with pytest.raises(StorageError, match=said) as error:
        fetched(server, tmp_path, kind)
    assert f"get it by hand from https://example.org/set, put it at {tmp_path / 'set.bin'} and rerun" in str(
        error.value
    )
    assert not (tmp_path / "set.bin").exists()
    assert server.tries[kind] == 3


def test_a_server_that_is_not_there_is_an_error(tmp_path, server):
    nowhere = Download("set.bin", ("http://127.0.0.1:9/set.bin",), MD5)
    with pytest.raises(StorageError, match=r"cannot download set.bin"):
        fetch(nowhere, tmp_path, attempts=2, pause=0.01)


def test_the_next_mirror_is_asked(server, tmp_path):
    assert fetched(server, tmp_path, "quota", "missing", "good").read_bytes() == CONTENT
    assert server.tries == {"quota": 1, "missing": 1, "good": 1}


def test_a_file_put_there_by_hand_is_taken(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(CONTENT)
    assert fetched(server, tmp_path, "missing").read_bytes() == CONTENT
    assert not server.tries


@pytest.mark.parametrize("noted", [False, True])
def test_another_file_in_its_place_is_neither_taken_nor_lost(server, tmp_path, noted):
    if noted:
        fetched(server, tmp_path, "good")
    (tmp_path / "set.bin").write_bytes(b"another")
    with pytest.raises(StorageError, match="delete it, and it is downloaded again"):
        fetched(server, tmp_path, "good")
    assert (tmp_path / "set.bin").read_bytes() == b"another"


def test_the_sha256_of_the_first_download_holds_ever_after(server, tmp_path):
    fetched(server, tmp_path, "good")
    (tmp_path / "set.bin.sha256").write_text("0" * 64 + "  set.bin\n")
    with pytest.raises(StorageError, match=f"expected sha256:{'0' * 64}"):
        fetched(server, tmp_path, "good")


def test_without_a_published_checksum_the_first_download_is_noted_and_holds(server, tmp_path):
    path = fetched(server, tmp_path, "good", checksum="")
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "set.bin.sha256").read_text().startswith(SHA256.removeprefix("sha256:"))
    assert fetched(server, tmp_path, "missing", checksum="") == path
    path.write_bytes(b"another")
    with pytest.raises(StorageError, match=f"expected {SHA256}"):
        fetched(server, tmp_path, "good", checksum="")
    path.unlink()
    with pytest.raises(StorageError, match=f"instead of {SHA256}"):  # also of what is downloaded again
        fetched(server, tmp_path, "wrong", checksum="")
    assert fetched(server, tmp_path, "good", checksum="").read_bytes() == CONTENT


def test_without_a_checksum_a_web_page_is_no_file(server, tmp_path):
    with pytest.raises(StorageError, match="a web page of 42 bytes came"):
        fetched(server, tmp_path, "quota", checksum="")
    assert not (tmp_path / "set.bin").exists()
    assert not (tmp_path / "set.bin.sha256").exists()


@pytest.mark.parametrize(
    ("here", "packaged", "taken"),
    [
        (CONTENT, CONTENT[::-1], "set/set.bin"),
        (None, CONTENT, "package.bin"),
        (None, CONTENT[::-1], "package.bin"),  # the checksum that it has in the package
        (None, b"another version", "set/set.bin"),
        (None, None, "set/set.bin"),
        (CONTENT[::-1], None, "set/set.bin"),  # copied from a package
    ],
)
def test_a_file_is_found_in_the_folder_a_package_or_on_the_internet(server, tmp_path, here, packaged, taken):
    (tmp_path / "set").mkdir()
    for path, content in ((tmp_path / "set/set.bin", here), (tmp_path / "package.bin", packaged)):
        if content is not None:
            path.write_bytes(content)
    package = (str(tmp_path / "package.bin"), f"md5:{hashlib.md5(CONTENT[::-1]).hexdigest()}")
    wanted = replace(download(server, "good"), package=package)
    assert find(wanted, tmp_path / "set") == tmp_path / taken
    assert bool(server.tries) == (here is None and taken == "set/set.bin")


def without_writing(monkeypatch):
    """In this process no file can be made: root may write everywhere."""
    real = os.open, io.open

    def refuses(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    def reads(path, mode="r", *arguments, **options):
        return (refuses if {*mode} & {*"wax+"} else real[1])(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refuses)
    monkeypatch.setattr(Path, "open", reads)
    monkeypatch.setattr("builtins.open", reads)
    monkeypatch.setattr(io, "open", reads)


@pytest.mark.parametrize("checksum", [MD5, ""])
@pytest.mark.parametrize("noted", [True, False])
def test_a_whole_file_is_read_by_who_cannot_write_there(server, tmp_path, monkeypatch, noted, checksum):
    (tmp_path / "set.bin").write_bytes(CONTENT)
    if noted:
        fetched(server, tmp_path, "missing")
    before = {path.name for path in tmp_path.iterdir()}
    with monkeypatch.context() as patched:
        without_writing(patched)
        assert find(download(server, "missing", checksum=checksum), tmp_path) == tmp_path / "set.bin"
    assert {path.name for path in tmp_path.iterdir()} == before
    (tmp_path / "set.bin").write_bytes(b"another")
    if noted or checksum:
        with pytest.raises(StorageError, match="damaged or another version"):
            find(download(server, "missing", checksum=checksum), tmp_path)


def test_a_file_that_is_there_needs_no_lock(server, tmp_path, monkeypatch):
    fetched(server, tmp_path, "good")
    (tmp_path / ".set.bin.lock").unlink()
    monkeypatch.setattr("immature_ood.downloads.flock", lambda *arguments: pytest.fail("a lock was asked for"))
    assert fetched(server, tmp_path, "missing") == tmp_path / "set.bin"
    assert not (tmp_path / ".set.bin.lock").exists()


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    without_writing(monkeypatch)
    with pytest.raises(StorageError, match=r"cannot write .*set\.bin: Permission denied"):
        fetched(server, tmp_path / "new", "good")


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(server, tmp_path, monkeypatch, number):
    def refuses(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("immature_ood.downloads.flock", refuses)
    with pytest.raises(
        StorageError, match=rf"cannot download set\.bin: {tmp_path} has no file locks \(.+\); choose a data_dir"
    ):
        fetched(server, tmp_path, "good")
    (tmp_path / "set.bin").write_bytes(CONTENT)  # by hand
    assert fetched(server, tmp_path, "missing") == tmp_path / "set.bin"


FETCH = """
import sys
from pathlib import Path
from immature_ood.downloads import Download, fetch
url, checksum, folder = sys.argv[1:]
print("started", flush=True)
fetch(Download("set.bin", (url,), checksum), Path(folder), timeout=2, pause=0.01)
"""


def process(server, folder, kind):
    url = f"http://127.0.0.1:{server.server_port}/{kind}"
    return subprocess.Popen([sys.executable, "-c", FETCH, url, MD5, folder], stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_downloads_and_the_other_waits(server, tmp_path):
    both = [process(server, tmp_path, "slow") for _ in range(2)]
    assert [one.wait(30) for one in both] == [0, 0]
    for one in both:
        one.stdout.close()
    assert (tmp_path / "set.bin").read_bytes() == CONTENT
    assert server.tries == {"slow": 1}


def test_a_killed_download_is_gone_on_with(server, tmp_path):
    with process(server, tmp_path, "slow") as killed:
        partial = tmp_path / ".set.bin.partial"
        while not (partial.exists() and partial.stat().st_size):
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert not (tmp_path / "set.bin").exists()
    assert fetched(server, tmp_path, "slow").read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert server.ranges[1].startswith("bytes=")


def test_a_full_disk_is_named(server, tmp_path):
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    arguments = (f"http://127.0.0.1:{server.server_port}/good", MD5, str(tmp_path))
    code = limit + textwrap.dedent(FETCH)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert "set.bin: File too large; free space or choose another folder" in done.stderr
    assert not (tmp_path / "set.bin").exists()


def make_tar(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for member in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = 5
            file.addfile(member, io.BytesIO(b"hello"))
    return path


def make_zip(path, *names, attributes=0):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.external_attr = attributes
            file.writestr(member, b"hello")
    return path


@pytest.mark.parametrize("make", [pytest.param(make_tar, marks=unpacks_tars), make_zip])
def test_an_archive_is_unpacked_once_and_whole(tmp_path, make):
    archive = make(tmp_path / "archive", "a/b.txt", "c.txt")
    folder = extract(archive, tmp_path / "out" / "set")
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.txt")) == ["a/b.txt", "c.txt"]
    assert (folder / "a/b.txt").read_bytes() == b"hello"
    archive.unlink()
    assert extract(archive, folder) == folder
    assert [file.name for file in folder.parent.iterdir()] == ["set"]


def test_an_old_python_says_that_it_is_too_old_for_a_tar(tmp_path, monkeypatch):
    """Debian 12 has 3.11.2."""
    monkeypatch.delattr("tarfile.data_filter", raising=False)
    archive = make_tar(tmp_path / "archive", "a/b.txt")
    with pytest.raises(StorageError, match=r"archive: Python 3\S+ cannot unpack it safely; take 3.11.4 or newer"):
        extract(archive, tmp_path / "set")
    assert (extract(make_zip(tmp_path / "other", "a/b.txt"), tmp_path / "set") / "a/b.txt").exists()


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.SYMTYPE, "../outside"),
        special("link", tarfile.LNKTYPE, "../outside"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
        "../outside",
        "a/../../outside",
    ],
    ids=lambda member: getattr(member, "linkname", member) or member.name,
)
@unpacks_tars
def test_a_tar_that_reaches_out_is_refused(tmp_path, member):
    archive = make_tar(tmp_path / "set.tar.gz", "a.txt", member)
    with pytest.raises(StorageError, match=r"set.tar.gz: cannot be unpacked"):
        extract(archive, tmp_path / "inside" / "set")
    assert not [*(tmp_path / "inside").iterdir()]
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("attributes", [0, 0o120777 << 16])
@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..\\outside", "link"])
def test_a_zip_that_reaches_out_is_refused(tmp_path, name, attributes):
    if name == "link" and not attributes:
        pytest.skip("a plain file")
    archive = make_zip(tmp_path / "set.zip", "a.txt", name, attributes=attributes)
    with pytest.raises(StorageError, match=r"set.zip: cannot be unpacked"):
        extract(archive, tmp_path / "inside" / "set")
    assert not [*(tmp_path / "inside").iterdir()]


names = st.lists(st.sampled_from(["..", ".", "a", "b", "~", "C:", ""]), min_size=1, max_size=5).map("/".join)


@unpacks_tars
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names.filter(lambda name: name.strip("/")), min_size=1, max_size=3, unique=True))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_ever_written_outside_of_the_folder(tmp_path, members):
    for number, make in enumerate((make_tar, make_zip)):
        place = tmp_path / f"{len([*tmp_path.iterdir()])}-{number}"
        place.mkdir()
        archive = make(place / "archive", *members)
        try:
            extract(archive, place / "deep" / "set")
        except StorageError:
            assert not (place / "deep" / "set").exists()
        assert {entry.name for entry in place.iterdir()} <= {"archive", "deep"}
        assert {entry.name for entry in (place / "deep").iterdir()} <= {"set"}


@pytest.mark.parametrize("kept", [0, 10, 60])
@pytest.mark.parametrize("make", [make_tar, make_zip])
@unpacks_tars
def test_a_corrupt_archive_is_refused(tmp_path, make, kept):
    archive = make(tmp_path / "set.archive", "a.txt")
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(StorageError, match=r"set.archive: cannot be unpacked"):
        extract(archive, tmp_path / "out" / "set")
    assert os.listdir(tmp_path / "out") == []
