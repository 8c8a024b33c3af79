"""How a run takes its steps: with the learning rate that a schedule sets, or one that the optimizer sees to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from rmsprop.keywords import TORCH
from rmsprop.lab.errors import InputError
from rmsprop.lab.held_out import HeldOut, follow, note
from rmsprop.lab.train.settings import HYPERGRADIENT, MARTHE, SCHEDULE_FREE, Settings
from rmsprop.torch import HypergradientDescent, Marthe, RMSprop, ScheduleFreeRMSprop

Objective = Callable[[Tensor], Tensor]
Arrays = dict[str, Tensor]


class ScheduledSteps:
    """Steps with a learning rate that others set: one per batch, from `step`.

    Args:
        model: The model.
        settings: The run's settings.
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        """See the class."""
        rule = {TORCH.get(name, name): value for name, value in asdict(settings.rule).items()}
        self.optimizer = RMSprop(model.parameters(), lr=settings.lr, dialect=settings.dialect, **rule)

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        lr: float = self.optimizer.param_groups[0]["lr"]
        return lr

    def step(self, objective: Objective, rows: Tensor, check: Callable[[float], None]) -> float:
        """Take a step.

        Args:
            objective: Computes what is minimised on some rows.
            rows: The batch.
            check: Takes the objective on the batch before anything is changed, and raises if it is lost.

        Returns:
            The objective on the batch before the step.
        """
        self.optimizer.zero_grad()
        loss = objective(rows)
        value = loss.item()
        check(value)
        loss.backward()
        self.optimizer.step()
        return value

    @contextmanager
    def judging(self, batches: Iterable[Tensor]) -> Iterator[None]:
        """Return a context in which the model has the weights that count.

        Args:
            batches: The training inputs, for those whose batch norm has to see them.
        """
        yield

    def state_dict(self) -> tuple[Arrays, dict[str, Any]]:
        """Return what continues the learning rate to the last bit, beside the optimizer's state: tensors and values."""
        return {}, {}

    def load_state_dict(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave, after the optimizer has taken up its own.

        Args:
            arrays: The tensors.
            facts: The plain values.
        """


class HypergradientSteps(ScheduledSteps):
    """Steps whose learning rate follows the last step's hypergradient (`rmsprop.torch.HypergradientDescent`)."""

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        """See the class."""
        super().__init__(model, settings)
        with _refused(settings):
            self.tuner = HypergradientDescent(self.optimizer)

    def state_dict(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the directions of the last step by the number of their parameter, and the tuner's numbers."""
        state = self.tuner.state_dict()
        directions = state.pop("directions")
        return {str(number): tensor for number, tensor in directions.items()}, state

    def load_state_dict(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        directions = {int(number): tensor for number, tensor in arrays.items()}
        self.tuner.load_state_dict({**facts, "directions": directions})


class MartheSteps(ScheduledSteps):
    """Steps whose learning rate is fitted to a fifth of the training rows, which don't train (`rmsprop.torch.Marthe`).

    Args:
        model: The model.
        settings: The run's settings.
        rows: How many training rows there are.
    """

    def __init__(self, model: nn.Module, settings: Settings, rows: int) -> None:
        """See the class."""
        super().__init__(model, settings)
        self._held_out = HeldOut(rows, settings.batch_size)
        self._done = 0
        with _refused(settings):
            self.tuner = Marthe(self.optimizer)

    def step(self, objective: Objective, rows: Tensor, check: Callable[[float], None]) -> float:
        """Take a step: on those rows of the batch that aren't held out, if there are any."""
        trained, fitted = self._held_out.of(rows, self._done)
        value = 0.0

        def seen(some: Tensor) -> Tensor:
            nonlocal value
            loss = objective(some)
            if some is trained:
                value = loss.item()
                check(value)
            return loss

        follow(self.tuner, seen, trained, fitted)
        self._done += 1
        return value

    def state_dict(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the tangent of the learning rate by the parameters' numbers and its parts, and the tuner's numbers."""
        state = self.tuner.state_dict()
        tangents = state.pop("tangents").get(0, {})
        arrays = {f"{number}/{part}": rate for number, rates in tangents.items() for part, rate in rates.items()}
        return arrays, {**state, "done": self._done}

    def load_state_dict(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        tangent: dict[int, Arrays] = {}
        for name, rate in arrays.items():
            number, _, part = name.partition("/")
            tangent.setdefault(int(number), {})[part] = rate
        self.tuner.load_state_dict({**facts, "tangents": {0: tangent} if tangent else {}})
        self._done = int(facts["done"])


class ScheduleFreeSteps(ScheduledSteps):
    """Steps without a schedule, after which an average of the weights counts (`rmsprop.torch.ScheduleFreeRMSprop`).

    Args:
        model: The model.
        settings: The run's settings.
        per_epoch: Steps per epoch.
    """

    def __init__(self, model: nn.Module, settings: Settings, per_epoch: int) -> None:
        """See the class."""
        rule, self._model = settings.rule, model
        with _refused(settings):
            self.optimizer = ScheduleFreeRMSprop(
                model.parameters(),
                lr=settings.lr,
                alpha=rule.decay,
                eps=rule.eps,
                weight_decay=rule.weight_decay,
                momentum=rule.momentum,
                centered=rule.centered,
                warmup_steps=round(settings.warmup * per_epoch),
                eps_inside_sqrt=rule.eps_inside_sqrt,
                initial_square_avg=rule.initial_square_avg,
                bias_correction=rule.bias_correction,
            )
        self.averaged = self.optimizer
        self.averaged.train()

    @property
    def lr(self) -> float:
        """The learning rate of the last step; it rises over the warm-up, and stays."""
        largest: float = self.optimizer.param_groups[0]["lr_max"]
        return largest

    @contextmanager
    def judging(self, batches: Iterable[Tensor]) -> Iterator[None]:
        """Return a context in which the model has the average, and batch norm has seen the training inputs with it."""
        with self.averaged.evaluating():
            update_bn(batches, self._model)
            yield


def steps_of(model: nn.Module, settings: Settings, rows: int, per_epoch: int) -> ScheduledSteps:
    """Return how a run takes its steps.

    Args:
        model: The model.
        settings: The run's settings.
        rows: How many training rows there are.
        per_epoch: Steps per epoch.

    Raises:
        InputError: If the rule can't be what the schedule makes of it.
    """
    match settings.schedule:
        case "hypergradient":
            return HypergradientSteps(model, settings)
        case "marthe":
            return MartheSteps(model, settings, rows)
        case "schedule-free":
            return ScheduleFreeSteps(model, settings, per_epoch)
    return ScheduledSteps(model, settings)


def rate_notes(settings: Settings, rows: int) -> list[str]:
    """Return what a person should know about a learning rate that the optimizer sees to itself.

    Args:
        settings: The run's settings.
        rows: How many training rows there are.

    Returns:
        The sentences.

    Examples:
        >>> from rmsprop.lab.train.settings import resolve
        >>> rate_notes(resolve({"problem": "wine", "schedule": "hypergradient"}), 107)[0]
        'hypergradient: the learning rate begins at 0.01 and changes by 5 % a step at most'
    """
    if settings.schedule in (HYPERGRADIENT, MARTHE):
        said = [f"{settings.schedule}: the learning rate begins at {settings.lr:g} and changes by 5 % a step at most"]
        return [*said, *([f"marthe: {note(rows).rstrip('.')}"] if settings.schedule == MARTHE else [])]
    if settings.schedule != SCHEDULE_FREE:
        return []
    said = ["schedule-free: the weights that are judged and kept are the average of those of all steps"]
    if settings.rule.decays_weights("l2"):
        said.append("schedule-free: weight decay times the weights is added to the update, not to the gradient")
    return said


@contextmanager
def _refused(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"--schedule {settings.schedule} can't be used with this rule: {error}") from error
