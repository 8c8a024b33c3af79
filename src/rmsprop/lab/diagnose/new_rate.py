"""What a remedy that changes the length of steps means for the learning rate, and whether it is worth it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmsprop.lab.diagnose.history import History, Statistics, median

# A run whose loss fell below this share of its first is learning.
_LEARNT = 0.5


def learns(history: History) -> bool:
    """Tell whether the loss has fallen so far that new steps are more likely to harm than to help.

    Args:
        history: The run's history.

    Returns:
        The answer; False where no loss is known.
    """
    losses = [loss for loss in history.train.values if np.isfinite(loss)]
    return bool(losses) and 0.0 <= median(losses[-max(1, len(losses) // 5) :]) < _LEARNT * losses[0]


def unless_it_learns(history: History, remedy: str) -> str:
    """Return a sentence with a remedy that changes the steps, and with the reason to leave it where the run learns.

    Args:
        history: The run's history.
        remedy: The remedy, beginning with a small letter and without a full stop.

    Returns:
        The sentence.
    """
    if learns(history):
        return f"The loss falls all the same, so leave it as it is; or {remedy}."
    return f"{remedy[0].upper()}{remedy[1:]}."


def search_anew(history: History, statistics: Statistics, which: Sequence[int] | np.ndarray) -> str:
    """Return how to search the learning rate after a remedy that makes steps about one learning rate long.

    Args:
        history: The run's history.
        statistics: What was measured of its layers.
        which: The positions of those that the remedy is about.

    Returns:
        The words, with the range where it is known: from the present learning rate to the one with which steps stay as
        long as they are.
    """
    strides = statistics.of("stride")
    late = np.zeros(1) if strides is None else strides[len(strides) // 2 :, which]
    stride = float(np.mean(late[np.isfinite(late)])) if np.isfinite(late).any() else 0.0
    if not history.lr or not stride:
        return "search the learning rate anew"
    rate = max(history.lr.values)
    same = rate * stride
    low, high = sorted((rate, same))
    return f"search the learning rate anew, from {low:.1g} to {high:.1g}: steps are as long as now with {same:.1g}"
