"""Learning-rate schedules, made of torch's own."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR

from rmsprop.lab.train.settings import PLATEAU_PATIENCE, SCHEDULE_FREE, Settings


class LearningRate:
    """The schedule of a run: call `after_step` after every step and `after_epoch` after every epoch.

    The learning rate rises linearly over ``warmup`` epochs, then follows the schedule. Every schedule changes with the
    step, except plateau: once the warm-up is over, that multiplies by ``gamma`` when the validation loss hasn't
    improved for `PLATEAU_PATIENCE` epochs. Where the optimizer sees to its learning rate itself, or needs no schedule,
    it is left alone. Where weights are averaged by SWA, the learning rate is constant: what the schedule has when that
    begins, or ``swa_lr``.

    Args:
        settings: The run's settings.
        optimizer: The optimizer whose learning rate is set; now, to that of the first step.
        steps_per_epoch: Steps per epoch.
    """

    def __init__(self, settings: Settings, optimizer: Optimizer, steps_per_epoch: int) -> None:
        """See the class."""
        warm_up = 0.0 if settings.schedule == SCHEDULE_FREE else settings.warmup  # the average is weighed by its own
        self._warm_steps = round(warm_up * steps_per_epoch)
        self._by_step = _by_step(settings, optimizer, steps_per_epoch, self._warm_steps)
        self._optimizer, self._swa_lr = optimizer, settings.swa_lr
        swa = settings.average == "swa"
        self._last_step = (settings.averaged_from - 1) * steps_per_epoch if swa else None
        if self._last_step == 0:
            self._hold()
        self._plateau: ReduceLROnPlateau | None = None
        if settings.schedule == "plateau":
            assert settings.gamma is not None
            self._plateau = ReduceLROnPlateau(optimizer, factor=settings.gamma, patience=PLATEAU_PATIENCE)

    def after_step(self) -> None:
        """Set the learning rate of the next step."""
        if self._held:
            return
        self._by_step.step()
        if self._held:
            self._hold()

    def after_epoch(self, validation_loss: float) -> None:
        """Lower the learning rate if the schedule is plateau and the validation loss has stopped falling.

        Args:
            validation_loss: The validation loss after this epoch.
        """
        if self._plateau is not None and not self._held and self._by_step.last_epoch >= self._warm_steps:
            self._plateau.step(validation_loss)

    @property
    def _held(self) -> bool:
        """Whether SWA has begun."""
        return self._last_step is not None and self._by_step.last_epoch >= self._last_step

    def _hold(self) -> None:
        if self._swa_lr is not None:
            SWALR(self._optimizer, swa_lr=self._swa_lr, anneal_epochs=0)  # sets it, and needs no step of its own

    def state_dict(self) -> dict[str, object]:
        """Return the state as plain values for JSON."""
        plateau = self._plateau.state_dict() if self._plateau else None
        return {"by_step": self._by_step.state_dict(), "plateau": plateau}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        """Take up a state that `state_dict` gave.

        Args:
            state: The state. The optimizer's learning rate is part of the optimizer's own.
        """
        self._by_step.load_state_dict(state["by_step"])
        if self._plateau:
            self._plateau.load_state_dict(state["plateau"])


def _by_step(settings: Settings, optimizer: Optimizer, per_epoch: int, warm_steps: int) -> LRScheduler:
    main = _main(settings, optimizer, per_epoch, warm_steps)
    if not warm_steps:
        return main
    warmup = LinearLR(optimizer, start_factor=1 / warm_steps, total_iters=warm_steps - 1)
    return SequentialLR(optimizer, [warmup, main], milestones=[warm_steps])


def _main(settings: Settings, optimizer: Optimizer, per_epoch: int, warm_steps: int) -> LRScheduler:
    gamma, remaining = settings.gamma, max(1, settings.epochs * per_epoch - warm_steps)
    match settings.schedule:
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=remaining)
        case "linear":
            return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=remaining)
        case "step":
            assert gamma is not None
            assert settings.step_size is not None
            return StepLR(optimizer, step_size=settings.step_size * per_epoch, gamma=gamma)
        case "exponential":
            assert gamma is not None
            return ExponentialLR(optimizer, gamma=gamma ** (1 / per_epoch))
        case "inverse-sqrt":
            # Vaswani et al.'s curve after its peak; without a warm-up, an epoch takes the place of its length.
            scale = warm_steps or per_epoch
            return LambdaLR(optimizer, lambda step: (scale / (scale + step)) ** 0.5)
        case "constant" | "plateau" | "hypergradient" | "marthe" | "schedule-free":
            return ConstantLR(optimizer, factor=1.0, total_iters=0)
