"""The losses that were given and aren't in the file yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# A file of a long run needs no more points than a picture can show: from here on steps are put together.
FINENESS = 500
# Losses on an accelerator are read together, when so many wait: each reading makes the loop wait for it.
_WAITING = 64


class LossBuffer:
    """Losses by step: single ones of the first `FINENESS` steps, then the mean and the largest of some.

    Args:
        step: The steps that were taken before.
    """

    def __init__(self, step: int) -> None:
        """See the class."""
        # Of the step that comes next: the recorder puts numbers here itself, because each call costs the loop.
        self.current: list[float | Tensor] = []
        self._begun: list[float | Tensor] = []  # those before them that belong to the same row
        self._rows: list[tuple[int, list[float | Tensor]]] = []
        self.row_ends = step + 1  # the step that fills the row

    def wait_for(self, value: Tensor) -> None:
        """Take a loss on an accelerator, that belongs to the step that comes next, without waiting for it.

        Args:
            value: The loss, without its graph and dimensions.
        """
        self.current.append(value)
        if len(self.current) >= _WAITING:
            self.current[:] = _numbers(self.current)

    def end_row(self, step: int) -> None:
        """Put the losses since the last row into a row of their own.

        Args:
            step: The number of the step.
        """
        self.begin_counting()
        if self._begun:
            self._rows.append((step, self._begun))
            self._begun = []
        self.row_ends = step + 1 + step // FINENESS

    def begin_counting(self) -> None:
        """Let `current` hold the losses of the steps from here on, which are yet to be counted."""
        self._begun += self.current
        self.current = []

    def counted(self, first: int, last: int, each: int) -> None:
        """Put `current` into rows, now that it is known how many steps were taken.

        Args:
            first: The first of the steps.
            last: The last one.
            each: How many losses a step had before. If all have had as many, then what is left over was given for the
                step that comes next; else the steps share what there is.
        """
        steps, losses = last - first + 1, self.current
        rest = len(losses) - steps * each
        if not 0 <= rest < each:
            rest = 0
        usable, done = len(losses) - rest, 0
        while done < steps:
            end = min(self.row_ends, last)
            begun, done = done, end - first + 1
            self.current = losses[begun * usable // steps : done * usable // steps]
            if end == self.row_ends:
                self.end_row(end)
        self.begin_counting()
        self.current = losses[usable:]

    def take(self, step: int | None = None) -> dict[str, Any] | None:
        """Return what is to be written, and forget it.

        Args:
            step: The number of the last step, to have the row that isn't full as well. Default: only full rows.

        Returns:
            Lists of steps, mean and largest losses; None if there is nothing.
        """
        if step is not None:
            self.end_row(step)
        if not self._rows:
            return None
        numbers = _numbers([loss for _, losses in self._rows for loss in losses])
        content: dict[str, Any] = {"steps": [], "loss": [], "largest": []}
        for at, losses in self._rows:
            row, numbers = numbers[: len(losses)], numbers[len(losses) :]
            content["steps"].append(at)
            content["loss"].append(sum(row) / len(row))
            content["largest"].append(_largest(row))
        self._rows = []
        return content


def _numbers(losses: Sequence[float | Tensor]) -> list[Any]:
    """Return losses as numbers, those on an accelerator read in one go."""
    waiting = [loss for loss in losses if isinstance(loss, Tensor)]
    read = iter(torch.stack([loss.to(waiting[0]) for loss in waiting]).tolist() if waiting else ())
    return [next(read) if isinstance(loss, Tensor) else loss for loss in losses]


def _largest(losses: Sequence[float]) -> float:
    return next((loss for loss in losses if not math.isfinite(loss)), max(losses))
