"""What a person can say about how a table is to be read.

This module imports no framework, so that `rmsprop train --help` stays fast.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from rmsprop.lab.errors import InputError

# The settings that shape a problem, by the names that `rmsprop.lab.problems.load` takes.
ABOUT_PROBLEM = (
    "target",
    "task",
    "drop",
    "dayfirst",
    "max_categories",
    "na",
    "delimiter",
    "encoding",
    "split",
    "group_input",
    "test",
    "model",
    "hidden",
    "class_weights",
)
FEWEST_CATEGORIES = 2
RANDOM, TIME, GROUP = "random", "time", "group"
# Characters that are awkward to type in a shell.
_NAMED_DELIMITERS: Mapping[str, str] = {
    "tab": "\t",
    "\\t": "\t",
    "space": " ",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "bar": "|",
    "colon": ":",
}


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    r"""How a table is to be read, where its own content doesn't settle it.

    Args:
        dayfirst: Whether 03/01/2024 is the 3rd of January, or March 1. Default None: the column has to show it.
        max_categories: The most inputs that one column of words becomes; the rarest share one. Default None: one each.
        na: What stands for a missing value, besides the usual words.
        delimiter: What separates the columns of a text file: a character, or a name such as ``tab``. Default None:
            what splits the header into the most names.
        encoding: The encoding of a text file, by Python's name. Default None: UTF-8, or what its first bytes say.
        split: How its rows are split: ``random``, ``time``, ``time:COLUMN`` or ``group:COLUMN``. Default None: random.
        group_input: Whether the column of groups is an input too. Default None: it isn't.
        test: The path of a table of its own to test on. Default None: a fifth of the rows.

    Raises:
        InputError: If a value can't be used.

    Examples:
        >>> TableOptions(delimiter="tab").separator
        '\t'
    """

    dayfirst: bool | None = None
    max_categories: int | None = None
    na: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None
    split: str | None = None
    group_input: bool | None = None
    test: str | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if self.max_categories is not None and self.max_categories < FEWEST_CATEGORIES:
            raise InputError(f"--max-categories is {self.max_categories}: it must be at least {FEWEST_CATEGORIES}")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise InputError(
                f"--delimiter is {self.delimiter!r}: give one character such as ';', or one of "
                f"{', '.join(name for name in _NAMED_DELIMITERS if name.isalpha())}"
            )
        if self.encoding is not None and not _is_text_encoding(self.encoding):
            raise InputError(f"--encoding is {self.encoding!r}: give one such as utf-8, cp1252, latin-1 or utf-16")
        _check_split(self.split, *self.split_by)
        if self.test == "":
            raise InputError("--test is '': give the path of a table, or leave it out")
        if self.group_input and self.split_by[0] != GROUP:
            raise InputError("--group-input is for --split group:COLUMN: leave it out")

    @property
    def split_by(self) -> tuple[str, str]:
        """How rows are split, and by which column; empty if none was named."""
        kind, _, column = (self.split or RANDOM).partition(":")
        return kind, column

    @property
    def separator(self) -> str | None:
        """The character that separates columns, if it was given."""
        return None if self.delimiter is None else _NAMED_DELIMITERS.get(self.delimiter.lower(), self.delimiter)


def _check_split(split: str | None, kind: str, column: str) -> None:
    allowed = "give random, time, time:COLUMN or group:COLUMN"
    if split is not None and (kind not in (RANDOM, TIME, GROUP) or not split or split.endswith(":")):
        raise InputError(f"--split is {split!r}: {allowed}")
    if kind != TIME and (kind == GROUP) != bool(column):
        raise InputError(f"--split {split} {'needs a' if kind == GROUP else 'takes no'} column: {allowed}")


def _is_text_encoding(name: str) -> bool:
    try:
        "a".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def composed(name: str) -> str:
    r"""Return a name as all programs compare it: é is one character, however a keyboard or a file system wrote it.

    Examples:
        >>> composed("re\u0301sultat") == "r\u00e9sultat"
        True
    """
    return unicodedata.normalize("NFC", name)
