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

    log: the rule's log files. Yields a function that adds a line to the first of them at once.
    """
    path = Path(log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:  # a file name may be no UTF-8

        def say(line: str) -> None:
            print(line, file=file, flush=True)

        try:
            yield say
        except Exception as error:
            say(traceback.format_exc())
            if not isinstance(error, StorageError | ValueError | RuntimeError | OSError):
                raise
            print(f"\nerror: {error}\n(details: {path})", file=sys.stderr)
            raise SystemExit(1) from None
