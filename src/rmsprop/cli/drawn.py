"""The option --out of the commands that draw one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click


def out_option(kinds: Sequence[str], text: str) -> Callable[..., Any]:
    """Return the option that names the file, whose suffix says what is to be drawn; refuse at once what can be none.

    Args:
        kinds: The suffixes, such as ``.png``.
        text: What the help says.

    Returns:
        The decorator of a command.
    """

    def check(_: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        if value is None:
            return None
        if value.suffix.lower() not in kinds:
            raise click.BadParameter(f"{str(value)!r} ends in none of {', '.join(kinds)}.", param=param)
        if value.is_dir():
            raise click.BadParameter(f"{str(value)!r} is a folder: name a file.", param=param)
        there = next(place for place in value.absolute().parents if os.path.lexists(place))
        if not there.is_dir():
            raise click.BadParameter(f"{str(there)!r} is not a folder: name another file.", param=param)
        if not os.access(there, os.W_OK | os.X_OK):
            raise click.BadParameter(f"{str(there)!r} is read-only for you: name another file.", param=param)
        return value

    text += " Its folder is made if it isn't there."
    return click.option("--out", type=click.Path(path_type=Path), callback=check, help=text)
