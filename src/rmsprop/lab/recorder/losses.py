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
        self._rows: list[tuple[int, list[float | Tensor]]] = []
        self._waiting = 0  # how many of them are tensors
        self.row_ends = step + 1  # the step that fills the row

    def wait_for(self, value: Tensor) -> None:
        """Take a loss on an accelerator, that belongs to the step that comes next, without waiting for it.

        Args:
            value: The loss, without its graph and dimensions.
        """
        self.current.append(value)
        self._waiting += 1
        if self._waiting >= _WAITING:
            self.current[:] = _numbers(self.current)
            self._waiting = 0

    def end_row(self, step: int) -> None:
        """Put the losses since the last row into a row of their own.

        Args:
            step: The number of the step.
        """
        if self.current:
            self._rows.append((step, self.current))
            self.current, self._waiting = [], 0
        self.row_ends = step + 1 + step // FINENESS

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
