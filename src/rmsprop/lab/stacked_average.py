"""Averages of the weights of models that are trained together, one model a row; made by torch.optim.swa_utils."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from rmsprop.lab.averages import Average, first_averaged_epoch, usual_decay


class StackedAverage:
    """The averages of those models of a stack that are judged by one kind of average.

    Args:
        kind: ``"ema"`` of every step, or ``"swa"`` of the ends of the last quarter of the epochs.
        averages: The kind of each model's average.
        epochs: Epochs in all.
        steps: Steps in all.
    """

    def __init__(self, kind: Average, averages: Iterable[Average], epochs: int, steps: int) -> None:
        """See the class."""
        self._of = torch.tensor([average == kind for average in averages])
        self._place = (self._of.cumsum(0) - 1).tolist()  # of a model among those that are averaged
        self._every_step = kind == "ema"
        self._first = first_averaged_epoch(epochs)
        self._mean = get_ema_multi_avg_fn(usual_decay(steps)) if self._every_step else get_swa_multi_avg_fn()
        self._weights: Tensor | None = None
        self._counted = 0

    def after_step(self, flat: Tensor) -> None:
        """Take in the weights after a step, if each counts.

        Args:
            flat: The weights of all models, one a row.
        """
        if self._every_step:
            self._take(flat)

    def after_epoch(self, flat: Tensor, epoch: int) -> None:
        """Take in the weights at the end of an epoch, if they count.

        Args:
            flat: The weights of all models, one a row.
            epoch: The epoch that is done.
        """
        if not self._every_step and epoch >= self._first:
            self._take(flat)

    def over(self, flat: Tensor) -> Tensor:
        """Return the weights that count: the averages of these models, as soon as there are any.

        Args:
            flat: The weights of all models, one a row.

        Returns:
            The same for the others.
        """
        return flat if self._weights is None else flat.masked_scatter(self._of[:, None], self._weights)

    def silence(self, model: int) -> None:
        """Forget the average of a model whose run is lost, so that its numbers stay finite.

        Args:
            model: Its row.
        """
        if self._weights is not None and self._of[model]:
            self._weights[self._place[model]] = 0.0

    def _take(self, flat: Tensor) -> None:
        current = flat[self._of]
        if self._weights is None:
            self._weights = current
        else:
            self._mean([self._weights], [current], self._counted)
        self._counted += 1
