"""The contenders on NumPy: rmsprop's front end, and the update as people write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.entry import LEARNING_RATE, THREADS
from rmsprop.numpy import RMSprop

DECAY, EPS = 0.99, 1e-8
Arrays = Sequence[np.ndarray]
# From parameters and gradients to a step, and per parameter the state that it keeps.
Make = Callable[[Arrays, Arrays], tuple[Callable[[], Any], list[list[np.ndarray]]]]


class NumpyEntry:
    """A way to update arrays, at the start of a case.

    Args:
        case: What is measured; its options are the defaults.
        make: Builds the step.
    """

    between = None

    def __init__(self, case: Case, make: Make) -> None:
        self._make = make
        rng = np.random.default_rng(0)
        self._params, self._grads = ([rng.standard_normal(s, np.float32) for s in case.shapes] for _ in range(2))
        self.step, self._state = make(self._params, self._grads)

    def arrays(self) -> list[list[np.ndarray]]:
        """Return, per parameter, itself, its gradient and its state."""
        return [[p, g, *state] for p, g, state in zip(self._params, self._grads, self._state, strict=True)]

    def move(self) -> None:
        """Move everything to fresh memory; state starts anew."""
        self._params, self._grads = ([array.copy() for array in arrays] for arrays in (self._params, self._grads))
        self.step, self._state = self._make(self._params, self._grads)


def ours(params: Arrays, grads: Arrays) -> tuple[Callable[[], Any], list[list[np.ndarray]]]:
    """Make a step of rmsprop's optimizer."""
    optimizer = RMSprop(params, LEARNING_RATE, decay=DECAY, eps=EPS, threads=THREADS)
    return lambda: optimizer.step(grads), [[state["square_avg"]] for state in optimizer.state]


def hand_written(params: Arrays, grads: Arrays) -> tuple[Callable[[], Any], list[list[np.ndarray]]]:
    """Make a step as every tutorial writes it."""
    averages = [np.zeros_like(param) for param in params]

    def step() -> None:
        for p, g, v in zip(params, grads, averages, strict=True):
            v[:] = DECAY * v + (1 - DECAY) * g**2
            p -= LEARNING_RATE * g / (np.sqrt(v) + EPS)

    return step, [[v] for v in averages]


def careful(params: Arrays, grads: Arrays) -> tuple[Callable[[], Any], list[list[np.ndarray]]]:
    """Make a step that allocates nothing: every operation writes where it must, or to one array kept for it."""
    averages = [np.zeros_like(param) for param in params]
    scratches = [np.empty_like(param) for param in params]

    def step() -> None:
        for p, g, v, t in zip(params, grads, averages, scratches, strict=True):
            np.multiply(g, g, out=t)
            np.multiply(t, 1 - DECAY, out=t)
            np.multiply(v, DECAY, out=v)
            np.add(v, t, out=v)
            np.sqrt(v, out=t)
            np.add(t, EPS, out=t)
            np.divide(g, t, out=t)
            np.multiply(t, LEARNING_RATE, out=t)
            np.subtract(p, t, out=p)

    return step, [[v] for v in averages]
