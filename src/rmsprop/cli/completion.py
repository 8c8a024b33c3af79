"""What a shell completes after Tab, where click doesn't know the values of an option or an argument itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from rmsprop.lab.problems.defaults import PROBLEMS

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Return what completes one of some names.

    Args:
        names: Returns the names; it is called when somebody presses Tab, and not before.

    Returns:
        The function for click's ``shell_complete``.
    """

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def several_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Return what completes the last of some names with commas between them, each of them once.

    Args:
        names: Returns the names, as for `one_of`.

    Returns:
        The function for click's ``shell_complete``.
    """

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given, comma, last = incomplete.rpartition(",")
        left = (name for name in names() if name.startswith(last) and name not in given.split(","))
        return [CompletionItem(f"{given}{comma}{name}") for name in left]

    return complete


def problem(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a problem: a file, or the name of one that is built in.

    Args:
        incomplete: What is typed so far.

    Returns:
        The names after the entry for files: bash forgets, at such an entry, what came before it.
    """
    about = PROBLEMS.items()
    named = [CompletionItem(name, help=row.about) for name, row in about if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *named]
