"""The command fit: a folder of images → a detector file."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from immature_ood.cli.told import failures, say

if TYPE_CHECKING:
    from immature_ood.fitting import Parts
    from immature_ood.kinds.images import Config as ImageConfig

__all__ = ["fit"]

LARGEST = 32  # pixels of a side by default
LEAST = 8
STEP = 4  # the model halves sides twice
DATA = "A folder of pictures, a .npy or .npz file, or the name of a data set."
SIZE = "Side in pixels, even; default: the pictures', at most 32."
EPOCHS = "Passes of training; default: until they gain little."
THUMBNAILS = "Put up to 1,000 small pictures of yours in the file, for explain."
THREADS = "Threads of torch, on which the last digits depend; small images gain little."


def fit(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[Path, typer.Option(help="The detector file to be made, such as mine.iood.")],
    size: Annotated[int | None, typer.Option(min=LEAST, help=SIZE)] = None,
    colour: Annotated[bool | None, typer.Option("--colour/--grey", help="Default: grey if all pictures are.")] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help=EPOCHS)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random numbers follow from it.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help=THREADS)] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "cpu",
    data_dir: Annotated[Path, typer.Option(help="Where files of named data sets are, and go.")] = Path("data"),
    keep_thumbnails: Annotated[bool, typer.Option("--keep-thumbnails", help=THUMBNAILS)] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was interrupted.")] = False,
) -> None:
    """Make a detector from images that belong.

    Half of the images train a small model, a fifth fits the detector, a fifth calibrates its p-values, and on the last
    tenth false alarms are counted. Ctrl-C keeps the training, for --resume.

    \b
    immature-ood fit pictures/ --out mine.iood
    immature-ood fit images.npy --out mine.iood --size 32 --colour --epochs 8
    """
    with failures(f"go on by the same command with --resume; all is kept in {_work(out)}"):
        from immature_ood import fitting
        from immature_ood.runtime import prepare

        chosen = prepare(threads, device)
        image, pictures = _image(data, size, colour)
        model = fitting.model_for(image.shape)
        with _working(out, resume) as work:
            parts, described = _parts(data, image, data_dir)
            say(_plan(parts, image))
            recipe = fitting.Recipe(model=model, epochs=epochs, seed=seed, keep_thumbnails=keep_thumbnails)
            card = {**described, **({"pictures": pictures} if pictures else {})}
            fitted = fitting.fit(parts, recipe, work, device=str(chosen), card=card, on_epoch=_tell)
            fitted.save(out)
        say(f"stopped after epoch {fitted.card['training'][-1]['epoch']}: {fitted.card['stopped']}")
        say(f"{out}: {out.stat().st_size / 2**20:.1f} MiB; immature-ood info {out} says what it is")


def _image(data: str, size: int | None, colour: bool | None) -> "tuple[ImageConfig, dict[str, Any]]":
    """The shape that images are brought to, and how they are stored."""
    from immature_ood.cli.pictures import source_of, survey_of
    from immature_ood.kinds.images import Config as ImageConfig

    source_of(data)
    survey = survey_of(data)
    if Path(data).is_dir() and not survey.sides:
        raise ValueError(f"there is no picture in {data}")
    channels = 3 if (survey.colour if colour is None else colour) else 1
    side = size or (_side(survey.median_side) if survey.sides else 28)
    return ImageConfig.model_validate({"channels": channels, "side": side}), survey.described() if survey.sides else {}


def _side(found: int) -> int:
    """A side for images whose shorter sides have this median."""
    return max(LEAST, min(LARGEST, found // STEP * STEP))


def _parts(data: str, image: "ImageConfig", data_dir: Path) -> "tuple[Parts, dict[str, Any]]":
    """The images in four parts, and what the card says of them."""
    from immature_ood import datasets
    from immature_ood.cli.pictures import source_of
    from immature_ood.fitting import parts_of
    from immature_ood.storage import load_split, read_json

    config = source_of(data, _sizes(source_of(data).available()))
    with tempfile.TemporaryDirectory() as folder:
        datasets.make("images", config, image, folder, data_dir)
        splits = {name: load_split(Path(folder, f"{name}.npy"), image.check)[:] for name in datasets.SPLITS}
        manifest = read_json(Path(folder, "manifest.json"))
    said = {key: manifest[key] for key in ("source", "formats", "resized", "lossy", "left_out")}
    counted = ("count", "dropped", "repeated", "sha256")
    of_splits = {name: {key: each[key] for key in counted} for name, each in manifest["splits"].items()}
    return parts_of(splits), {"data": {**said, "splits": of_splits}}


def _sizes(available: Mapping[str, int | None]) -> dict[str, int]:
    """How many images each split gets of what there is; of a data set that does not say it, as it is asked for."""
    from immature_ood.fitting import MOST, sizes_of

    there = {name: number for name, number in available.items() if number is not None}
    if "all" in there:
        return sizes_of(there["all"])
    if not there:
        return {"test": MOST["test"]} if not available else {}
    fit = min(2 * there["test"] // 5, MOST["fit"])
    return {"train": min(there["train"], MOST["train"]), "fit": fit, "test": min(there["test"] - fit, MOST["test"])}


def _work(out: Path) -> Path:
    return out.with_name(f"{out.name}.work")


@contextmanager
def _working(out: Path, resume: bool) -> Iterator[Path]:
    """The folder of an unfinished training, which is removed at the end."""
    from immature_ood.storage import check_writable

    check_writable(out.parent)
    work = _work(out)
    if work.exists() and not resume:
        raise ValueError(f"{work} holds a training that was interrupted; go on by --resume, or remove it")
    yield work
    shutil.rmtree(work, ignore_errors=True)


def _plan(parts: "Parts", image: "ImageConfig") -> str:
    kind = "grey" if image.channels == 1 else "colour"
    numbers = f"{len(parts.train)} to train, {len(parts.fit)} to fit, {len(parts.calibration)} to calibrate"
    return f"{image.side}×{image.side} {kind} images: {numbers}, {len(parts.check)} to check"


def _tell(row: Mapping[str, Any]) -> None:
    say(f"epoch {row['epoch']}: {row['fit_bits_per_dim']:.3f} bits/dim held out, {row['seconds']:.1f} s")
