"""What `rmsprop compare` shows while it runs: how far it is, who leads, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from rmsprop.cli.output import table
from rmsprop.lab.compare.results import Progress as Step
from rmsprop.lab.optimizers import choose

# Without a terminal there is no table; so many lines per phase tell how it goes, with so many of the best.
_LINES, _SHOWN = 5, 3
# Tuning looks at the validation loss everywhere, though a report judges the distance to the least loss where it can.
_HEADING = "lowest loss so far"


@contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show a comparison's progress on stderr: a live table, or some lines where there is no terminal.

    Args:
        quiet: Show nothing.

    Yields:
        What to call with each step.
    """
    console = Console(stderr=True, quiet=quiet, markup=False, highlight=False)
    if quiet:
        yield lambda step: None
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield _Board(live).show
    else:
        yield _Lines(console).show


class Counted:
    """Counts the runs of a comparison, and those that came from the cache, and passes its steps on.

    Args:
        show: Takes the steps.
    """

    def __init__(self, show: Callable[[Step], None]) -> None:
        self._show = show
        self._last: dict[str, Step] = {}

    def __call__(self, step: Step) -> None:
        """Take a step."""
        self._last[step.phase] = step
        self._show(step)

    @property
    def runs(self) -> int:
        """How many runs were done."""
        return sum(step.done for step in self._trained)

    @property
    def cached(self) -> int:
        """How many of them came from the cache."""
        return sum(step.cached for step in self._trained)

    @property
    def _trained(self) -> list[Step]:
        return [step for phase, step in self._last.items() if phase != "timing"]


class _Board:
    """A bar per phase, and the standings below it."""

    def __init__(self, live: Live) -> None:
        columns = (
            TextColumn("{task.description:9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns)
        self._tasks: dict[str, TaskID] = {}
        self._live = live

    def show(self, step: Step) -> None:
        if step.phase not in self._tasks:
            self._tasks[step.phase] = self._bars.add_task(step.phase, total=step.total)
        self._bars.update(self._tasks[step.phase], completed=step.done, total=step.total)
        self._live.update(Group(self._bars, _standings(step.standings)))


def _standings(medians: Mapping[str, float]) -> Table:
    found = table("optimizer", _HEADING, "behind")
    for name, median in _ordered(medians):
        found.add_row(choose(name).label, _loss(median), _behind(median, min(medians.values())))
    return found


class _Lines:
    """A line when a phase begins, and at every fifth of it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[tuple[str, int]] = set()

    def show(self, step: Step) -> None:
        part = _LINES * step.done // max(step.total, 1)
        if (step.phase, part) in self._said:
            return
        self._said.add((step.phase, part))
        best = [f"{choose(name).label} {_loss(median)}" for name, median in _ordered(step.standings)[:_SHOWN]]
        leading = f"  {_HEADING}: {', '.join(best)}" if best else ""
        self._console.print(f"{step.phase} {step.done}/{step.total}{leading}", soft_wrap=True)


def _ordered(medians: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(medians.items(), key=lambda item: item[1])


def _loss(median: float) -> str:
    return f"{median:.4g}" if math.isfinite(median) else "diverged"


def _behind(median: float, best: float) -> str:
    if median == best:
        return "leads" if math.isfinite(best) else ""
    return f"+{median - best:.2g}" if math.isfinite(median) else ""
