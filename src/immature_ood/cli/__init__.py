"""The command immature-ood: one file a command, each a function that typer reads the options of.

What is heavy, such as torch, is imported inside the commands, so that --help comes at once.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from immature_ood.cli import doctor, explain, fit, info, run, score, studies

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
for command in (fit.fit, score.score, explain.explain, info.info, studies.studies, doctor.doctor, run.run):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version("immature-ood"))
        raise typer.Exit


@app.callback()
def _command(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")] = False,
) -> None:
    """Which new images do not belong? Learn from a folder of those that do.

    \b
    immature-ood fit pictures/ --out mine.iood
    immature-ood score mine.iood new/ > scores.csv
    immature-ood explain mine.iood new/0001.png
    immature-ood info mine.iood
    """


def main() -> None:
    """Runs the command; exit codes are those of cli.told.Code."""
    app(prog_name="immature-ood")
