"""A step inside backward: each parameter is updated, and its gradient freed, as soon as that is accumulated.

Every parameter is updated by itself, or with small ones that arrive right before it
(`rmsprop.torch.backward.joint_update`). What all steps of a backward have in common is looked at once, when its first
gradient arrives.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from rmsprop.locks import lock_of
from rmsprop.torch.averaged import is_averaged
from rmsprop.torch.backward.joint_update import JointUpdate, SharedGroup, SingleParam
from rmsprop.torch.backward.taken import check_free, give_back, take
from rmsprop.torch.checks import names_of
from rmsprop.torch.groups import as_groups
from rmsprop.torch.local import is_uninitialized
from rmsprop.torch.step import Stepper

_graph_task: Any = torch._C._current_graph_task_id  # which backward runs


def step_in_backward(optimizer: Optimizer) -> StepInBackward:
    """Let backward take the steps: no gradient outlives the update of its parameter.

    ``loss.backward()`` then trains. ``optimizer.step()`` and ``zero_grad()`` may stay in the loop, where they find
    nothing to do; the optimizer's own step hooks run in ``step()`` alone. Schedulers, parameter groups, tied weights
    and activation checkpoints (``use_reentrant=False``) work as they do otherwise. Of the ways to clip,
    ``max_grad_ratio``, ``max_grad_value`` and ``max_update_rms`` need no other gradient, and work too.

    Args:
        optimizer: The optimizer. Parameters that are added to it later take part, and frozen ones once they wake.

    Returns:
        A handle: `StepInBackward.remove` ends it, `StepInBackward.accumulating` sums gradients over micro-batches.

    Raises:
        TypeError: If it is not an optimizer of `rmsprop.torch`.
        RuntimeError: If gradients are clipped by their norm or tune the learning rate, the step is differentiable,
            backward takes the steps already, or those of another optimizer of the same parameters, or the parameters
            belong to a `DistributedDataParallel`, which averages gradients later.

    Examples:
        >>> from rmsprop.torch import RMSprop
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

    def __init__(self, optimizer: Any) -> None:
        _check_can_serve(optimizer)
        self._optimizer, self._lock = optimizer, lock_of(self)
        self._hooks: list[Any] = []
        self._hooked: set[Tensor] = set()
        self._groups: list[SharedGroup] = []
        self._waiting: list[SingleParam] = []
        self._sets: dict[tuple[int, ...], JointUpdate] = {}
        self._task, self._small = -1, 0
        self._accumulates = self._has_looked_for_ddp = False
        _check_not_replicated(optimizer)
        self.include()
        optimizer.in_backward = self

    def include(self) -> None:
        """Take over parameters that the optimizer has got since."""
        groups = as_groups(self._optimizer.param_groups)
        names, number = names_of(groups), 0
        for group, of_group in zip(groups, names, strict=True):
            for param, name in zip(group["params"], of_group, strict=True):
                check_free(param, name, self)
        self._groups += [SharedGroup(self._optimizer, n) for n in range(len(self._groups), len(groups))]
        for shared, group, of_group in zip(self._groups, groups, names, strict=True):
            for param, name in zip(group["params"], of_group, strict=True):
                if param not in self._hooked and _may_train(param):
                    self._hooked.add(param)
                    take(param, self)
                    single = SingleParam(shared, param, name, number)
                    self._hooks.append(_registered(param, self._hook(single)))
                number += 1
        self._small = min(_MOST_SMALL, int(_SMALL * sum(_size(param) for param in self._hooked if param.requires_grad)))

    def remove(self) -> None:
        """Leave the steps to ``optimizer.step()`` again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        give_back(self._hooked)
        if self._optimizer.in_backward is self:
            self._optimizer.in_backward = None

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Return a context in which backward adds to gradients and takes no steps: for all micro-batches but the last.

        Examples:
            >>> from rmsprop.torch import RMSprop
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

    def _hook(self, single: SingleParam) -> Any:
        def accumulated(param: Tensor) -> None:
            if self._accumulates:
                return
            with self._lock:
                if (task := _graph_task()) != self._task:
                    self._begin(task)
                self._waiting.append(single)
                if param.numel() > self._small or task < 0:
                    self._flush()

        return accumulated

    def _flush(self) -> None:
        """Update the parameters that wait, and free their gradients."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        key = tuple(single.number for single in waiting)
        joint = self._sets.get(key)
        if joint is None:
            if len(self._sets) >= _MOST_SETS:  # gradients arrive in another order each time
                self._sets.clear()
            joint = self._sets[key] = JointUpdate(self._optimizer, waiting)
        with self._optimizer._stepper.lock:  # another thread may be saving or loading state
            joint.step()
        for single in waiting:
            single.param.grad = None

    def _begin(self, task: int) -> None:
        """Look at what all steps of a backward have in common."""
        _check_not_reentrant()
        if not self._has_looked_for_ddp:  # the model may have been wrapped since
            _check_not_replicated(self._optimizer)
            self._has_looked_for_ddp = True
        as_groups(self._optimizer.param_groups)
        for shared in self._groups:
            shared.refresh()
        self._waiting = []  # of a backward that failed
        if task >= 0:
            torch.autograd.Variable._execution_engine.queue_callback(self._end)
        self._optimizer._opt_called = True  # what schedulers ask for
        self._task = task

    def _end(self) -> None:
        with self._lock:
            self._flush()


