"""Where a row of a table stands in its file, for whoever has to correct it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Places:
    """The places of a table's rows in its file.

    Args:
        word: What the file counts in: lines of text, or rows of a sheet. Default rows.
        numbers: The number of each row. Default None: they count from 1.

    Examples:
        >>> Places().of(0), Places("line", [2, 3, 5]).of(2)
        ('row 1', 'line 5')
    """

    word: str = "row"
    numbers: Sequence[int] | None = None

    def of(self, row: int) -> str:
        """Return where a row stands.

        Args:
            row: Its index in the table.

        Returns:
            The place in words.
        """
        return f"{self.word} {self._number(row)}"

    def only(self, rows: Sequence[int]) -> Places:
        """Return the places of some of the rows.

        Args:
            rows: Their indices.

        Returns:
            The places.

        Examples:
            >>> Places("line", [2, 3, 5]).only([0, 2]).of(1)
            'line 5'
        """
        return Places(self.word, [self._number(row) for row in rows])

    def _number(self, row: int) -> int:
        return row + 1 if self.numbers is None else self.numbers[row]
