"""How far a study has come, as people see it: bars that move on a terminal, elsewhere few and plain lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from immature_ood.cli.told import say

if TYPE_CHECKING:
    from rich.console import Console

    from immature_ood.stages import Job, Stage, Stages

__all__ = ["shown"]

PAUSE = 300  # seconds after which a line is written at the latest, where there is no terminal
Tell = Callable[["Stage | Job | str | None"], None]


@contextmanager
def shown(name: str, stages: "Stages") -> Iterator[Tell]:
    """Yields what is called whenever something has happened, or a second has passed, and shows it on stderr."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        with _bars(stages, console) as tell:
            yield tell
    else:
        yield Lines(name, stages).tell


class Lines:
    """A line when the study begins, one for each stage that ends, job that fails, and PAUSE."""

    def __init__(self, name: str, stages: "Stages", clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.stages, self.clock = name, stages, clock
        self.said_at = clock()
        self.has_begun = False

    def tell(self, happened: "Stage | Job | str | None") -> None:
        """Says what has happened, if anything has."""
        now = self.clock()
        if self.stages.stages and not self.has_begun:
            self.has_begun = True
            planned = ", ".join(f"{stage.total} {stage.name}" for stage in self.stages.stages.values())
            self._say(f"{self.name}: {self.stages.total} jobs ({planned})", now)
        if happened is not None:
            self._say(_said(happened, now), now)
        elif now - self.said_at >= PAUSE and self.has_begun:
            under_way = [
                stage for stage in self.stages.stages.values() if stage.began is not None and not stage.is_done
            ]
            self._say("; ".join(stage.said(now) for stage in under_way) or "…", now)

    def _say(self, line: str, now: float) -> None:
        say(line)
        self.said_at = now


def _said(happened: "Stage | Job | str", now: float) -> str:
    from immature_ood.stages import Job

    if isinstance(happened, str):
        return happened
    return f"{happened} failed; jobs under way are waited for" if isinstance(happened, Job) else happened.said(now)


@contextmanager
def _bars(stages: "Stages", console: "Console") -> Iterator[Tell]:
    """A bar a stage; what is not about one goes above them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    from immature_ood.stages import Stage
    from immature_ood.words import duration

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as bars:

        def tell(happened: "Stage | Job | str | None") -> None:
            now = stages.clock()
            if happened is not None and not isinstance(happened, Stage):
                bars.console.print(_said(happened, now), markup=False, highlight=False)
            for each in stages.stages.values():
                task = tasks.setdefault(each.name, TaskID(-1))
                if task == -1:
                    task = tasks[each.name] = bars.add_task(each.name, total=each.total, left="")
                seconds = each.left(now)
                bars.update(task, completed=each.done, left=f"{duration(seconds)} left" if seconds else "")

        yield tell
