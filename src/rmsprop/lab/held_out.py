"""Training rows that learning rates are fitted to: what MARTHE needs of a problem, and nobody else."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rmsprop.lab.problems.conventions import row_order
from rmsprop.torch import Marthe

# A surface has a row or a few, and none to spare.
_FEWEST = 10


class HeldOut:
    """A fifth of a problem's training rows, the same in every run, on which such a run doesn't train.

    The validation rows stay what everyone is judged by, and the test rows what nobody sees.

    Args:
        rows: How many training rows there are. Fewer than ten are all trained on and all fitted to.
        batch_size: Rows per step.

    Examples:
        >>> trained, fitted = HeldOut(100, 32).of(torch.arange(100), step=0)
        >>> len(trained), len(fitted), len(set(trained.tolist()) & set(fitted.tolist()))
        (80, 20, 0)
    """

    def __init__(self, rows: int, batch_size: int) -> None:
        self.order = row_order(0, 0, rows)
        if rows >= _FEWEST:
            self.order = self.order[: rows // 5]
        self.is_trained_on = torch.ones(rows, dtype=torch.bool)
        if rows >= _FEWEST:
            self.is_trained_on[self.order] = False
        self.size = min(batch_size, len(self.order))

    def of(self, batch: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return what a step trains on, and what it fits its learning rate to.

        Args:
            batch: The rows that other optimizers train on in this step.
            step: Its number, from 0.

        Returns:
            Those of the batch that aren't held out, perhaps none, and the next ones that are.
        """
        places = (torch.arange(self.size) + step * self.size) % len(self.order)
        return batch[self.is_trained_on[batch]], self.order[places]


def note(rows: int) -> str:
    """Return what a reader should know of an optimizer that holds out rows, a sentence without its name.

    Args:
        rows: How many training rows there are.

    Examples:
        >>> note(1078)
        "its learning rate is fitted to a fifth of the training rows, on which it doesn't train."
    """
    if rows < _FEWEST:
        return "its learning rate is fitted to the rows that it trains on, because there are too few to hold some out."
    return "its learning rate is fitted to a fifth of the training rows, on which it doesn't train."


def follow(tuner: Marthe, objective: Callable[[Tensor], Tensor], trained: Tensor, fitted: Tensor) -> None:
    """Take a step of MARTHE, unless there is nothing to train on or the run is lost.

    Args:
        tuner: MARTHE.
        objective: Computes the objective on some rows.
        trained: The rows to train on.
        fitted: The rows to fit the learning rate to.
    """
    if not len(trained):
        return
    loss, validation_loss = objective(trained), objective(fitted)
    if math.isfinite(loss.item()) and math.isfinite(validation_loss.item()):
        tuner.step(loss, validation_loss)
