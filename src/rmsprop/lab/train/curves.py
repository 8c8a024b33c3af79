"""What can be read off a curve of losses: its end, what was before the end, and how much of it is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

# The end of a run is the median of its last fifth: short enough to be "now", long enough that one epoch doesn't decide.
TAIL = 5


@dataclass(frozen=True)
class Fall:
    """How the end of a curve lies below what was before it.

    Args:
        before: The median of the epochs before the end.
        now: The median of the end.
        epochs: The number of epochs in each of them.
        noise: The median change from one of these epochs to the next.
    """

    before: float
    now: float
    epochs: int
    noise: float

    @property
    def share(self) -> float:
        """The fall as a share of what was before."""
        return (self.before - self.now) / abs(self.before)

    def is_significant(self, share: float, floor: float) -> bool:
        """Tell whether it is more than a share of what was before, more than a floor, and no less than noise.

        Args:
            share: The share.
            floor: The floor.

        Returns:
            Whether it is.
        """
        fall = self.before - self.now
        return fall > share * abs(self.before) and fall > floor and fall >= self.noise


def last_fall(losses: Sequence[float], parts: int = TAIL) -> Fall:
    """Return how the end of a curve lies below what was before it.

    Args:
        losses: The losses, at least two.
        parts: The end is the last one of so many parts of the curve. Default 5.

    Returns:
        The fall.

    Examples:
        >>> last_fall([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0])
        Fall(before=1.5, now=0.0, epochs=2, noise=1)
    """
    length = max(1, (len(losses) - 1) // parts)
    last = losses[-2 * length :]
    noise = median(abs(after - before) for before, after in pairwise(last))
    return Fall(median(last[:-length]), median(last[-length:]), length, noise)


def tail(losses: Sequence[float]) -> float:
    """Return where a curve ends: the median of its last fifth.

    Args:
        losses: The losses, the first of which is before the first step.

    Returns:
        The loss.
    """
    return median(losses[-tail_length(losses) :])


def tail_length(losses: Sequence[float]) -> int:
    """Return the number of epochs that make the end of a curve.

    Args:
        losses: The losses, the first of which is before the first step.

    Returns:
        The number, at least 1.
    """
    return max(1, (len(losses) - 1) // TAIL)


def smooth(losses: Sequence[float]) -> list[float]:
    """Return running medians over at most five epochs, so that one lucky epoch isn't taken for the lowest point.

    Args:
        losses: The losses.

    Returns:
        As many medians; of a short curve the losses themselves.
    """
    half = min(2, (len(losses) - 1) // 10)
    return [median(losses[max(0, i - half) : i + half + 1]) for i in range(len(losses))]
