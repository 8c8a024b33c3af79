"""A step inside backward: each parameter is updated, and its gradient freed, as soon as that is accumulated.

Every parameter has a plan of its own. What all steps of a backward have in common, the options of the groups, is looked
at once, when the first gradient of the backward arrives.
"""

from __future__ import annotations

import gc
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rmsprop.torch.checks import names_of
from rmsprop.torch.groups import ParamGroup, as_groups, check_group, lr_of, read_options
from rmsprop.torch.limits import limits_of
from rmsprop.torch.step import Stepper

if TYPE_CHECKING:
    from rmsprop.torch.optimizer import RMSprop
    from rmsprop.torch.plan import Plan

_graph_task: Any = torch._C._current_graph_task_id  # which backward runs


def step_in_backward(optimizer: RMSprop) -> StepInBackward:
    """Let backward take the steps: no gradient outlives the update of its parameter.

    ``loss.backward()`` then trains. ``optimizer.step()`` and ``zero_grad()`` may stay in the loop, where they find
    nothing to do; the optimizer's own step hooks run in ``step()`` alone. Schedulers, parameter groups, tied weights
    and activation checkpoints (``use_reentrant=False``) work as they do otherwise. Of the ways to clip,
    ``max_grad_value`` and ``max_update_rms`` need no other gradient, and work too.

    Args:
        optimizer: The optimizer. Parameters that are added to it later take part.

    Returns:
        A handle: `StepInBackward.remove` ends it, `StepInBackward.accumulating` sums gradients over micro-batches.

    Raises:
        RuntimeError: If gradients are clipped by their norm, the step is differentiable, backward takes the steps
            already, or the parameters belong to a `DistributedDataParallel`, which averages gradients later.

    Examples:
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = RMSprop(model.parameters(), lr=0.1)
        >>> handle = step_in_backward(optimizer)
        >>> before = model.bias.item()
        >>> model(torch.ones(1, 2)).sum().backward()
        >>> model.bias.grad is None, round(before - model.bias.item(), 6)
        (True, 1.0)
        >>> handle.remove()

    Source: Lv et al., "Full parameter fine-tuning for large language models with limited resources" (LOMO), arXiv
    2306.09782.
    """
    return StepInBackward(optimizer)


