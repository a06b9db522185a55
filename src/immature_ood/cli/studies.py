"""The command studies: which studies there are, and how far each has come."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from immature_ood.cli.told import checkout, failures

if TYPE_CHECKING:
    from immature_ood.inventory import Entry, Made
    from immature_ood.study import Study

__all__ = ["studies"]

WIDTH = 110  # of a line, in characters
NAMES = 60  # of a list of names


def studies(
    paths: Annotated[list[Path] | None, typer.Argument(help="Config files, or folders of them.")] = None,
) -> None:
    """List the studies that there are, and what of each is made.

    By default those of config.yaml and studies/. Files of results are counted, not read: immature-ood run says what
    would be made anew.

    \b
    immature-ood studies
    immature-ood studies studies/smoke.yaml
    """
    with failures():
        from immature_ood.inventory import entry_of

        for number, path in enumerate(_files(paths)):
            typer.echo("\n".join([*([""] if number else []), *_lines(entry_of(path))]))


def _files(paths: list[Path] | None) -> list[Path]:
    """The config files that are asked for; raises ValueError, naming the mend, if there is none."""
    from immature_ood.inventory import study_files

    if not paths:
        found = study_files(Path())
        if not found or not Path("Snakefile").is_file():
            raise ValueError(f"no studies here: {checkout()}, or name a study's file")
        return found
    found = [file for path in paths for file in (study_files(path) if path.is_dir() else [path])]
    if missing := next((path for path in [*paths, *found] if not path.exists()), None):
        raise ValueError(f"there is no {missing}; without a name the studies of the folder are listed")
    if not found:
        raise ValueError(f"{paths[0]} holds no .yaml file; name a study's file")
    return found


def _lines(entry: "Entry") -> Iterator[str]:
    from immature_ood.inventory import made_of

    name = entry.study.name if entry.study else entry.path.stem
    yield f"{name}  {entry.path}"
    if entry.purpose:
        yield f"  {textwrap.shorten(entry.purpose, WIDTH, placeholder=' …')}"
    if entry.study:
        made = made_of(entry.study)
        yield f"  {_described(entry.study)}{'' if any(each.done for each in made) else '; nothing made yet'}"
        yield from _how_far(made, entry.study.name)
    elif entry.is_overlay:
        yield "  no study by itself: it is read over another, --configfile OTHER THIS"
    if entry.faults:
        more = f" (and {len(entry.faults) - 1} more)" if len(entry.faults) > 1 else ""
        yield f"  {'cannot be run yet' if entry.study else 'not valid'}: {entry.faults[0]}{more}"


def _described(study: "Study") -> str:
    pairs = len(study.id_datasets) * (len(study.real_datasets) - 1)
    seeds = f"seed {study.seeds[0]}" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"
    return (
        f"{_counted('set', study.datasets)}; {_counted('model', study.models)}; "
        f"{pairs} pair{'s' * (pairs != 1)}; {seeds}; epochs to {study.epochs[-1]}"
    )


def _counted(what: str, names: Iterable[str]) -> str:
    listed = [*names]
    said = textwrap.shorten(", ".join(listed), NAMES, placeholder=" …")
    return f"{len(listed)} {what}{'s' * (len(listed) != 1)} ({said})"


def _how_far(made: "Sequence[Made]", name: str) -> Iterator[str]:
    """What is there, in the order in which it is made; nothing if nothing is."""
    *counts, report = made
    if any(each.done for each in made):
        there = ", ".join(f"{each.done} of {each.total} {each.what}" for each in counts)
        yield f"  made: {there}; {f'results/{name}/report.html' if report.done else 'no report'}"
