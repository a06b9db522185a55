"""Files for people: CSV, and the paper's table of AUROC by epoch as Markdown, HTML and terminal text."""

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tabulate import tabulate

from immature_ood.claim import claim_summary
from immature_ood.config import POOLED
from immature_ood.controls import NONE_SOLVED, is_solved, solved_note
from immature_ood.evaluation import calibration_rows, without_calibration
from immature_ood.maturity import maturity_summary
from immature_ood.storage import write_bytes

__all__ = [
    "Cell",
    "PaperTable",
    "claim_text",
    "frame_to_html",
    "paper_tables",
    "read_table",
    "summary_text",
    "to_html",
    "to_markdown",
    "write_csv",
]

NAMES = (  # columns of words, whatever they look like: a data set may be called 007, 1e3 or NA
    *("id_dataset", "ood_dataset", "eval_dataset", "name", "model", "detector", "layer"),
    *("choice", "baseline", "metric", "method", "source", "unit", "verdict", "device"),
    *("control", "reference", "over", "maturity", "reference_maturity"),
    *("moment", "epochs", "reference_epochs", "rule", "one_for_all"),
)

TEXT_WIDTH = 112  # columns of a terminal
SOLVED_MARK = "†"
SOLVED_NOTE = f"{SOLVED_MARK} solved for some b by a control, which reads no trained model; the others: without them."
BEST_NOTE = "best epoch of the pair and b (each, if several print the same), picked on the test data."
STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; background: #fff; margin: 2em; }
figure { margin: 0 0 2.5em; overflow-x: auto; }
figcaption { font-weight: 600; margin-bottom: .4em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; white-space: nowrap; }
th { font-weight: normal; }
th[scope=row], th[rowspan] { text-align: left; }
th[scope=colgroup] { text-align: left; font-weight: 600; }
thead { border-top: 2px solid; border-bottom: 1px solid; }
tbody { border-bottom: 2px solid; }
tr.mean th, tr.mean td { border-top: 1px solid; }
.first { padding-left: 2em; }
small { color: #555; }
p { margin: .4em 0 0; font-size: 13px; color: #333; }
pre { font-size: 13px; white-space: pre-wrap; }
"""


def write_csv(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Writes a table as CSV, whole or not at all; six significant digits, NaN as an empty field."""
    write_bytes(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads what write_csv wrote: names are the strings that were written; of the numbers an empty field is NaN."""
    columns = pd.read_csv(path, nrows=0, encoding="utf-8").columns
    return pd.read_csv(
        path,
        dtype={name: str for name in columns if name in NAMES},
        converters={"seed": _seed} if "seed" in columns else None,
        keep_default_na=False,
        na_values={column: [""] for column in columns if column not in NAMES},
        encoding="utf-8",
    )


def _seed(field: str) -> int | str | float:
    """A number, or POOLED where a row is of all seeds together; of no seed, as in a mean over them, NaN."""
    return field if field == POOLED else int(field) if field else np.nan


@dataclass(frozen=True)
class Cell:
    """An AUROC: the mean over seeds, its standard deviation (NaN for one seed), whether it is the best of its row."""

    mean: float
    spread: float
    best: bool


@dataclass(frozen=True)
class PaperTable:
    """One detector of one model: a column for each (b, epoch); a row for each (ID, OOD) pair and, last, their mean.

    Where controls solve some pairs for some b, there is one more mean at the end, over the others.

    If it is of calibration rows: a row for each ID data set, no mean and no best epoch.
    """

    title: str
    columns: tuple[tuple[int, int], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]
    seeds: int
    calibration: bool
    means: int = 1

    @property
    def header(self) -> str:
        """The header of the column of row names."""
        return "ID" if self.calibration else "ID → OOD"

    @property
    def batch_sizes(self) -> list[int]:
        """Each b once, in the order of the columns."""
        return list(dict.fromkeys(b for b, _ in self.columns))

    def epochs(self, batch_size: int) -> list[int]:
        """The epochs of the columns of one b."""
        return [epoch for b, epoch in self.columns if b == batch_size]

    def all_notes(self, mark: str, spread: bool = True) -> list[str]:
        """The notes, the first of which says what the mark of the best epoch means. spread: whether cells have a ±."""
        best = [] if self.calibration else [f"{mark} {BEST_NOTE}"]
        ending = "; ±: their standard deviation." if spread else "."
        return [*best, *self.notes, *([f"Means over {self.seeds} seeds{ending}"] if self.seeds > 1 else [])]


def paper_tables(auroc: pd.DataFrame, solved: pd.DataFrame = NONE_SOLVED) -> list[PaperTable]:
    """The form of the paper: one table a model and detector, then one each of its calibration rows.

    auroc: what evaluation.auroc_table gives. Cells are means over seeds, with their standard deviation (n − 1) if
    there are several; the spread of the last row is that of each seed's mean over the pairs. solved: what
    controls.solved_pairs gives; these pairs are marked.
    """
    pairs, calibration = without_calibration(auroc), calibration_rows(auroc)
    return [
        *(_pair_table(f"{detector}, {model}", rows, solved) for (model, detector), rows in _by_detector(pairs)),
        *(_calibration_table(f"{detector}, {model}", rows) for (model, detector), rows in _by_detector(calibration)),
    ]


def _by_detector(auroc: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    return list(auroc.groupby(["model", "detector"]))


def _pair_table(name: str, auroc: pd.DataFrame, solved: pd.DataFrame) -> PaperTable:
    named = auroc.assign(row=auroc["id_dataset"] + " → " + auroc["ood_dataset"], solved=is_solved(auroc, solved))
    marked = named.groupby("row")["solved"].transform("any")
    named = named.assign(row=named["row"] + marked.map({True: f" {SOLVED_MARK}", False: ""}))
    left = named[~named["solved"]]
    parts = {"mean": named, "mean of the others": left.iloc[:0] if len(left) == len(named) else left}
    means = [_means(rows, name) for name, rows in parts.items() if len(rows)]
    last = [row for each in means for row in _rows(each, mark_best=False, columns=_columns(named))]
    rows = (*_rows(named, mark_best=True), *last)
    notes = (*_notes(auroc), *([SOLVED_NOTE] if marked.any() else []))
    seeds = auroc["seed"].nunique()
    return PaperTable(f"AUROC of {name}", _columns(auroc), rows, notes, seeds, calibration=False, means=len(means))


def _means(named: pd.DataFrame, name: str) -> pd.DataFrame:
    """By seed, b and epoch, the mean over the pairs; NaN, not fewer pairs, where one of the same b was not tested."""
    parts = [
        rows.pivot(index=["seed", "batch_size", "epoch"], columns="row", values="auroc").mean(axis=1, skipna=False)
        for _, rows in named.groupby("batch_size")
    ]
    return pd.concat(parts).reset_index(name="auroc").assign(row=name)


def _calibration_table(name: str, auroc: pd.DataFrame) -> PaperTable:
    rows = (*_rows(auroc.assign(row=auroc["id_dataset"]), mark_best=False),)
    notes = ("About 0.5 if the test set looks like the set the detector was fitted on.", *_notes(auroc))
    title = f"Calibration of {name}: AUROC of the ID test set against the ID fit set"
    return PaperTable(title, _columns(auroc), rows, notes, auroc["seed"].nunique(), calibration=True)


def _notes(auroc: pd.DataFrame) -> tuple[str, ...]:
    return ("Epoch 0 is the untrained control.",) if (auroc["epoch"] == 0).any() else ()


def _columns(auroc: pd.DataFrame) -> tuple[tuple[int, int], ...]:
    pairs = zip(auroc["batch_size"], auroc["epoch"], strict=True)
    return tuple(sorted({(int(b), int(epoch)) for b, epoch in pairs}))


def _rows(
    auroc: pd.DataFrame, mark_best: bool, columns: tuple[tuple[int, int], ...] | None = None
) -> list[tuple[str, tuple[Cell, ...]]]:
    """Rows by the column "row", in order of appearance; cells by (batch_size, epoch), by default those there are."""
    columns = columns or _columns(auroc)
    cells = auroc.groupby(["row", "batch_size", "epoch"], sort=False)["auroc"].agg(["mean", "std"])
    rows = []
    for name in auroc["row"].unique():
        row = cells.loc[name].reindex(columns)
        best = _best(columns, row["mean"].to_numpy()) if mark_best else [False] * len(columns)
        rows.append((str(name), tuple(map(Cell, row["mean"], row["std"], best))))
    return rows


def _best(columns: Sequence[tuple[int, int]], means: np.ndarray) -> list[bool]:
    """Whether each column has the highest mean of its b, as printed."""
    printed = np.round(means, 3)
    highest = {b: np.nanmax(printed[[other == b for other, _ in columns]]) for b, _ in columns}
    return [bool(value == highest[b]) for value, (b, _) in zip(printed, columns, strict=True)]


# Renderers -----------------------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def to_markdown(tables: Sequence[PaperTable]) -> str:
    """The tables one below the other, each with its title and notes."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: PaperTable) -> str:
    headers = [table.header, *(f"b={b}, epoch {epoch}" for b, epoch in table.columns)]
    rows = [[name, *map(_markdown_cell, cells)] for name, cells in table.rows]
    alignment = ["left"] + ["right"] * len(table.columns)
    body = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=alignment)
    return f"### {table.title}\n\n{body}\n\n" + "".join(f"{note}  \n" for note in table.all_notes("Bold:"))


def _markdown_cell(cell: Cell) -> str:
    mean = f"**{_number(cell.mean)}**" if cell.best else _number(cell.mean)
    return mean if np.isnan(cell.spread) else f"{mean} ± {_number(cell.spread)}"


def to_html(tables: Sequence[PaperTable], title: str, summary: str = "") -> str:
    """A page that needs no other file: the title, the summary (plain text, if any) and the tables."""
    return _page(title, summary, "".join(map(_html, tables)))


def frame_to_html(frame: pd.DataFrame, title: str, summary: str = "") -> str:
    """A page that needs no other file: the title, the summary (plain text, if any) and the rows as they are."""
    empty = "" if len(frame) else "<p>No rows.</p>\n"
    body = frame.to_html(index=False, border=0, float_format=_three_digits, na_rep="–")
    return _page(title, summary, f"<figure>\n{body}\n{empty}</figure>\n")


def _three_digits(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _page(title: str, summary: str, body: str) -> str:
    heading = html.escape(title)
    summary = f"<pre>{html.escape(summary)}</pre>\n" if summary else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{heading}</title>\n'
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{heading}</h1>\n{summary}"
        f"{body}</body>\n</html>\n"
    )


def _html(table: PaperTable) -> str:
    groups = "".join(
        f'<th scope="colgroup" class="first" colspan="{len(table.epochs(b))}">b = {b}</th>' for b in table.batch_sizes
    )
    firsts = [epoch == table.epochs(b)[0] for b, epoch in table.columns]
    epochs = "".join(
        f'<th scope="col"{_html_class(first)}>epoch {epoch}</th>'
        for (_, epoch), first in zip(table.columns, firsts, strict=True)
    )
    rows = "".join(_html_row(table, place, firsts) for place in range(len(table.rows)))
    notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in table.all_notes("Bold:"))
    return (
        f"<figure>\n<figcaption>{html.escape(table.title)}</figcaption>\n<table>\n<thead>\n"
        f'<tr><th rowspan="2">{html.escape(table.header)}</th>{groups}</tr>\n<tr>{epochs}</tr>\n'
        f"</thead>\n<tbody>\n{rows}</tbody>\n</table>\n{notes}</figure>\n"
    )


def _html_row(table: PaperTable, place: int, firsts: Sequence[bool]) -> str:
    name, cells = table.rows[place]
    kind = ' class="mean"' if not table.calibration and place == len(table.rows) - table.means else ""
    body = "".join(
        f"<td{_html_class(first)}>{_html_cell(cell)}</td>" for cell, first in zip(cells, firsts, strict=True)
    )
    return f'<tr{kind}><th scope="row">{html.escape(name)}</th>{body}</tr>\n'


def _html_cell(cell: Cell) -> str:
    mean = f"<b>{_number(cell.mean)}</b>" if cell.best else _number(cell.mean)
    return mean if np.isnan(cell.spread) else f"{mean} <small>± {_number(cell.spread)}</small>"


def _html_class(first: bool) -> str:
    """The first column of each b stands apart."""
    return ' class="first"' if first else ""


def summary_text(
    auroc: pd.DataFrame, claim: str, warnings: Sequence[str] = (), solved: pd.DataFrame = NONE_SOLVED
) -> str:
    """What a run prints at its end: AUROC by epoch (means over seeds), the calibration and the claim.

    auroc: what evaluation.auroc_table gives. claim: what claim_text gives. warnings: lines that come last. solved: what
    controls.solved_pairs gives.
    """
    tables = paper_tables(without_calibration(auroc), solved)
    notes = "\n".join(dict.fromkeys(note for table in tables for note in table.all_notes("*", spread=False)))
    return "\n\n".join([*map(_text, tables), notes, _calibration_text(auroc), claim, *warnings]) + "\n"


def claim_text(
    claim: pd.DataFrame, training: pd.DataFrame, solved: pd.DataFrame = NONE_SOLVED, controls: Sequence[str] = ()
) -> str:
    """The claim in a few lines, after the pairs that controls solve, if there are any, and how far trainings came.

    claim: what claim.claim_table gives. training: what maturity.with_maturity gives of all trainings.
    """
    return "\n\n".join(filter(None, [solved_note(solved), maturity_summary(training), claim_summary(claim, controls)]))


def _text(table: PaperTable) -> str:
    """The values of b side by side, or below each other where the terminal is too narrow."""
    together = _text_lines(table, table.batch_sizes)
    if max(map(len, together)) <= TEXT_WIDTH:
        return "\n".join([table.title, *together])
    return "\n".join([table.title, *(line for b in table.batch_sizes for line in _text_lines(table, [b]))])


def _text_lines(table: PaperTable, batch_sizes: Sequence[int]) -> list[str]:
    names = max(len(name) for name, _ in [*table.rows, (table.header, ())])
    blocks = [_text_block(table, b) for b in batch_sizes]
    first_column = ["", table.header, *(name for name, _ in table.rows)]
    lines = zip(first_column, *blocks, strict=True)
    return ["  ".join([name.ljust(names), *parts]).rstrip() for name, *parts in lines]


def _text_block(table: PaperTable, batch_size: int) -> list[str]:
    """Lines of equal width: b, the epochs, then the rows."""
    chosen = [place for place, (b, _) in enumerate(table.columns) if b == batch_size]
    epochs = "".join(f"{table.columns[place][1]:>6} " for place in chosen)
    rows = [
        "".join(f"{_number(cells[place].mean):>6}{'*' if cells[place].best else ' '}" for place in chosen)
        for _, cells in table.rows
    ]
    return [f" b={batch_size}, epoch".ljust(len(epochs)), epochs, *rows]


def _calibration_text(auroc: pd.DataFrame) -> str:
    rows = calibration_rows(auroc)
    covered = ((rows["auroc_low"] <= 0.5) & (rows["auroc_high"] >= 0.5)).sum()
    span = f"{rows['auroc'].min():.3f} to {rows['auroc'].max():.3f}"
    intervals = rows["auroc_low"].notna().sum()
    return f"Calibration (ID test against ID fit set): AUROC {span}, {covered} of {intervals} intervals hold 0.5."
