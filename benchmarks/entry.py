"""What a contender at the start of a case must be able to do, whatever library it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

LEARNING_RATE = 1e-3
THREADS = 2


class Entry(Protocol):
    """A contender with parameters, gradients and state of its own, ready to take steps.

    Attributes:
        step: Takes a step; it has been taken when this returns.
    """

    step: Callable[[], Any]

    def move(self) -> None:
        """Move everything to fresh memory, without making the next step compile anything."""


class Located(Entry, Protocol):
    """An entry that can say where its memory is."""

    def arrays(self) -> list[list[np.ndarray]]:
        """Return, per parameter, views of it, its gradient and all state of its size."""
