"""A table of `rmsprop compare` in a terminal, whose words and numbers stay whole."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rmsprop.cli.output import table

if TYPE_CHECKING:
    from rich.console import Console

    from rmsprop.lab.compare.tables import Table

# What stands between two columns, and the column that a narrow terminal goes without: no word is broken for it.
_BETWEEN, _INTERVAL = 2, "95 %"


def print_compared(out: Console, content: Table) -> None:
    """Print a table, without its intervals where they don't fit.

    Args:
        out: Where to.
        content: The table.
    """
    needed = [_needed(content, index) for index in range(len(content.headings))]
    if _INTERVAL in content.headings and sum(needed) + _BETWEEN * (len(needed) - 1) > out.width:
        print_compared(out, content.without(_INTERVAL))
        return
    shown = table(*content.headings)
    for index, column in enumerate(shown.columns):
        width = max(len(row[index]) for row in content.rows)
        longest = max(len(word) for cell in (content.headings, *content.rows) for word in cell[index].split())
        column.header = "\n".join(textwrap.wrap(content.headings[index], max(width, longest)))
        column.justify = "left" if index in content.words else "right"
        column.min_width = longest if index in content.words else None
        column.no_wrap = index not in content.words
    for cells in content.rows:
        shown.add_row(*cells)
    out.print(shown)


def _needed(content: Table, index: int) -> int:
    """Return how narrow a column can be: its longest word, and its longest number whole."""
    longest = max(len(word) for cell in (content.headings, *content.rows) for word in cell[index].split())
    return longest if index in content.words else max(longest, *(len(row[index]) for row in content.rows))
