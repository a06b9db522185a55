"""Files are whole or not there, and say what they are."""

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import save_file

from immature_ood.storage import (
    StorageError,
    check_writable,
    load_arrays,
    load_metadata,
    save_arrays,
    write_array,
    write_bytes,
    write_json,
    write_whole,
)

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros((0, 4), np.int64), "c": np.array(2.5, np.float32)}
METADATA = {"text": "ℝ", "number": 3, "list": [1, "x", None]}

quick = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "folder" / "file.safetensors"
    save_arrays(path, "thing/1", ARRAYS, METADATA)
    return path


def test_what_was_saved_is_loaded(file):
    arrays, metadata = load_arrays(file, "thing/1")
    assert metadata == METADATA == load_metadata(file, "thing/1")
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@quick
@given(
    array=arrays_of.arrays(
        dtype=st.sampled_from([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_]),
        shape=arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_every_array_comes_back(tmp_path, array):
    save_arrays(tmp_path / "x", "thing/1", {"straight": array, "transposed": array.T}, {})
    loaded, _ = load_arrays(tmp_path / "x", "thing/1")
    np.testing.assert_array_equal(loaded["straight"], array)
    np.testing.assert_array_equal(loaded["transposed"], array.T)
    assert loaded["straight"].shape == array.shape


def test_equal_content_makes_equal_bytes_in_every_process(tmp_path):
    code = (
        "import sys, numpy as np; from immature_ood.storage import save_arrays; "
        "names = sorted({'x', 'y', 'z', 'w'}, key=hash); "
        "save_arrays(sys.argv[1], 'thing/1', {n: np.ones(3) for n in names}, {n: 1 for n in names})"
    )
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], check=True, env=environment)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@quick
@given(kept=st.floats(0, 0.999))
def test_a_truncated_file_is_refused_by_name(tmp_path, kept):
    save_arrays(tmp_path / "whole", "thing/1", ARRAYS, METADATA)
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(StorageError, match=r"cut: .*delete it and rerun"):
        load_arrays(tmp_path / "cut", "thing/1")


@quick
@given(place=st.integers(0, 150), value=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_harmless(tmp_path, place, value):
    save_arrays(tmp_path / "whole", "thing/1", ARRAYS, METADATA)
    content = bytearray((tmp_path / "whole").read_bytes())
    content[place] = value
    (tmp_path / "damaged").write_bytes(content)
    with suppress(StorageError):  # and nothing else
        load_arrays(tmp_path / "damaged", "thing/1")


def test_what_is_not_of_this_project_is_refused(tmp_path, file):
    with pytest.raises(StorageError, match=r"is 'thing/1', expected 'thing/2'; delete it and rerun"):
        load_arrays(file, "thing/2")
    save_file({"a": np.ones(2)}, tmp_path / "foreign", metadata={"format": "pt"})
    with pytest.raises(StorageError, match="foreign: holds no metadata of this project"):
        load_arrays(tmp_path / "foreign", "thing/1")
    (tmp_path / "pickle").write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(StorageError, match="pickle: cannot be read as safetensors"):
        load_arrays(tmp_path / "pickle", "thing/1")
    with pytest.raises(StorageError, match="nothing: cannot be read"):
        load_arrays(tmp_path / "nothing", "thing/1")


def test_arrays_that_would_need_pickle_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_array(tmp_path / "x.npy", np.array([{}], dtype=object))
    assert not list(tmp_path.iterdir())


def test_a_crash_in_the_middle_leaves_the_old_file_and_no_litter(tmp_path):
    write_bytes(tmp_path / "x.bin", b"old")

    def crash():
        with write_whole(tmp_path / "x.bin") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]
    assert (tmp_path / "x.bin").read_bytes() == b"old"


def test_a_file_that_is_being_written_keeps_its_suffix_and_is_not_at_its_path(tmp_path):
    with write_whole(tmp_path / "x.png") as temporary:
        temporary.write_bytes(b"half")
        assert temporary.suffix == ".png"
        assert not (tmp_path / "x.png").exists()
    assert (tmp_path / "x.png").read_bytes() == b"half"


def test_a_full_disk_is_named_with_the_mend_and_loses_nothing(tmp_path):
    """A limit on the size of files stands for the disk: the kernel refuses the write in the same place."""
    code = (
        "import resource, signal, sys, numpy as np; from immature_ood.storage import StorageError, save_arrays; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: save_arrays(sys.argv[1], 'thing/1', {'a': np.ones(10_000)}, {})\n"
        "except StorageError as error: print(error)"
    )
    write_bytes(tmp_path / "x.safetensors", b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.safetensors")], capture_output=True, text=True, check=True
    )
    assert f"cannot write {tmp_path / 'x.safetensors'}: " in done.stdout
    assert "bytes)" in done.stdout
    assert "free space or choose another folder" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
    assert (tmp_path / "x.safetensors").read_bytes() == b"old"


def test_what_a_killed_process_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [f".x.{dead.pid}.partial.json", f".x.{10**20}.partial.json"]
    others = [f".x.{os.getppid()}.partial.json", f".y.{dead.pid}.partial.json", f".x.{dead.pid}.partial.csv", "x.y"]
    for name in (*left, *others):
        (tmp_path / name).write_text("{")
    write_json(tmp_path / "x.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", *others}


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*results/x.json"):
        write_json(tmp_path / "results" / "x.json", {})


def test_a_link_to_storage_that_is_not_there_is_named(tmp_path):
    (tmp_path / "results").symlink_to("/mnt/scratch/not/there")
    with pytest.raises(StorageError, match=r"results is a link to /mnt/scratch/not/there, which is not there"):
        check_writable(tmp_path / "results/study")
    (tmp_path / "results").unlink()
    (tmp_path / "results").symlink_to(tmp_path)
    check_writable(tmp_path / "results/study")


def test_a_results_folder_is_checked_before_any_work(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "there" / "yet")
    assert not list(tmp_path.iterdir())
    (tmp_path / "results").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*results/study: .*results is not a folder; .*--directory"):
        check_writable(tmp_path / "results" / "study")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StorageError, match=r"cannot be written; make it writable"):
        check_writable(tmp_path / "study")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        check_writable(tmp_path)
    with pytest.raises(StorageError, match=r"cannot write .*x.json: Permission denied"):
        write_json(tmp_path / "x.json", {})


def test_files_have_the_permissions_that_the_user_asked_for(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(tmp_path / "x").stat().st_mode) == 0o640


def test_json_is_sorted_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "x.json", {"b": 1, "a": [2]})
    assert (tmp_path / "x.json").read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}\n'
