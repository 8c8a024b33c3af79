"""How a history was read: what was taken for what, and what became of the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader took for time and losses, and how many rows it read.

    Args:
        time: The columns that were taken as time, or how rows are counted.
        loss: The column, the columns or the tag of the training loss.
        validation: That of the validation loss; None if there is none.
        lr: That of the learning rate; None if there is none.
        scores: Columns of scores, of which more is better: they aren't judged.
        rows: How many rows or points there are.
        dropped: How many of them were left out.
        combined: How many were put together with another of the same time.
        counted: What is counted, in the singular. Default rows.
        notes: What else a person should know, a sentence each.
    """

    time: str
    loss: str
    validation: str | None = None
    lr: str | None = None
    scores: tuple[str, ...] = ()
    rows: int
    dropped: int = 0
    combined: int = 0
    counted: str = "row"
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> str:
        """How many rows there are, in words."""
        return f"{self.rows} {self.counted}{'s' * (self.rows != 1)}"

    @property
    def sentence(self) -> str:
        """What was taken for what, and the rows, in a line.

        Examples:
            >>> Reading(time="epoch", loss="loss", rows=60, dropped=2).sentence
            'Time: epoch; training loss: loss; validation loss: none; 60 rows, 2 dropped.'
        """
        fates = ((self.dropped, "dropped"), (self.combined, "combined with others of the same time"))
        parts = [
            f"Time: {self.time}",
            f"training loss: {self.loss}",
            f"validation loss: {self.validation or 'none'}",
            *([f"learning rate: {self.lr}"] if self.lr else []),
            *([f"scores, which aren't judged: {', '.join(self.scores)}"] if self.scores else []),
            ", ".join([self.count, *(f"{n} {what}" for n, what in fates if n)]),
        ]
        return "; ".join(parts) + "."

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self) | {"scores": list(self.scores), "notes": list(self.notes)}
