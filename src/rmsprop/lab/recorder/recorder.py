"""`Recorder`: hooks onto any torch loop and writes down what it does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from rmsprop.lab.recorder import measure
from rmsprop.lab.recorder.budget import MeasuringBudget
from rmsprop.lab.recorder.file import Existing, header, line, opened, read, steps_taken
from rmsprop.lab.recorder.layers import Sampling, members, parameter_names, shape_of
from rmsprop.lab.recorder.losses import LossBuffer
from rmsprop.lab.recorder.moments import number_of
from rmsprop.lab.recorder.scalars import Scalars

_CLOSED = "the recorder is closed: make another one to go on"


class Recorder:
    """Records what a training loop does: loss, learning rate, and per layer what the steps of the optimizer are like.

    It hooks onto the optimizer and never changes what the loop computes, not a bit of it, and draws no random numbers.
    How often it measures follows from what measuring costs: 0.2 % of the loop's time, after a tenth of a second that
    is free; steps 1, 2, 5, 10, 20, 50, ... are measured in any case. A line that was written is in the file even if the
    process is killed right after. `rmsprop diagnose` reads the file.

    It can record any ``torch.optim.Optimizer``. Effective steps lr/√v are known of RMSprop (this package's in every
    dialect, torch's, timm's, Stable-Baselines3's), Adam and its like, and Adagrad.

    Args:
        optimizer: The optimizer of the loop.
        path: The file. Default ``"record.jsonl"``.
        model: The model, or its named parameters, for the names of its layers. Default: the names that the optimizer
            was given, or numbers.
        every: Measure every so many steps, whatever it costs. Default: as often as 0.2 % of the loop's time allow.
        existing: What to do with a file that is there: ``"refuse"`` it, ``"continue"`` it, or ``"replace"`` it.
            Default ``"refuse"``.
        tensorboard: A folder to write TensorBoard's scalars to as well. Default: none are written.

    Raises:
        TypeError: If ``optimizer`` isn't one of torch's.
        ValueError: If ``every`` isn't a whole number above 0. A path that can't be used is an
            `rmsprop.lab.errors.InputError`, which is a ValueError.
        ImportError: If TensorBoard is asked for and not installed.

    Examples:
        >>> import tempfile, torch
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.RMSprop(model.parameters())
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Recorder(optimizer, Path(folder.name) / "record.jsonl", model=model) as recorder:
        ...     for _ in range(3):
        ...         loss = model(torch.ones(4, 2)).square().mean()
        ...         recorder.loss(loss)
        ...         loss.backward()
        ...         optimizer.step()
        ...     recorder.validation(loss=0.5, accuracy=0.9)
        >>> recording = read(recorder.path)
        >>> [row.step for row in recording.losses], recording.validation
        ([1, 2, 3], [(3, {'loss': 0.5, 'accuracy': 0.9})])
        >>> folder.cleanup()
    """

    def __init__(
        self,
        optimizer: Optimizer,
        path: str | Path = "record.jsonl",
        *,
        model: nn.Module | Iterable[tuple[str, Tensor]] | None = None,
        every: int | None = None,
        existing: Existing = "refuse",
        tensorboard: str | Path | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer is a {type(optimizer).__name__}: give a torch.optim.Optimizer")
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ValueError(f"every is {every!r}: it must be a whole number of steps, at least 1")
        self.path = Path(path)
        scalars = Scalars(tensorboard) if tensorboard is not None else None
        self._file, self._lock = opened(self.path, existing)
        self._scalars = scalars
        self._names = parameter_names(optimizer, model)
        self._sampling = _sampling(optimizer, self._names)
        self._step = steps_taken(optimizer) or (read(self.path).last_step if self.path.stat().st_size else 0)
        self._losses = LossBuffer(self._step)
        self._budget = MeasuringBudget(self._step, every)
        self._measures_next = self._budget.measures(self._step + 1)
        # Until one of this step and this time is reached, there is nothing to do after a step ...
        self._quiet = (-inf, -inf)
        self._look_at = 0.0  # ... and not even a row of losses ends before this step.
        self._urgent = False
        self._earlier: measure.Before | None = None
        self._start: measure.Start | None = None
        self._lr = number_of(optimizer.param_groups[0], "lr")
        self._header_has_averages = bool(optimizer.state)
        self._closed = self._failed = False
        self._write(header(optimizer, self._sampling, self._step))
        self._closures = False
        self._before: RemovableHandle | None = optimizer.register_step_pre_hook(self._before_step)
        self._after = optimizer.register_step_post_hook(self._after_step)

    def loss(self, value: float | Tensor) -> None:
        """Give the loss of the step that comes next; of several before one step the mean counts.

        A closure's loss (``optimizer.step(closure)``) is recorded without it.

        Args:
            value: The loss, a number or a tensor with one element. One on an accelerator isn't waited for.

        Raises:
            TypeError: If it isn't a number, or has several elements.
            ValueError: If the recorder is closed.
        """
        # What follows and `_after_step` are in the way of every step, so that they call as little as possible.
        if self._closed:
            return self._refuse()
        if isinstance(value, Tensor) and not value.is_cpu:
            self._losses.wait_for(_single("loss", value))
            return
        try:
            number = float(value.item() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            raise _not_a_number("loss", value) from None
        self._losses.current.append(number)
        if not isfinite(number):  # it is to be in the file at once
            self._urgent, self._look_at = True, 0.0

    def validation(self, **values: float | Tensor) -> None:
        """Give what was found on validation data after the last step.

        Args:
            **values: Numbers by name; ``loss`` is the one that overfitting is judged by.

        Raises:
            TypeError: If one isn't a number, has several elements, or there is none.
            ValueError: If the recorder is closed.
        """
        if self._closed:
            return self._refuse()
        if not values:
            raise TypeError("validation() was given nothing: give numbers by name, such as validation(loss=0.5)")
        numbers = {name: _number(name, value) for name, value in values.items()}
        self._write_losses(self._step)
        self._write({"step": self._step, "validation": numbers})
        if self._scalars:
            self._scalars.add(self._step, {f"validation/{name}": number for name, number in numbers.items()})

    def _refuse(self) -> None:
        """Take nothing any more: a mistake after `close`, but no reason to stop the loop where the disk was full."""
        if not self._failed:
            raise ValueError(_CLOSED)

    def close(self) -> None:
        """Write what is left, let go of the optimizer and close the file. Closing again does nothing."""
        if not self._closed:
            self._write_losses(self._step)
            self._release()
        for handle in (self._before, self._after):
            if handle is not None:
                handle.remove()

    def _release(self) -> None:
        self._closed, self._measures_next, self._look_at = True, False, inf
        self._file.close()
        self._lock.release()
        if self._scalars:
            self._scalars.close()
        self._earlier = self._start = None

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, also after an error."""
        self.close()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if is_compiling():  # what a compiler makes of a whole step can't be looked into
            return None
        self._closures = len(args) > 1 or bool(kwargs)
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._observed(optimizer, args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, kwargs | {"closure": self._observed(optimizer, kwargs["closure"])}
        if self._measures_next:
            self._measured(self._begin, optimizer)
        return None

    def _observed(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return a closure whose first loss is recorded; the gradients are there once it has been called."""
        begins = self._measures_next

        def observed() -> Any:
            nonlocal begins
            loss = closure()
            if begins:
                begins = False
                self._measured(self._begin, optimizer)
            if isinstance(loss, float | Tensor) and not self._losses.current:
                self.loss(loss)
            return loss

        return observed

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if is_compiling():
            return
        step = self._step = self._step + 1
        if step >= self._look_at:
            self._look(optimizer, step)

    def _look(self, optimizer: Optimizer, step: int) -> None:
        """See after a step what there is to do; the time is looked at as often as a row of losses ends."""
        if step >= self._losses.row_ends:
            self._losses.end_row(step)
        if self._urgent or step >= self._quiet[0] or perf_counter() >= self._quiet[1]:
            self._act(optimizer, step)
        if not self._closed:
            self._look_at = min(self._losses.row_ends, self._quiet[0])

    def _act(self, optimizer: Optimizer, step: int) -> None:
        self._lr = number_of(optimizer.param_groups[0], "lr")
        if not self._header_has_averages:  # they are there only now
            self._header_has_averages = True
            self._write(header(optimizer, self._sampling, step - 1))
        if self._urgent or self._budget.losses_are_due():
            self._write_losses()
            self._urgent = False
        if self._start is not None:
            self._measured(self._finish, optimizer)
        if self._closed:  # the disk is full
            return
        self._measures_next = self._budget.measures(step + 1)
        if self._measures_next:
            self._measured(self._keep, optimizer)
        self._quiet = (step + 1, -inf) if self._measures_next else self._budget.quiet(step)
        self._watch(optimizer)

    def _watch(self, optimizer: Optimizer) -> None:
        """Hook onto the beginning of steps only while that is of use: it costs as much as the hook after them."""
        watch = self._measures_next or self._closures
        if watch and self._before is None:
            self._before = optimizer.register_step_pre_hook(self._before_step)
        elif not watch and self._before is not None:
            self._before.remove()
            self._before = None

    def _measured(self, what: Callable[[Optimizer], None], optimizer: Optimizer) -> None:
        """Do a part of a measurement and count what it costs."""
        began = perf_counter()
        what(optimizer)
        self._budget.spent(perf_counter() - began)
        if what == self._finish:
            self._budget.measured(self._step)

    def _keep(self, optimizer: Optimizer) -> None:
        self._fit(optimizer)
        self._earlier = measure.before(optimizer, self._sampling)

    def _begin(self, optimizer: Optimizer) -> None:
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is not None and found_inf.item():
            return  # GradScaler skips this step; the next one will do
        self._fit(optimizer)
        self._start = measure.start(optimizer, self._sampling)

    def _finish(self, optimizer: Optimizer) -> None:
        assert self._start is not None
        values = measure.finish(optimizer, self._sampling, self._start, self._earlier)
        self._start = self._earlier = None
        self._write({"step": self._step, "lr": self._lr, "layers": values})
        if self._scalars:
            self._scalars.add(self._step, _scalars(values, self._sampling))

    def _fit(self, optimizer: Optimizer) -> None:
        """Take coordinates anew if parameters were added or replaced."""
        if self._sampling.shape == shape_of([parameter for _, parameter in members(optimizer)]):
            return
        known = parameter_names(optimizer, None)
        self._names = [*self._names, *known[len(self._names) :]][: len(known)]
        self._sampling, self._earlier = _sampling(optimizer, self._names), None
        self._write(header(optimizer, self._sampling, self._step))

    def _write_losses(self, step: int | None = None) -> None:
        began = perf_counter()
        rows = self._losses.take(step)
        if rows is not None:
            self._write(rows | {"lr": self._lr})
            if self._scalars:
                for at, loss in zip(rows["steps"], rows["loss"], strict=True):
                    self._scalars.add(at, {"loss": loss, "lr": self._lr})
        self._budget.wrote_losses(perf_counter() - began)

    def _write(self, content: Mapping[str, Any]) -> None:
        if self._closed:
            return
        try:
            rest = memoryview(line(content))
            while rest:  # a disk that fills up takes a part, and says only then that it is full
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failed = True
            self._release()
            warnings.warn(f"{self.path} can't be written any more: {error.strerror}", RuntimeWarning, stacklevel=3)


def _number(name: str, value: float | Tensor) -> float:
    try:
        return float(value.item() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise _not_a_number(name, value) from None


def _single(name: str, value: Tensor) -> Tensor:
    if value.numel() != 1:
        raise _not_a_number(name, value)
    return value.detach().reshape(())


def _not_a_number(name: str, value: object) -> TypeError:
    what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    return TypeError(f"{name} is {what}: give a number, or a tensor with one element")


def _sampling(optimizer: Optimizer, names: list[str]) -> Sampling:
    return Sampling([parameter for _, parameter in members(optimizer)], names)


def _scalars(values: Mapping[str, list[float]], sampling: Sampling) -> dict[str, float]:
    return {
        f"{name}/{layer.name}": number
        for name, numbers in values.items()
        for layer, number in zip(sampling.layers, numbers, strict=True)
        if not math.isnan(number)
    }
