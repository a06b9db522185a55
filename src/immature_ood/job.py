"""What every script of a rule does around its work: a log, and errors of one line that name the mend."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from immature_ood.storage import StorageError

__all__ = ["job"]


@contextmanager
def job(log: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """Runs the body; an expected error ends the process with one line, the traceback going to the log.

    log: the rule's log files. Yields a function that adds a line to the first of them at once. A log that cannot be
    written, as on a full disk, hides no error.
    """
    path = Path(log[0])
    _write(path, "w", "")

    def say(line: str) -> None:
        _write(path, "a", f"{line}\n")

    try:
        yield say
    except Exception as error:
        logged = _write(path, "a", traceback.format_exc())
        if not isinstance(error, StorageError | ValueError | RuntimeError | OSError):
            raise
        details = f"details: {path}" if logged else f"no details: {path} cannot be written"
        print(f"\nerror: {error}\n({details})", file=sys.stderr)
        raise SystemExit(1) from None


def _write(path: Path, mode: str, text: str) -> bool:
    """Whether it could be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8", errors="backslashreplace") as file:  # a file name may be no UTF-8
            file.write(text)
    except OSError:
        return False
    return True