class StepInBackward:
    """What lets backward take the steps of an optimizer, until it is removed.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: RMSprop) -> None:
        if optimizer.max_grad_norm is not None:
            raise RuntimeError(NEEDS_ALL_GRADIENTS)
        if optimizer.in_backward is not None:
            raise RuntimeError("backward takes the steps of this optimizer already: remove() the first handle")
        if any(group["differentiable"] for group in as_groups(optimizer.param_groups)):
            raise RuntimeError("a step in backward can't be `differentiable`: backward frees the graph it would join")
        self._optimizer, self._lock = optimizer, RLock()
        self._hooks: list[Any] = []
        self._hooked: set[Tensor] = set()
        self._groups: list[_SharedGroup] = []
        self._task = -1
        self._accumulates = self._has_looked_for_ddp = False
        _check_not_replicated(optimizer)
        self.include()
        optimizer.in_backward = self

    def include(self) -> None:
        """Take over parameters that the optimizer has got since."""
        groups = as_groups(self._optimizer.param_groups)
        names, number = names_of(groups), 0
        self._groups += [_SharedGroup(self._optimizer, n) for n in range(len(self._groups), len(groups))]
        for shared, group, of_group in zip(self._groups, groups, names, strict=True):
            for param, name in zip(group["params"], of_group, strict=True):
                if param not in self._hooked and param.requires_grad:
                    self._hooked.add(param)
                    single = _Single(self._optimizer, shared, param, name, number)
                    self._hooks.append(param.register_post_accumulate_grad_hook(self._hook(single)))
                number += 1

    def remove(self) -> None:
        """Leave the steps to ``optimizer.step()`` again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._optimizer.in_backward is self:
            self._optimizer.in_backward = None

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Return a context in which backward adds to gradients and takes no steps: for all micro-batches but the last.

        Examples:
            >>> weight = torch.zeros(1, requires_grad=True)
            >>> handle = step_in_backward(RMSprop([weight]))
            >>> with handle.accumulating():
            ...     weight.sum().backward()
            >>> weight.grad
            tensor([1.])
            >>> weight.sum().backward()
            >>> weight.grad is None
            True
        """
        before, self._accumulates = self._accumulates, True
        try:
            yield
        finally:
            self._accumulates = before

    def _hook(self, single: _Single) -> Any:
        def accumulated(param: Tensor) -> None:
            if self._accumulates:
                return
            with self._lock:
                if (task := _graph_task()) != self._task:
                    self._begin(task)
                single.step()
                param.grad = None

        return accumulated

    def _begin(self, task: int) -> None:
        """Look at what all steps of a backward have in common."""
        _check_not_reentrant()
        if not self._has_looked_for_ddp:  # the model may have been wrapped since
            _check_not_replicated(self._optimizer)
            self._has_looked_for_ddp = True
        as_groups(self._optimizer.param_groups)
        for shared in self._groups:
            shared.refresh()
        self._optimizer._opt_called = True  # type: ignore[attr-defined]  # what schedulers ask for
        self._task = task


NEEDS_ALL_GRADIENTS = (
    "a step in backward can't clip by `max_grad_norm`: the norm is known after the last gradient, and the first are "
    "used and freed by then; max_update_rms and max_grad_value need no other gradient"
)


class _SharedGroup:
    """A parameter group as the parameters in it see it, one at a time.

    Attributes:
        group: Its options, with one parameter.
        lr: Its learning rate.
        version: Rises with every change of another option.
    """

    def __init__(self, optimizer: RMSprop, number: int) -> None:
        self._optimizer, self._number = optimizer, number
        self.group, self.version = ParamGroup(), 0
        self.lr: float | Tensor = 0.0
        self._seen: Any = None

    @property
    def limits_updates(self) -> bool:
        """Whether the root mean square of each update is limited."""
        return self.group["max_update_rms"] is not None

    def refresh(self) -> None:
        """Take over the options as they are now."""
        group = self._optimizer.param_groups[self._number]
        seen = (*read_options(group), group["maximize"], isinstance(group["lr"], Tensor))
        self.lr = lr_of(group)
        if seen != self._seen or not all(isinstance(option, _PLAIN) for option in seen):
            check_group(group)
            self.group = ParamGroup({**group, "params": [], "param_names": []})
            self._seen, self.version = seen, self.version + 1
        self.group["lr"] = self.lr


# Options of these types don't change in place.
_PLAIN = (bool, int, float, str, type(None))


class _View:
    """What a `Stepper` sees of an optimizer that has one parameter.

    Args:
        optimizer: The whole optimizer.
        param: The parameter.
    """

    def __init__(self, optimizer: RMSprop, param: Tensor) -> None:
        self._optimizer = optimizer
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, Any] = defaultdict(dict)
        if param in optimizer.state:
            self.state[param] = optimizer.state[param]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


class _Single:
    """A parameter that is updated by itself.

    Args:
        optimizer: The optimizer.
        shared: Its group.
        param: The parameter.
        name: What it is called.
        number: Its number in the optimizer.
    """

    def __init__(self, optimizer: RMSprop, shared: _SharedGroup, param: Tensor, name: str, number: int) -> None:
        self._optimizer, self._shared, self._param, self._list = optimizer, shared, param, [param]
        self._stepper = Stepper(numbering=[([name], number)])
        self._view: _View | None = None
        self._version = -1
        self._ready: _Ready | None = None

    def step(self) -> None:
        """Update the parameter."""
        if self._is_ready() and self._ready is not None and self._ready.step():
            return
        if self._view is None or self._optimizer.state.get(self._param) is not self._view.state[self._param]:
            self._view = _View(self._optimizer, self._param)
            self._stepper.forget()
        group = self._shared.group
        group["params"] = self._list
        self._view.param_groups = [group]
        self._stepper.step(self._view)  # type: ignore[arg-type]
        self._optimizer.state[self._param] = self._view.state[self._param]
        plan, is_fixed = self._stepper.plan, not (self._shared.limits_updates or isinstance(self._shared.lr, Tensor))
        self._ready = _Ready(plan, self._shared, self._param) if plan and plan.is_plain and is_fixed else None
        self._version = self._shared.version

    def _is_ready(self) -> bool:
        """Whether nothing has changed since the last step but the gradient."""
        return (
            self._version == self._shared.version
            and self._view is not None
            and self._optimizer.state.get(self._param) is self._view.state[self._param]
        )


class _Ready:
    """The update of a parameter that the compiled kernel makes and of which nothing but gradient and rate change.

    Args:
        plan: The plan of the parameter, which is plain.
        shared: Its group.
        param: The parameter.
    """

    def __init__(self, plan: Plan, shared: _SharedGroup, param: Tensor) -> None:
        self._plan, self._shared, self._list = plan, shared, [param]
        (self._bucket,) = plan.first.buckets
        self._update = plan.first.update
        self._lr: float | Tensor | None = None

    def step(self) -> bool:
        """Update the parameter; return False, and do nothing, if something else has changed after all."""
        bucket, lr = self._bucket, self._shared.lr
        if not self._plan.bind_first():
            return False
        try:
            if lr != self._lr or bucket.rule.bias_correction:
                group = self._shared.group
                bucket.set_numbers(bucket.rule, lr, group["maximize"], limits_of(group, 1.0))
                self._lr = lr
            assert self._update is not None
            if status := self._update():
                raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
        finally:
            bucket.release()
        torch.autograd.graph.increment_version(self._list)
        return True


def _check_not_reentrant() -> None:
    """Refuse a backward that another one has called, as reentrant checkpoints do."""
    frame = sys._getframe(3)
    for _ in range(8):
        if frame.f_back is None:
            return
        frame = frame.f_back
        if frame.f_code.co_name == "backward" and frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            raise RuntimeError(
                "a step in backward can't serve checkpoint(..., use_reentrant=True), whose segments each run a "
                "backward of their own, after which a weight they share is not complete: use_reentrant=False"
            )


def _check_not_replicated(optimizer: RMSprop) -> None:
    """Refuse parameters that a `DistributedDataParallel` has wrapped."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    ddp = torch.nn.parallel.DistributedDataParallel
    own = {param for group in optimizer.param_groups for param in group["params"]}
    if any(not own.isdisjoint(model.parameters()) for model in _instances(ddp)):
        raise RuntimeError(
            "a step in backward can't serve a model in DistributedDataParallel, which averages gradients over the "
            "processes after they are accumulated, so that replicas would drift apart: use fully_shard instead"
        )


def _instances(cls: type) -> Iterable[Any]:
    return [each for each in gc.get_objects() if type(each) is cls]
