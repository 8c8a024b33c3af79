"""What a contender at the start of a case must be able to do, whatever library it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

LEARNING_RATE = 1e-3
THREADS = 2


class Runner(Protocol):
    """What can be timed.

    Attributes:
        step: Takes a step; it has been taken when this returns.
        between: Called before each step, outside the timing; None if nothing happens there.
    """

    step: Callable[[], Any]
    between: Callable[[], Any] | None


class Entry(Runner, Protocol):
    """A contender with parameters, gradients and state of its own, ready to take steps."""

    def move(self) -> None:
        """Move everything to fresh memory, without making the next step compile anything."""


class Located(Entry, Protocol):
    """An entry that can say where its memory is."""

    def arrays(self) -> list[list[np.ndarray]]:
        """Return, per parameter, views of it, its gradient and all state of its size."""
