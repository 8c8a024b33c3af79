"""The record of a run: one row per epoch, written to history.csv as it goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from rmsprop.files import write_atomically
from rmsprop.lab.errors import InputError

QUANTILES = (0.1, 0.5, 0.9)
_NUMBERS = 8  # the fields of Epoch before the effective steps
_NO_AVERAGE = (math.nan,) * 4


@dataclass(frozen=True)
class Averaged:
    """What is known of the average of the weights after an epoch.

    Args:
        train_loss: Its mean loss on all training rows.
        validation_loss: The same on the validation rows.
        train_metric: The metric on the training rows.
        validation_metric: The metric on the validation rows.
    """

    train_loss: float
    validation_loss: float
    train_metric: float
    validation_metric: float


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch.

    Args:
        epoch: Its number, from 1.
        step: Steps taken since the beginning.
        lr: The learning rate of its last step.
        train_loss: The mean loss on all training rows after its last step.
        validation_loss: The same on the validation rows.
        train_metric: The metric on the training rows.
        validation_metric: The metric on the validation rows.
        worst_step_loss: The largest loss of a batch that it saw.
        effective_step: For each layer, the quantiles `QUANTILES` of lr/√v (lr over the rule's denominator).
        averaged: The same of the average of the weights. Default None: there is none yet, or none at all.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    validation_loss: float
    train_metric: float
    validation_metric: float
    worst_step_loss: float
    effective_step: Mapping[str, tuple[float, float, float]]
    averaged: Averaged | None = None

    @property
    def kept_loss(self) -> float:
        """The validation loss of the weights that would be kept: of the average, where there is one."""
        return self.averaged.validation_loss if self.averaged else self.validation_loss


def header(metric: str, layers: Sequence[str], *, averaged: bool = False) -> str:
    r"""Return the first line of history.csv.

    Args:
        metric: The name of the metric.
        layers: The names of the layers.
        averaged: Whether the run averages weights. Default False.

    Returns:
        The line, with its end.

    Examples:
        >>> header("accuracy", [])
        'epoch,step,lr,train_loss,validation_loss,train_accuracy,validation_accuracy,worst_step_loss\n'
    """
    numbers = ["epoch", "step", "lr", "train_loss", "validation_loss", f"train_{metric}", f"validation_{metric}"]
    steps = [f"effective_step_{layer}_q{round(100 * q)}" for layer in layers for q in QUANTILES]
    average = [f"averaged_{name}" for name in numbers[3:]] if averaged else []
    return ",".join([*numbers, "worst_step_loss", *steps, *average]) + "\n"


def line(epoch: Epoch, *, averaged: bool = False) -> str:
    """Return an epoch as a line of history.csv; reading it gives the same numbers, bit for bit.

    Args:
        epoch: The epoch.
        averaged: Whether the run averages weights; as long as there is no average, its numbers are NaN. Default False.

    Returns:
        The line, with its end.
    """
    steps = [value for quantiles in epoch.effective_step.values() for value in quantiles]
    average = [*(astuple(epoch.averaged) if epoch.averaged else _NO_AVERAGE)] if averaged else []
    return ",".join(map(repr, [*astuple(epoch)[:_NUMBERS], *steps, *average])) + "\n"


def restore(
    path: Path, first_line: str, layers: Sequence[str], epochs: int, averaged_from: int | None = None
) -> list[Epoch]:
    """Read back the epochs that a checkpoint knows of, and cut off whatever was written after it.

    Args:
        path: The path of history.csv.
        first_line: Its header.
        layers: The names of the layers.
        epochs: How many epochs the checkpoint knows of.
        averaged_from: The first epoch with an average of the weights. Default None: the run has none.

    Returns:
        The epochs.

    Raises:
        InputError: If the file doesn't hold them.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    kept = text.splitlines(keepends=True)[: epochs + 1]
    try:
        if kept[:1] != [first_line] or len(kept) != epochs + 1:
            raise ValueError
        rows = [_parse(row.split(","), layers, averaged_from) for row in kept[1:]]
        if [row.epoch for row in rows] != list(range(1, epochs + 1)):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} was changed, and the run can't go on without it: start over with --force") from error
    write_atomically(path, "".join(kept).encode())
    return rows


def _parse(row: list[str], layers: Sequence[str], averaged_from: int | None) -> Epoch:
    numbers = [float(value) for value in row]
    end = _NUMBERS + len(QUANTILES) * len(layers)
    if len(numbers) != end + (0 if averaged_from is None else len(_NO_AVERAGE)):
        raise ValueError(row)
    steps = [numbers[start : start + 3] for start in range(_NUMBERS, end, len(QUANTILES))]
    effective = {layer: (low, mid, high) for layer, (low, mid, high) in zip(layers, steps, strict=True)}
    lr, train, validation, train_metric, validation_metric, worst = numbers[2:_NUMBERS]
    losses = (train, validation, train_metric, validation_metric, worst)
    epoch = int(numbers[0])
    averaged = None if averaged_from is None or epoch < averaged_from else Averaged(*numbers[end:])
    return Epoch(epoch, int(numbers[1]), lr, *losses, effective, averaged)
