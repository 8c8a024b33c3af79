"""The epoch with the lowest validation loss: whose weights are kept, and since when a run has to be stopped early."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.settings import FIXED_LENGTH_SCHEDULES, PLATEAU_PATIENCE, STEP_SIZE_SCHEDULES, Settings


@dataclass
class Best:
    """The weights of the epoch with the lowest validation loss so far; of equal losses the first counts.

    Args:
        epoch: The epoch; 0 if there was none with a finite validation loss.
        loss: Its validation loss.
        weights: The model's parameters and buffers after it.
    """

    epoch: int = 0
    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)

    def see(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Keep the weights if no epoch before had as low a loss.

        Args:
            epoch: The epoch that is done.
            loss: Its validation loss.
            model: The model after it.
        """
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def best_epoch(epochs: Sequence[Epoch]) -> Epoch | None:
    """Return the first epoch whose weights have the lowest validation loss; None if no epoch has a finite one.

    Args:
        epochs: The epochs that are done. If some have an average of the weights, these count, and its losses.

    Returns:
        The epoch.
    """
    counting = [epoch for epoch in epochs if epoch.averaged] or epochs
    return _lowest(counting, lambda epoch: epoch.kept_loss)


def lowest_raw(epochs: Sequence[Epoch]) -> Epoch | None:
    """Return the first epoch with the lowest validation loss before averaging; None if no epoch has a finite one.

    Args:
        epochs: The epochs that are done.

    Returns:
        The epoch.
    """
    return _lowest(epochs, lambda epoch: epoch.validation_loss)


def _lowest(epochs: Sequence[Epoch], loss: Callable[[Epoch], float]) -> Epoch | None:
    return min((epoch for epoch in epochs if math.isfinite(loss(epoch))), key=loss, default=None)


def is_early(settings: Settings, epochs: Sequence[Epoch]) -> bool:
    """Tell whether a run is to be stopped before its last epoch.

    Args:
        settings: Its settings.
        epochs: The epochs that are done.

    Returns:
        Whether as many epochs as ``settings.early_stop`` had no lower validation loss, and some are left. It is that
        of the raw weights: an average follows them, and the learning rate with them.
    """
    if settings.early_stop is None or not epochs or len(epochs) >= settings.epochs:
        return False
    best = lowest_raw(epochs)
    return len(epochs) - (best.epoch if best else 0) >= settings.early_stop


def keeping(settings: Settings, problem: Problem) -> Settings:
    """Return the settings with what is kept of a problem: the best weights where there is something to judge by.

    Args:
        settings: The settings.
        problem: The problem that they are for.

    Returns:
        The settings; ``keep`` isn't None.

    Raises:
        InputError: If validation rows are needed, and the problem holds none out.

    Examples:
        >>> from rmsprop.lab.problems import load
        >>> from rmsprop.lab.train.settings import resolve
        >>> [keeping(resolve({"problem": name}), load(name)).keep for name in ("wine", "bowl")]
        ['best', 'last']
    """
    if problem.holds_out:
        return replace(settings, keep=settings.keep or "best")
    given = "--keep best" if settings.keep == "best" else settings.early_stop and f"--early-stop {settings.early_stop}"
    if given:
        raise InputError(f"{given} needs validation rows, and {problem.name} holds none out: leave it out")
    return replace(settings, keep="last")


def schedule_notes(settings: Settings) -> list[str]:
    """Return what a person should know about a schedule that an early stop cuts off.

    Args:
        settings: The settings.

    Returns:
        The sentences.

    Examples:
        >>> from rmsprop.lab.train.settings import resolve
        >>> schedule_notes(resolve({"problem": "wine", "early_stop": 5, "schedule": "constant"}))
        []
    """
    patience, schedule = settings.early_stop, settings.schedule
    if patience is None:
        return []
    if schedule == "plateau" and patience <= PLATEAU_PATIENCE:
        return [
            f"--early-stop {patience} stops before the plateau schedule lowers the learning rate, which it does after "
            f"{PLATEAU_PATIENCE + 1} epochs without a lower validation loss"
        ]
    if schedule not in (*FIXED_LENGTH_SCHEDULES, *STEP_SIZE_SCHEDULES, "exponential"):
        return []
    return [
        f"the {schedule} schedule is drawn over {settings.epochs} epochs: a run that stops early ends before its small "
        f"steps, which often lower the loss (--schedule constant or plateau doesn't depend on the length)"
    ]
