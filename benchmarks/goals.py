"""What is to be reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """Something to reach.

    Args:
        case: The case's heading.
        text: What is measured.
        required: The number to reach.
        measured: The number that was measured; None if it could not be.
        at_least: Whether to be at or above it; else at or below. Default True.
    """

    case: str
    text: str
    required: float
    measured: float | None
    at_least: bool = True

    @property
    def verdict(self) -> str:
        """Whether it was reached: ``"reached"``, ``"missed"`` or ``"not measured"``."""
        if self.measured is None:
            return "not measured"
        reached = self.measured >= self.required if self.at_least else self.measured <= self.required
        return "reached" if reached else "missed"
