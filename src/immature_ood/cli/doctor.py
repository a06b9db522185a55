"""The command doctor: what a study will cost, and whether this machine can run it."""

from pathlib import Path
from typing import Annotated

import typer

from immature_ood.cli.told import failures

__all__ = ["doctor"]


def doctor(
    study: Annotated[Path, typer.Argument(help="A study's config.")] = Path("config.yaml"),
) -> None:
    """Say what a study will cost, and whether all that it needs is here.

    A line a thing: ok or BAD. Times are those of one process on this machine, from a step of a few images: good to
    some 30 %.

    \b
    immature-ood doctor
    immature-ood doctor studies/fashion.yaml

    Exit codes: 0 all is well; 1 something is BAD; 2 there is no such study.
    """
    with failures():
        from immature_ood.doctor import examine

        raise typer.Exit(not examine(study))
