"""What a judgement consists of: facts, each with the numbers that it rests on and with advice, all plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rmsprop.lab.format import finite

Kind = Literal[
    "diverged",
    "loss not finite",
    "spikes",
    "overfitting",
    "stalled",
    "loss no better than guessing",
    "still falling",
    "stopped early",
    "converged",
]
Cause = Literal["learning rate too high", "learning rate too low"]
# What a fact of its kind rests on, where that may be one of several things.
Sign = Literal[
    "loss not finite",
    "loss far above the first",
    "lost again",
    "went up",
    "unchanged",
    "unsteady",
    "falling at the end",
    "cut short by the schedule",
    "level",
    "level at the end of the schedule",
    "training loss",
    "validation loss",
    "batches stood out",
    "no lower validation loss",
]
Change = Literal[
    "lower lr",
    "raise lr",
    "another lr",
    "warm up",
    "let lr fall",
    "train longer",
    "more patience",
    "stop earlier",
    "smaller model",
    "larger model",
    "more weight decay",
    "clip gradients",
    "other inputs",
    "find what isn't finite",
]


@dataclass(frozen=True)
class Advice:
    """Something to change.

    Args:
        change: What.
        value: What to change it to: a learning rate, or a length of the run in the unit of the curves' times. None if
            it isn't known, or there is no number to it. Default None.
    """

    change: Change
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that curves show.

    Args:
        kind: What it is.
        sign: What it rests on.
        since: Since when, a time of the curves. None if it is about the whole run.
        numbers: What it rests on, by name.
        cause: What it comes from, where that is known. Default None.
        advice: What to do: one of these, the best first. Default nothing.
    """

    kind: Kind
    sign: Sign
    since: int | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    cause: Cause | None = None
    advice: tuple[Advice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; a number that isn't finite is None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


def lr_or_none(lr: float) -> float | None:
    """Return a learning rate to try, None where the one it is derived from isn't known.

    Args:
        lr: The learning rate.

    Returns:
        The same, or None.
    """
    return lr if math.isfinite(lr) else None
