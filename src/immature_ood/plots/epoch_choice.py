"""What a rule that chooses an epoch by ID data alone loses to the best epoch."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from immature_ood.controls import ALL, UNSOLVED
from immature_ood.plots.rows import once, one_model
from immature_ood.plots.style import GREY, leave_empty, legend, looks_of, panels, styled, title
from immature_ood.words import readable

__all__ = ["regret_by_rule"]

MOST_COLUMNS = 4  # of panels
OFFSETS = {ALL: -0.15, UNSOLVED: 0.2}  # below the middle of a rule's line
LABELS = {ALL: "all pairs", UNSOLVED: "pairs that no control solves"}


@styled
def regret_by_rule(table: pd.DataFrame) -> Figure:
    """Regret with its interval for these data sets, a line a rule; a panel a detector and b.

    table: what epoch_choice.epoch_choice_table gives; rows of one model. Raises ValueError if none has a regret, or for
    several models.
    """
    rows = one_model(table[table["regret"].notna()])
    if rows.empty:
        raise ValueError("the table has no row with a regret: nothing to draw")
    rules, looks = once(rows["rule"]), looks_of(rows["detector"])
    shown = [(detector, b) for detector in looks for b in once(rows["batch_size"])]
    columns = min(len(shown), MOST_COLUMNS)
    figure, axes = panels(-(-len(shown) // columns), columns, panel_height=0.35 + 0.16 * len(rules), sharey=True)
    _lines_of(axes[0, 0], rules)
    for (detector, b), panel in zip(shown, axes.flat, strict=False):
        of_panel = rows[(rows["detector"] == detector) & (rows["batch_size"] == b)]
        _panel(panel, of_panel, rules, looks[detector].colour)
        panel.set_title(f"{readable(detector)}, b = {b}")
    for place in range(len(shown), axes.size):
        leave_empty(axes, place)
    title(figure, "Which epoch? What rules that see ID data alone lose to the best one")
    there = [over for over in LABELS if over in {*rows["over"]}]
    handles = [Line2D([], [], color=GREY, label=LABELS[over], **_marker(over, GREY)) for over in there]
    legend(figure, handles, "AUROC at the pair's best epoch − at the rule's, mean over pairs and seeds")
    return figure


def _lines_of(axes: Axes, rules: list[str]) -> None:
    """One line a rule, the first above, and no tick at the very ends, for all panels that share the axes."""
    axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axes.set_ylim(len(rules) - 0.5, -0.5)
    axes.set_yticks(range(len(rules)), labels=[readable(rule) for rule in rules])


def _panel(axes: Axes, rows: pd.DataFrame, rules: list[str], colour: str) -> None:
    axes.axvline(0, color=GREY, linewidth=0.5, label="_zero")
    for over, offset in OFFSETS.items():
        of_over = rows[rows["over"] == over]
        heights = np.array([rules.index(rule) + offset for rule in of_over["rule"]])
        bounds = of_over[["regret_pairs_low", "regret_pairs_high"]].to_numpy().T
        axes.hlines(heights, *bounds, color=colour, linewidth=0.8, label="_interval")
        axes.plot(of_over["regret"], heights, color=colour, linestyle="", label=over, **_marker(over, colour))


def _marker(over: str, colour: str) -> dict[str, Any]:
    """Filled for all pairs, hollow for those unsolved."""
    return {"marker": "o", "markerfacecolor": colour if over == ALL else "white"}
