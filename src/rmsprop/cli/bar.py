"""How far something has come that takes seconds: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

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
    console = Console(stderr=True, quiet=quiet, highlight=False)
    if not console.is_terminal or quiet:
        yield _lines(console, what, total)
        return
    with Progress(console=console, transient=True) as progress:
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
