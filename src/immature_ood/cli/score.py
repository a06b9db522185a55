"""The command score: which of these images do not belong?"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from immature_ood.cli.told import Code, failures, say, warn
from immature_ood.cli.writing import Format, format_of, writer

if TYPE_CHECKING:
    import numpy as np

    from immature_ood.cli.pictures import Picture
    from immature_ood.detector_file import ImageDetector
    from immature_ood.kinds.images import Config as ImageConfig
    from immature_ood.plots.sheet import Sheet

__all__ = ["Drift", "GroupBy", "score", "shape_of"]

CHUNK = 500  # images that are in memory at once
SURE = 0.001  # a batch has drifted if chance alone gives as much as rarely as this
MEDIAN = 0.5
DATA = "Folders, pictures, .npy or .npz files, or names of data sets."
STUDY = "Score by a finished study, results/<study>, and its detectors."
NO_P_VALUES = "the study has no calibration images for this detector (evaluation.calibration_images)"
TOGETHER = "Score images of one folder together, --b at a time."
SHEET = "A picture (.png, .pdf, .svg) of the most and the least unusual of the images."
COLUMNS = {"path": str, "score": float, "p_value": float, "verdict": str, "error": str}


class GroupBy(StrEnum):
    """What images are put together by."""

    FOLDER = "folder"


def score(
    detector: Annotated[str, typer.Argument(help="A detector file, such as mine.iood; none with --study.")],
    data: Annotated[list[str] | None, typer.Argument(help=DATA)] = None,
    out: Annotated[Path | None, typer.Option(help="A .csv, .jsonl or .parquet file; default: stdout.")] = None,
    form: Annotated[Format | None, typer.Option("--format", help="Default: by the suffix of --out, or csv.")] = None,
    false_alarms: Annotated[
        float, typer.Option(min=0, max=1, help="Share of images that belong and are called odd.")
    ] = 0.05,
    group_by: Annotated[GroupBy | None, typer.Option(help=TOGETHER)] = None,
    b: Annotated[int, typer.Option("--b", min=1, help="Images a group, a size that the detector was fitted to.")] = 1,
    sheet: Annotated[Path | None, typer.Option(help=SHEET)] = None,
    sheet_each: Annotated[int, typer.Option(min=1, max=96, help="How many of both are on the sheet.")] = 24,
    fail_on_odd: Annotated[bool, typer.Option("--fail-on-odd", help="Exit with 1 if any is odd.")] = False,
    study: Annotated[Path | None, typer.Option(help=STUDY)] = None,
    id_set: Annotated[str | None, typer.Option("--id", help="Of the study: the images that belong.")] = None,
    model: Annotated[str | None, typer.Option(help="Of the study; so is what follows.")] = None,
    seed: Annotated[str | None, typer.Option(help='A number, or "all" of all together.')] = None,
    epoch: Annotated[int | None, typer.Option(help="Default: that of the lowest held-out bits/dim.")] = None,
    of_study: Annotated[str | None, typer.Option("--detector", help="Its name in the study.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    data_dir: Annotated[Path, typer.Option(help="Where files of named data sets are, and go.")] = Path("data"),
) -> None:
    """Say of each image how odd it is, by a detector file or by a finished study.

    A row an image: path, score (higher is more odd), p_value (of images that belong, a share of a have one of a or
    less), verdict (odd or normal), error (why a file was not read).

    \b
    immature-ood score mine.iood new/ --out scores.csv
    immature-ood score mine.iood new/ --group-by folder --b 5
    immature-ood score mine.iood new/ --out scores.csv --sheet sheet.png
    immature-ood score --study results/pocket new/ --epoch 10

    Exit codes: 0 done; 1 some are odd, with --fail-on-odd; 2 nothing was done; 3 some files could not be read;
    130 interrupted.
    """
    with failures():
        if b > 1 and group_by is None:
            raise ValueError(f"--b {b} needs --group-by folder, which says what is scored together")
        place = {"id": id_set, "model": model, "seed": seed, "epoch": epoch}
        given = [*([] if study is None else [detector]), *(data or [])]
        _check_given(given, study, {**place, "detector": of_study})
        scorer = _of_file(detector, threads) if study is None else _of_study(study, place, of_study, threads)
        job = Job(scorer, false_alarms, b, group_by is not None, _sheet(sheet, sheet_each, false_alarms))
        job.check(fail_on_odd)
        _score(job, given, data_dir, out, format_of(out, form))
        raise typer.Exit(job.code(fail_on_odd))


def _score(job: "Job", data: Sequence[str], data_dir: Path, out: Path | None, form: Format) -> None:
    from immature_ood.cli.pictures import number_of, pictures_of

    image, total = shape_of(job.detector), number_of(data)
    sources = [pictures_of(each, image, data_dir) for each in data]
    job.run((picture for source in sources for picture in source), total, out, form)
    job.report()


class Scorer(Protocol):
    """What images are scored by: an ImageDetector or a StudyDetector."""

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def card(self) -> Mapping[str, Any]: ...

    def score(self, images: "np.ndarray", b: int = 1) -> "np.ndarray": ...

    def p_values(self, scores: "np.ndarray", b: int = 1) -> "np.ndarray":
        """NaN if there are none."""

    def calibrated_on(self, b: int) -> int:
        """Of how many groups, or units of such, p-values are; 0: there are none."""

    def check_level(self, level: float, b: int = 1) -> None:
        """Raises ValueError if no p-value is as low as a level, or there is no detector for b."""


def _check_given(data: Sequence[str], study: Path | None, of_study: Mapping[str, object]) -> None:
    """Raises ValueError if there is nothing to be scored, or a place in a study is named and no study."""
    if not data:
        raise ValueError("say what is to be scored: immature-ood score mine.iood new/")
    if study is None and (named := [f"--{name}" for name, value in of_study.items() if value is not None]):
        raise ValueError(f"{named[0]} is of a study: say which, by --study results/<study>")


def _of_file(detector: str, threads: int) -> Scorer:
    from immature_ood import detector_file
    from immature_ood.runtime import prepare

    prepare(threads)
    return detector_file.load(detector)


def _of_study(study: Path, place: Mapping[str, Any], detector: str | None, threads: int) -> Scorer:
    """And says what was chosen."""
    from immature_ood import study_detector
    from immature_ood.runtime import prepare

    prepare(threads)
    chosen = study_detector.choose(study, **place)
    loaded = study_detector.load(chosen, detector)
    say(f"{study}: {chosen}, detector {loaded.name}")
    return loaded


def _sheet(path: Path | None, each: int, level: float) -> "Sheet | None":
    if path is None:
        return None
    from immature_ood.plots.sheet import Sheet

    return Sheet(path, each, level)


def shape_of(detector: "Scorer | ImageDetector") -> "ImageConfig":
    """What pictures are brought to; raises ValueError if that is no square, which a command makes no detector for."""
    from immature_ood.kinds.images import Config as ImageConfig

    if isinstance(of_study := getattr(detector, "data", None), ImageConfig):
        return of_study
    channels, height, width = detector.shape
    if height != width:
        raise ValueError(f"this detector is for images of {width}×{height}, which only Python makes and scores")
    return ImageConfig.model_validate({"channels": channels, "side": height})


@dataclass(frozen=True)
class Group:
    """Images that are scored together; without pixels there is an error. images: the names of several."""

    path: str
    pixels: "Sequence[np.ndarray]" = ()
    error: str = ""
    images: str = ""

    @property
    def name(self) -> str:
        """For people: of several images, the first, and how many more there are."""
        if not self.images:
            return self.path
        first = self.images.partition(os.pathsep)[0]
        place = "" if "#" in first else f"{self.path}/"
        return f"{place}{first} +{len(self.pixels) - 1}"


@dataclass
class Drift:
    """How many p-values are at or below a few levels, of which chance gives a known number.

    Of m groups like the n of calibration, the number with p ≤ a follows a beta-binomial law, for all are compared with
    one calibration set: the rate that it gives follows Beta(l, n + 1 − l), l = ⌊(n + 1) a⌋ (Vovk 2012), and ties make
    it less.
    """

    levels: Sequence[float]
    calibration: int
    total: int = 0
    below: list[int] = field(default_factory=list)

    def add(self, p: "np.ndarray") -> None:
        """Counts p-values, (m,)."""
        below = self.below or [0] * len(self.levels)
        self.below = [old + int((p <= a).sum()) for old, a in zip(below, self.levels, strict=True)]
        self.total += len(p)

    def lines(self) -> Iterator[str]:
        """A line for each level that more groups are below than chance explains, SURE being shared by all levels."""
        from scipy.stats import betabinom

        from immature_ood.detector_file import rank_of

        for level, found in zip(self.levels, self.below, strict=False):
            rank = rank_of(level, self.calibration)
            law = betabinom(self.total, rank, self.calibration + 1 - rank)
            if self.total and law.sf(found - 1) <= SURE / len(self.levels):
                most = int(law.isf(SURE / len(self.levels)))
                yield (
                    f"{found} of {self.total} ({found / self.total:.1%}) have p ≤ {level:g}, where images that belong "
                    f"have {level:.1%}, by chance up to {most / self.total:.1%}"
                )


@dataclass
class Job:
    """Scores groups as they come, and counts what is to be told at the end."""

    detector: Scorer
    level: float
    b: int
    by_folder: bool
    sheet: "Sheet | None" = None
    scored: int = 0
    odd: int = 0
    unread: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        from immature_ood.cli.pictures import Survey

        self.survey: Survey = Survey.empty()
        self.calibrated = self.detector.calibrated_on(self.b)
        self.drift = Drift([self.level, MEDIAN], self.calibrated)

    def check(self, fail_on_odd: bool) -> None:
        """Raises ValueError if there can be no verdicts at this level, or, where they are asked for, none at all."""
        self.detector.check_level(self.level, self.b)
        if fail_on_odd and not self.calibrated:
            raise ValueError(f"--fail-on-odd needs p-values; {NO_P_VALUES}")

    def run(self, pictures: "Iterable[Picture]", total: int, out: Path | None, form: Format) -> None:
        """Writes a row a group."""
        from immature_ood.progress import progress

        columns = {"path": str, "images": str, **COLUMNS} if self.by_folder else COLUMNS
        seen = map(self._seen, pictures)
        groups = _by_folder(seen, self.b) if self.by_folder else (_alone(picture) for picture in seen)
        with writer(out, form, columns) as write, progress("score", total) as advance:
            while some := [*islice(groups, max(CHUNK // self.b, 1))]:
                write([*self._rows(some)])
                advance(sum(max(len(group.pixels), 1) for group in some))

    def report(self) -> None:
        """Says on stderr what is to be known of all of them."""
        from immature_ood.cli.pictures import differences

        if self.calibrated:
            share = f" ({self.odd / self.scored:.1%})" if self.scored else ""
            say(f"{self.scored} {self._things} scored, {self.odd} odd{share} at false alarms of {self.level:g}")
        else:
            say(f"{self.scored} {self._things} scored, without p-values and verdicts: {NO_P_VALUES}")
        if self.unread:
            say(f"{self.unread} files could not be read: see the column error")
        self._save_sheet()
        for line in differences(self.detector.card, self.survey):
            warn(line)
        drifted = [*self.drift.lines()]
        for line in drifted:
            warn(line)
        if drifted:
            warn("so many of them are odd, or all are unlike the images of the fit set: then fit anew")

    def _save_sheet(self) -> None:
        if self.sheet and self.scored:
            self.sheet.save()
            say(f"{self.sheet.path}: the most and the least unusual of them")
        elif self.sheet:
            warn(f"no {self._things} were scored: {self.sheet.path} is not made")

    def code(self, fail_on_odd: bool) -> Code:
        """The exit code."""
        if fail_on_odd and self.odd:
            return Code.ODD
        return Code.UNREAD if self.unread else Code.DONE

    @property
    def _things(self) -> str:
        return f"groups of {self.b}" if self.b > 1 else "images"

    def _seen(self, picture: "Picture") -> "Picture":
        if picture.look:
            self.survey.add(picture.look)
        if picture.error:
            self.unread += 1
            warn(f"{picture.path}: {picture.error}")
        return picture

    def _rows(self, groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
        import numpy as np

        pixels = [each for group in groups for each in group.pixels]
        scores = self.detector.score(np.stack(pixels), self.b) if pixels else np.empty(0)
        p_values = self.detector.p_values(scores, self.b)
        if self.calibrated:
            self.drift.add(p_values)
        found = zip(scores.tolist(), p_values.tolist(), strict=True)
        for group in groups:
            row = {"path": group.path, **({"images": group.images} if self.by_folder else {})}
            yield row | ({"error": group.error} if not group.pixels else self._scored(group, *next(found)))

    def _scored(self, group: Group, score: float, p: float) -> dict[str, Any]:
        is_odd = p <= self.level
        self.scored += 1
        self.odd += is_odd
        if self.sheet:
            self._show(self.sheet, group, score, p if self.calibrated else None, is_odd)
        said = {"p_value": p, "verdict": "odd" if is_odd else "normal"} if self.calibrated else {}
        return {"score": score, **said, "error": ""}

    @staticmethod
    def _show(sheet: "Sheet", group: Group, score: float, p: float | None, is_odd: bool) -> None:
        import numpy as np

        from immature_ood.plots.sheet import Tile

        sheet.add(Tile(np.stack(group.pixels), group.name, score, p, is_odd))


def _alone(picture: "Picture") -> Group:
    return Group(picture.path, () if picture.pixels is None else [picture.pixels], picture.error)


def _by_folder(pictures: "Iterable[Picture]", b: int) -> Iterator[Group]:
    """Groups of b images of one folder, in the order in which they come; of a NumPy file, of the file."""
    waiting: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.pixels is None:
            yield Group(picture.path, error=picture.error)
            continue
        place = _folder_of(picture.path)
        together = waiting.setdefault(place, [])
        together.append(picture)
        if len(together) == b:
            yield _together(place, waiting.pop(place))
    for place, rest in waiting.items():
        yield Group(place, error=f"{len(rest)} images are left, which make no group of {b}", images=_names(rest))


def _folder_of(path: str) -> str:
    file, row, _ = path.rpartition("#")
    return file if row else str(PurePath(path).parent)


def _together(place: str, pictures: "Sequence[Picture]") -> Group:
    return Group(place, [each.pixels for each in pictures if each.pixels is not None], "", _names(pictures))


def _names(pictures: "Sequence[Picture]") -> str:
    return os.pathsep.join(PurePath(each.path).name for each in pictures)
