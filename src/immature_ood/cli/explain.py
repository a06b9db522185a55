"""The command explain: why does an image have its score?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from immature_ood.cli.told import failures, say

if TYPE_CHECKING:
    from immature_ood.explaining import Explanation

__all__ = ["explain"]

IMAGE = "A picture, or a row of a NumPy file, file.npy#row."


def explain(
    detector: Annotated[Path, typer.Argument(help="A detector file, such as mine.iood.")],
    image: Annotated[str, typer.Argument(help=IMAGE)],
    out: Annotated[Path, typer.Option(help="The picture to be made, .png, .pdf or .svg.")] = Path("explain.png"),
    false_alarms: Annotated[
        float, typer.Option(min=0, max=1, help="Share of images that belong and are called odd.")
    ] = 0.05,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
) -> None:
    """Show why an image has its score.

    Which layers deviate from the images that belong, what in the picture the score changes with, and, of a detector
    that was fitted with --keep-thumbnails, the nearest of those images.

    \b
    immature-ood explain mine.iood new/0001.png --out explain.png
    immature-ood explain mine.iood new.npy#17
    """
    with failures():
        from immature_ood import detector_file
        from immature_ood.cli.pictures import picture_of
        from immature_ood.cli.score import shape_of
        from immature_ood.plots import saving
        from immature_ood.plots.explanation import explanation
        from immature_ood.runtime import prepare
        from immature_ood.storage import check_writable

        saving.check_suffix(out)
        check_writable(out.parent)
        prepare(threads)
        loaded = detector_file.load(detector)
        loaded.check_level(false_alarms)
        picture = picture_of(image, shape_of(loaded))
        if picture.pixels is None:
            raise ValueError(f"{picture.path}: {picture.error}")
        from immature_ood.explaining import explain as explained

        found = explained(loaded, picture.pixels)
        saving.save(explanation(found, Path(picture.path).name, false_alarms), out)
        typer.echo("\n".join(_lines(found, false_alarms)))
        if not found.nearest:
            say("fit --keep-thumbnails keeps pictures of those that belong, to show the nearest")
        say(f"{out}: the same as a picture, and where the score would change")


def _lines(found: "Explanation", level: float) -> Iterator[str]:
    from immature_ood.plots.explanation import composition, largest, verdict

    yield verdict(found, level)
    yield composition(found)
    for block, kinds in largest(found).items():
        yield block
        yield from (f"  {deviation:+8.1f}  {kind}" for kind, deviation in kinds.items())
