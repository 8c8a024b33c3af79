"""What the commands share when they print: the width of a page, tables, JSON, and how far something has come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from rmsprop.lab.format import finite

# A narrower terminal wraps the lines, so that tables still have room for their numbers.
NARROWEST, WIDTH = 80, 100
# A line under the heading, and nothing else.
_RULED = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")


def page() -> Console:
    """Return a console for stdout, as wide as the terminal but from `NARROWEST` to `WIDTH`."""
    console = Console(markup=False, highlight=False, emoji=False)
    console.width = min(WIDTH, max(NARROWEST, console.width)) if console.is_terminal else WIDTH
    return console


def print_json(content: Any) -> None:
    """Print one JSON object, in ASCII, which any terminal and pipe can take.

    Args:
        content: What to print; NaN and infinities, which JSON has no number for, become null.
    """
    click.echo(json.dumps(finite(content), indent=1))


def table(*columns: str) -> Table:
    """Return an empty table in the style of all listings.

    Args:
        *columns: The headings.

    Returns:
        The table.
    """
    folded = (Column(header, overflow="fold") for header in columns)  # a number cut short would be another number
    empty = Table(*folded, box=_RULED, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    empty.columns[0].no_wrap = True
    return empty


def labelled(lines: Mapping[str, str]) -> Table:
    """Return labels in a column and what belongs to them beside it, folded to the page.

    Args:
        lines: Label -> text.

    Returns:
        What to print.
    """
    grid = Table.grid(padding=(0, 2, 0, 0))
    for label, text in lines.items():
        grid.add_row(Text(label, no_wrap=True), text)
    return grid


def aligned(lines: Mapping[str, str]) -> list[str]:
    """Return lines of a label and what belongs to it, the labels in a column.

    Args:
        lines: Label -> text.

    Returns:
        The lines.

    Examples:
        >>> aligned({"a": "one", "bcd": "two"})
        ['a    one', 'bcd  two']
    """
    width = max(map(len, lines))
    return [f"{label:{width}}  {text}" for label, text in lines.items()]


# Whoever reads a log wants to know that it goes on, not each piece.
SECONDS_PER_LINE = 2.0


@contextmanager
def bar(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[], object]]:
    """Show on stderr how far something has come.

    Args:
        what: What is going on.
        total: How many pieces it has.
        quiet: Show nothing.

    Yields:
        What to call after each piece.
    """
    console = Console(stderr=True, quiet=quiet, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal or quiet:
        yield _lines(console, what, total)
        return
    what_it_is = TextColumn("{task.description}", markup=False)  # a problem may be called [/b]
    columns = (what_it_is, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _lines(console: Console, what: str, total: int) -> Callable[[], object]:
    done, last = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, last
        done += 1
        if time.monotonic() - last >= SECONDS_PER_LINE:
            last = time.monotonic()
            console.print(f"{what}: {done} of {total}")

    return advance
