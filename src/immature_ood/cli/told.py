"""What commands tell people, on stderr, and processes, by their exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import typer

__all__ = ["Code", "checkout", "failures", "say", "warn"]

PROJECT = Path(__file__).resolve().parents[3]  # where the package is not installed, but read from a checkout


class Code(IntEnum):
    """Exit codes. ODD: with --fail-on-odd alone. UNREAD: all else was scored."""

    DONE = 0
    ODD = 1
    ERROR = 2
    UNREAD = 3
    INTERRUPTED = 130


def say(line: str) -> None:
    """A line for people, which is no result."""
    typer.echo(line, err=True)


def warn(line: str) -> None:
    """A line for people that says what may be wrong."""
    typer.secho(f"warning: {line}", err=True, fg="yellow")


def checkout() -> str:
    """What to do where there is no Snakefile: the end of an error message."""
    known = f", such as {PROJECT}" if (PROJECT / "Snakefile").is_file() else ""
    return f"go to a checkout of the project{known}"


@contextmanager
def failures(when_interrupted: str = "") -> Iterator[None]:
    """Inside, what a user can mend is one line and an exit code, and no traceback.

    when_interrupted: what to say of how to go on.
    """
    from immature_ood.config_file import StudyError
    from immature_ood.storage import StorageError
    from immature_ood.training import TrainingDiverged, TrainingInterrupted

    try:
        yield
    except (KeyboardInterrupt, TrainingInterrupted) as error:
        said = f"{error}" or "interrupted"
        say(f"{said.partition(';')[0]}{when_interrupted and f'; {when_interrupted}'}")
        raise typer.Exit(Code.INTERRUPTED) from None
    except (StudyError, StorageError, TrainingDiverged, ValueError, OSError, ImportError) as error:
        typer.secho(f"error: {_mended(error)}", err=True, fg="red")
        raise typer.Exit(Code.ERROR) from None


def _mended(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error}; pip install 'immature-ood[workflow]' brings it"
    return str(error).removeprefix("datasets.images.")
