"""Rests: while there is nothing to do, a recorder lets go of the optimizer and only collects losses.

A hook and reading a loss take some microseconds of each step, because everything that they touch has to be fetched into
the processor's caches. Small networks would feel that. An optimizer that counts its steps can be asked for them later.
"""

from __future__ import annotations

from math import inf
from time import perf_counter

from torch.optim import Optimizer

from rmsprop.lab.recorder.budget import one_loss_of
from rmsprop.lab.recorder.header import counters, steps_taken


class Rest:
    """How long a recorder may rest, and how many steps it missed.

    Args:
        allowed: Whether it may at all.
    """

    def __init__(self, allowed: bool) -> None:
        """See the class."""
        # Only where each step has a loss: where they are given now and then, it can't be told when the next one comes.
        self.allowed = allowed
        self.losses = self.until = inf  # what ends it: so many collected losses, of which each step has one, or a time
        self.of_each = 1  # one of so many losses is to be read
        self.each = 0  # how many of them the first step after it had
        self._taken = 0  # the optimizer's count when it began, or was last asked for, ...
        self._began = 0.0  # ... and when that was
        self._pace = inf  # the seconds per step in the last one

    @property
    def is_on(self) -> bool:
        """Whether the recorder rests."""
        return self.losses < inf

    def is_possible(self, optimizer: Optimizer) -> bool:
        """Tell whether an optimizer counts its steps itself, where they can be read without waiting.

        Args:
            optimizer: The optimizer.
        """
        counts = counters(optimizer) if self.allowed else []
        return bool(counts) and all(count.is_cpu for count in counts)

    def begin(self, optimizer: Optimizer) -> None:
        """Begin to rest.

        Args:
            optimizer: The optimizer that isn't looked at any more.
        """
        self._taken, self._began, self.of_each = steps_taken(optimizer), perf_counter(), one_loss_of(self._pace)

    def lasts(self, step: int, quiet: tuple[float, float]) -> None:
        """Say when it ends.

        Args:
            step: The last step.
            quiet: A step and a time: until one of them is reached there is nothing to do.
        """
        self.losses, self.until = (quiet[0] - step - 1) // self.of_each, quiet[1]

    def is_over(self, losses: int) -> bool:
        """Tell whether the recorder has to look at the next step.

        Args:
            losses: The losses it has collected and not counted.
        """
        return not self.allowed or losses >= self.losses or perf_counter() >= self.until

    def end(self) -> None:
        """Look at each step and read each loss from now on."""
        self.losses = self.until = inf
        self.of_each, self.each = 1, 0

    def missed(self, optimizer: Optimizer, losses: int) -> int:
        """Return how many steps were taken since it began, or since this was last asked.

        Args:
            optimizer: The optimizer.
            losses: The losses that were collected in this time.

        Returns:
            The number of steps; 0 if the optimizer went back to an earlier state.
        """
        taken, now = steps_taken(optimizer), perf_counter()
        steps = max(0, taken - self._taken)
        if steps:
            self.allowed = losses * self.of_each >= steps
            self._pace = (now - self._began) / steps
            self.of_each = one_loss_of(self._pace)
        self._taken, self._began = taken, now
        return steps