# A parameter as small as this waits for the next one that is not, or for the end of backward: what it costs to look at
# one would be more than its update. A share of all elements, and never more than 64 kB.
_SMALL, _MOST_SMALL = 1 / 128, 16384
_MOST_SETS = 4096

NEEDS_ALL_GRADIENTS = (
    "a step in backward can't clip by `max_grad_norm`: the norm is known after the last gradient, and the first are "
    "used and freed by then; max_update_rms and max_grad_value need no other gradient"
)


def _check_can_serve(optimizer: Any) -> None:
    """Refuse an optimizer whose steps backward can't take."""
    if not isinstance(getattr(optimizer, "_stepper", None), Stepper):
        kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"a step in backward is one of rmsprop.torch.RMSprop, but {kind} was given: make one")
    if optimizer.max_grad_norm is not None:
        raise RuntimeError(NEEDS_ALL_GRADIENTS)
    if getattr(optimizer, "tuner", None) is not None:
        raise RuntimeError("a step in backward frees the gradients that tune the learning rate: remove() the tuner")
    if optimizer.in_backward is not None:
        raise RuntimeError("backward takes the steps of this optimizer already: remove() the first handle")
    if any(map(is_averaged, optimizer.param_groups)):
        raise RuntimeError(
            "a step in backward can't serve ScheduleFreeRMSprop, which counts a step of all parameters at once: "
            "leave the steps to step()"
        )
    if any(group["differentiable"] for group in as_groups(optimizer.param_groups)):
        raise RuntimeError("a step in backward can't be `differentiable`: backward frees the graph it would join")


def _may_train(param: Tensor) -> bool:
    """Whether a parameter can have gradients, perhaps later, when it isn't frozen any more."""
    return param.requires_grad or ((param.is_floating_point() or param.is_complex()) and not param.is_inference())


def _registered(param: Tensor, hook: Any) -> Any:
    """Have a hook called after each accumulation; PyTorch takes it of a frozen parameter only while it isn't frozen."""
    is_frozen = not param.requires_grad
    param.requires_grad_(True)
    try:
        return param.register_post_accumulate_grad_hook(hook)
    finally:
        param.requires_grad_(not is_frozen)


def _size(param: Tensor) -> int:
    return 0 if is_uninitialized(param) else param.numel()


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


def _check_not_replicated(optimizer: Any) -> None:
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
