"""What `rmsprop compare` and `rmsprop tune` say of the cache that keeps their runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

fresh_option = click.option("--fresh", is_flag=True, help="Do all runs anew, and replace those in the cache.")


def taken(cached: int, runs: int, folder: Path) -> Iterator[str]:
    """Tell how many runs were done already.

    Args:
        cached: So many came from the cache.
        runs: So many there were.
        folder: The cache.

    Yields:
        A sentence, if there were any.
    """
    if cached:
        yield f"{cached} of {runs} runs from the cache of {folder}; --fresh does them anew"


def interrupted(folder: Path, *, fresh: bool) -> str:
    """Return how to go on after Ctrl-C.

    Args:
        folder: The cache.
        fresh: Whether nothing was taken from it.

    Returns:
        A sentence.
    """
    from rmsprop.lab.compare.cache import can_be_written

    if not can_be_written(folder):
        return f"interrupted: nothing is kept, because {folder} can't be written: RMSPROP_CACHE names another folder"
    return f"interrupted: what was done is kept, and the same command{' without --fresh' * fresh} goes on"
