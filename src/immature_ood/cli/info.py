"""The command info: what a detector file is."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from immature_ood.cli.told import failures

__all__ = ["info"]

PARTS = ("train", "fit", "calibration", "check")


def info(
    detector: Annotated[Path, typer.Argument(help="A detector file, such as mine.iood.")],
    as_json: Annotated[bool, typer.Option("--json", help="All of the card, as JSON.")] = False,
) -> None:
    """Say what a detector was made from, and how well it keeps its level.

    \b
    immature-ood info mine.iood
    immature-ood info mine.iood --json
    """
    with failures():
        from immature_ood.detector_file import card_of

        card = card_of(detector)
        try:
            lines = [json.dumps(card, indent=1, sort_keys=True)] if as_json else [*_lines(card)]
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{detector}: its card is not whole ({error}); fit it again") from error
        typer.echo("\n".join(lines))


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    channels, height, width = card["shape"]
    images, last = card["images"], card["training"][-1]
    yield f"images       {width}×{height}, {'grey' if channels == 1 else 'colour'}"
    yield f"             {', '.join(f'{images[name]} {name}' for name in PARTS)}"
    if pictures := card.get("pictures"):
        sides = pictures["sides"]
        yield f"stored as    {_counts(pictures['formats'])}; {_counts(pictures['modes'])}"
        yield f"             shorter sides of {sides['least']} to {sides['most']} pixels, median {sides['median']}"
    if kept := card.get("thumbnails"):
        yield f"pictures     {kept} of the fit part are in this file (--keep-thumbnails)"
    yield f"data         sha256 {card['train_sha256'][:16]}… of the training images"
    model = _options(card["model"], "architecture")
    yield f"model        {model}; {images['train']} images, {last['epoch']} passes"
    bits = ", ".join(f"{row['fit_bits_per_dim']:.2f}" for row in card["training"])
    yield f"maturity     held-out bits/dim by epoch, from 0: {bits}"
    yield f"             stopped: {card['stopped']}"
    yield f"detector     {card['detector']['detector']}{_parts(card['detector'])}"
    for row in card["false_alarms"]:
        yield _false_alarms(row)
    yield f"seed         {card['seed']}, {card['threads']} threads"
    yield f"versions     {', '.join(f'{name} {number}' for name, number in sorted(card['versions'].items()))}"


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counted.items()))


def _options(section: Mapping[str, Any], key: str) -> str:
    own = {name: value for name, value in section.items() if name not in (key, "training", "mutation_rate")}
    return f"{section[key]} ({', '.join(f'{name} {value}' for name, value in own.items())})"


def _parts(section: Mapping[str, Any]) -> str:
    names = [part["detector"] for part in section.get("parts", {}).values()]
    return f" of {' and '.join(names)}" if names else ""


def _false_alarms(row: Mapping[str, Any]) -> str:
    """A line of the check, with the exact binomial interval of Clopper & Pearson (1934) for new images."""
    from scipy.stats import binomtest

    groups, alarms = row["groups"], row["alarms"]
    if not groups:
        return f"false alarms b = {row['batch_size']}: no group to check"
    interval = binomtest(alarms, groups).proportion_ci()
    return (
        f"false alarms b = {row['batch_size']}, at {row['level']:.0%}: {alarms} of {groups} held-out groups, "
        f"{alarms / groups:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
    )
