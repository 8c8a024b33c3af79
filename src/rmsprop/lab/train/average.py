"""The average of the weights in training, which is kept in their place: an EMA or SWA, by torch.optim.swa_utils."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from rmsprop.lab.averages import usual_decay
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.train.settings import Settings


class WeightAverage:
    """The average of the weights of a model in training: of every step, or of the ends of the last epochs.

    Args:
        model: The model, before its first step.
        settings: The run's settings, which name an average.
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        """See the class."""
        self._first = settings.averaged_from
        self._every_step = settings.average == "ema"
        if self._every_step:
            assert settings.ema_decay is not None
            mean = get_ema_multi_avg_fn(settings.ema_decay)
        else:
            mean = get_swa_multi_avg_fn()
        try:
            self.averaged = AveragedModel(model, multi_avg_fn=mean)
        except Exception as error:  # a person's model may hold anything
            raise InputError(f"--average {settings.average} copies the model, which raised {error}") from error

    @property
    def model(self) -> nn.Module | None:
        """The model with the averaged weights; None as long as there is no average."""
        return self.averaged.module if self.averaged.n_averaged else None

    def after_step(self, model: nn.Module) -> None:
        """Take in the weights after a step, if each counts.

        Args:
            model: The model in training.
        """
        if self._every_step:
            self.averaged.update_parameters(model)

    def after_epoch(self, model: nn.Module, epoch: int, batches: Iterable[Tensor]) -> None:
        """Take in the weights at the end of an epoch, if they count, and let batch norm see the averaged ones.

        Args:
            model: The model in training.
            epoch: The epoch that is done.
            batches: The training inputs; they are gone through if the model has batch norm, whose statistics are those
                of other weights otherwise.
        """
        if epoch < self._first:
            return
        if not self._every_step:
            self.averaged.update_parameters(model)
        update_bn(batches, self.averaged)


def averaging(settings: Settings, problem: Problem) -> Settings:
    """Return the settings with the decay of an EMA, which fits the run's length unless it was given.

    Args:
        settings: The settings.
        problem: The problem that they are for.

    Returns:
        The settings; ``ema_decay`` isn't None if ``average`` is ``"ema"``.

    Examples:
        >>> from rmsprop.lab.problems import load
        >>> from rmsprop.lab.train.settings import resolve
        >>> averaging(resolve({"problem": "digits", "average": "ema"}), load("digits")).ema_decay
        0.986501
    """
    if settings.average != "ema" or settings.ema_decay is not None:
        return settings
    steps = settings.epochs * math.ceil(len(problem.train) / settings.batch_size)
    return replace(settings, ema_decay=usual_decay(steps))


def check_last_batch(model: nn.Module, problem: Problem, batch_size: int) -> None:
    """Refuse a last batch of one row for a model with batch norm: one row has no variance.

    Args:
        model: The model.
        problem: What it is to learn.
        batch_size: Rows per step.

    Raises:
        InputError: If there is such a batch.
    """
    rows = len(problem.train)
    last = rows % batch_size or batch_size
    if last == 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise InputError(
            f"--batch-size {batch_size} leaves one of {rows} rows for the last batch, and batch norm needs two: "
            "give another"
        )


def averaging_notes(settings: Settings) -> list[str]:
    """Return what a person should know about an average: which weights are averaged, and what becomes of the schedule.

    Args:
        settings: The settings.

    Returns:
        The sentences.

    Examples:
        >>> from rmsprop.lab.train.settings import resolve
        >>> averaging_notes(resolve({"problem": "digits", "average": "swa", "swa_lr": 0.001}))[0]
        'SWA averages the weights at the ends of epochs 23 to 30, in which the learning rate is 0.001'
    """
    if settings.average != "swa":
        return []
    if settings.swa_lr is None:
        rate = f"stays where the {settings.schedule} schedule has it then (--swa-lr gives another)"
    else:
        rate = f"is {settings.swa_lr:g}"
    return [
        f"SWA averages the weights at the ends of epochs {settings.averaged_from} to {settings.epochs}, in which the "
        f"learning rate {rate}"
    ]
