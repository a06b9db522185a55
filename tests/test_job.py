"""Around a script: a log, one line for an expected error, a bar only where somebody watches."""

import io
import re
import sys
from pathlib import Path

import pytest

from immature_ood.job import job
from immature_ood.progress import progress
from immature_ood.storage import StorageError
from immature_ood.study import StudyError


@pytest.mark.parametrize(
    "error", [StorageError("x.bin: mend it"), StudyError("x.bin: mend it"), OSError("x.bin: mend it")]
)
def test_an_expected_error_is_one_line_and_the_log_has_the_rest(tmp_path, capsys, error):
    log = tmp_path / "logs" / "a.log"
    with pytest.raises(SystemExit) as exit, job([str(log)]):
        raise error
    assert exit.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("\nerror: x.bin: mend it\n")
    assert str(log) in said
    assert "Traceback" not in said
    assert "Traceback" in log.read_text()


def test_a_file_name_that_is_no_utf8_is_said(tmp_path, monkeypatch):
    stderr = io.TextIOWrapper(io.BytesIO(), "ascii", "backslashreplace")  # as Python has it
    monkeypatch.setattr(sys, "stderr", stderr)
    with pytest.raises(SystemExit), job([str(tmp_path / "a.log")]):
        raise StorageError("mine 猫/caf\udce9.png: mend it")
    stderr.flush()
    assert b"/caf\\udce9.png: mend it" in stderr.buffer.getvalue()
    assert "mine 猫/caf\\udce9.png: mend it" in (tmp_path / "a.log").read_text(encoding="utf-8")


def test_a_defect_is_not_hidden(tmp_path):
    with pytest.raises(ZeroDivisionError), job([str(tmp_path / "a.log")]):
        print(1 / 0)
    assert "ZeroDivisionError" in (tmp_path / "a.log").read_text()


def test_lines_are_in_the_log_at_once(tmp_path):
    with job([str(tmp_path / "a.log")]) as say:
        say("first")
        assert (tmp_path / "a.log").read_text() == "first\n"


@pytest.mark.parametrize("place", ["/dev/full", "/dev/null/logs/a.log"])
def test_a_log_that_cannot_be_written_hides_no_error(capsys, place):
    """As on a full disk."""

    def work():
        with job([place]) as say:
            say("first")
            raise StorageError("x.bin: no space left")

    with pytest.raises(SystemExit):
        work()
    assert capsys.readouterr().err == f"\nerror: x.bin: no space left\n(no details: {place} cannot be written)\n"


ENCODED = re.compile(r"\b(read_text|write_text|open)\(")
NOT_TEXT = ("encoding=", "rb", "wb", "ab", "Image.open", "tarfile.open", "gzip.open", "safe_open", "archive", ".lock")


def test_text_is_read_and_written_in_a_named_encoding():
    """Else it is that of the locale."""
    root = Path(__file__).parents[1]
    files = [*(root / "src").rglob("*.py"), *(root / "workflow").rglob("*.py"), *(root / "workflow").rglob("*.smk")]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if ENCODED.search(line)]
    assert [line for line in lines if not any(each in line for each in (*NOT_TEXT, "lock", "open_memmap"))] == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_drawn_on_a_terminal_alone(monkeypatch, watched):
    stderr = Terminal() if watched else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    with progress("training digits", 2) as advance:
        advance(note="3.1 bits/dim")
        advance()
    assert ("training digits" in stderr.getvalue()) == watched
