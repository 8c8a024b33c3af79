"""One step in order: what scaling asks for, the plan, the numbers, then the updates."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from itertools import chain, compress, repeat
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from rmsprop.averaging import Updating
from rmsprop.locks import lock_of
from rmsprop.threads import is_forked, one_thread
from rmsprop.torch import composite, gpu
from rmsprop.torch.averaged import Rate, count
from rmsprop.torch.bucket import DTYPES
from rmsprop.torch.checks import names_of
from rmsprop.torch.clipping.clipper import Clipper
from rmsprop.torch.clipping.limits import Limits, check_not_differentiable
from rmsprop.torch.device import is_on_gpu
from rmsprop.torch.groups import as_groups, is_fake, rate_of
from rmsprop.torch.members import Member
from rmsprop.torch.plan import Numbering, Plan
from rmsprop.torch.rows.sparse import DenseSweeps
from rmsprop.torch.stage import Stage

# Refuses to be captured without `capturable`. PyTorch 2.10 knows it by its old name only.
_check_capture: Callable[[Optimizer], None] = getattr(
    Optimizer, "_accelerator_graph_capture_health_check", None
) or getattr(Optimizer, "_cuda_graph_capture_health_check")  # noqa: B009


class Stepper:
    """What takes the steps of an optimizer, one at a time, and keeps the plan between them.

    Args:
        numbering: For each group what its parameters are called, and their numbers, where they are some of an
            optimizer's. Default None: they are all.

    Attributes:
        plan: The plan of the last step, if it is of use.
        has_warned: Whether somebody was told that tensor operations update parameters.
        sweeps: What makes sparse gradients dense where their rows can't be updated alone.
    """

    def __init__(self, numbering: Numbering | None = None) -> None:
        self._numbering = numbering
        self._lock = lock_of(self)
        self._captured: list[Any] = []  # what CUDA graphs of steps read whenever they run
        self.has_warned = self._is_stepping = False
        self.clipper = Clipper()
        self.sweeps = DenseSweeps()
        self.forget()

    @property
    def lock(self) -> Any:
        """The lock that a step holds, for whoever reads or replaces what it changes."""
        return self._lock

    def forget(self) -> None:
        """Make a new plan at the next step, of groups that may be others."""
        self.sweeps.forget()
        self._drop_plan()

    def _drop_plan(self) -> None:
        self.plan: Plan | None = None
        self.clipper.forget()

    def step(self, optimizer: Optimizer) -> None:
        """Update all parameters that have a gradient.

        Args:
            optimizer: The optimizer. Another thread's step on it is waited for.
        """
        with self._lock:
            if self._is_stepping:
                raise RuntimeError("a step of this optimizer was interrupted by another one: take it afterwards")
            self._is_stepping = True
            try:
                if is_forked():
                    with one_thread():
                        self._step(optimizer)
                else:
                    self._step(optimizer)
            finally:
                self._is_stepping = False

    def make_state(self, optimizer: Optimizer) -> None:
        """Make the state of all parameters that have a gradient, and neither change nor count anything.

        Distributed checkpoints take a step of rate 0 and gradients of zeros for that. As others are taken, it would
        count, and v leave its start.

        Args:
            optimizer: The optimizer.
        """
        with self._lock:
            self.forget()
            Plan(as_groups(optimizer.param_groups), optimizer.state, counts_on_device=False, numbering=self._numbering)

    def _step(self, optimizer: Optimizer) -> None:
        found_inf, max_norm = getattr(optimizer, "found_inf", None), getattr(optimizer, "_max_grad_norm", None)
        if found_inf is not None and not is_on_gpu(found_inf) and found_inf.item():
            self.clipper.skip(max_norm)
            return  # before any state is made
        groups = as_groups(optimizer.param_groups)
        lrs: list[Rate] = [rate_of(group) for group in groups]
        on_gpu = is_on_gpu(found_inf) or (max_norm is not None and _are_on_gpu(groups))
        if max_norm is not None:
            check_not_differentiable(groups)
        with self.sweeps.during_a_step(optimizer.state):
            self._take(optimizer, groups, lrs, max_norm, self._current_plan(optimizer, on_gpu))

    def _take(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], lrs: list[Rate], max_norm: float | None, plan: Plan
    ) -> None:
        """Update everything by a plan, and count the step."""
        try:
            if plan.unasked and not self.has_warned:
                self._warn(plan.unasked)
            if self._run(optimizer, plan, lrs, max_norm):
                for group, rate in zip(groups, lrs, strict=True):
                    count(group, rate)
        finally:
            for stage in plan.stages:
                stage.release()
            for row in plan.rows:
                row.release()

    def _run(self, optimizer: Optimizer, plan: Plan, lrs: list[Rate], max_norm: float | None) -> bool:
        """Update everything in the order of a plan; return whether the host knows of no reason to skip the step."""
        scaling, scale = _scaling(optimizer, plan)
        if scale is None:
            self.clipper.skip(max_norm)
            return False
        if not plan.all_on_cpu:
            _check_capture(optimizer)
        if max_norm is not None:
            scaling, scale = self.clipper.clip(plan, max_norm, scaling, scale, self._captured)
            if scale is None:
                return False
        limits = [members.limits.scaled(scale) for members in plan.groups]
        for stage in plan.stages:
            for bucket in stage.buckets:
                group, rule = optimizer.param_groups[bucket.group], plan.groups[bucket.group].rule
                bucket.set_numbers(rule, lrs[bucket.group], group["maximize"], limits[bucket.group])
            stage.prepare(scaling, self._captured)
        for row in plan.rows:
            number = row.member.group
            rule, maximize = plan.groups[number].rule, optimizer.param_groups[number]["maximize"]
            row.prepare(rule, lrs[number], maximize, limits[number])

        plan.first.run(scaling)
        for row in plan.rows:
            row.run()
        for members in plan.composite_by_group:
            self._update(optimizer, plan, members, lrs, limits)
        for each in plan.sequence:
            if isinstance(each, Stage):
                each.run(scaling)
            else:
                self._update(optimizer, plan, [each], lrs, limits)
        return True

    def _update(
        self, optimizer: Optimizer, plan: Plan, members: list[Member], lrs: list[Rate], limits: list[Limits]
    ) -> None:
        """Update members of one group by tensor operations."""
        number, states = members[0].group, optimizer.state
        group, rule, choice = optimizer.param_groups[number], plan.groups[number].rule, plan.groups[number].rounding
        is_plain = [choice.is_plain(member.param.dtype) for member in members]
        gathered = composite.gathered(compress(members, is_plain), states)
        others = (member for member, plain in zip(members, is_plain, strict=True) if not plain)
        rounded = [member for member in others if member.param.grad is not None]
        with torch.set_grad_enabled(group["differentiable"]):
            if gathered:
                composite.update_group(rule, lrs[number], gathered, group, limits[number])
            if rounded:
                composite.update_rounded(rule, lrs[number], rounded, states, group, limits[number], choice)

    def traced_members(self, optimizer: Optimizer) -> list[tuple[Updating, list[composite.Gathered]]]:
        """Return what tensor operations update in a step that a compiler traces, per group."""
        self.forget()
        plan = Plan(optimizer.param_groups, optimizer.state, counts_on_device=False, kernel=False)
        return [(members.rule, composite.gathered(members.all, optimizer.state)) for members in plan.groups]

    def _current_plan(self, optimizer: Optimizer, counts_on_device: bool) -> Plan:
        """Return the plan of the last step if it serves this one too, else a new one."""
        groups, states = optimizer.param_groups, optimizer.state
        if self.plan is not None and self.plan.bind(groups, states, counts_on_device):
            return self.plan
        self._drop_plan()  # what it holds may be what memory is needed for
        self._make_dense(groups, states)
        self.plan = Plan(groups, states, counts_on_device, numbering=self._numbering)
        return self.plan

    def _make_dense(self, groups: list[dict[str, Any]], states: Any) -> None:
        """Look for sparse gradients that are to be dense for this step, and say so once."""
        names = names_of(groups) if self._numbering is None else [names for names, _ in self._numbering]
        members = [zip(of, group["params"], repeat(group)) for of, group in zip(names, groups, strict=True)]
        if told := self.sweeps.find(chain.from_iterable(members), states):
            warnings.warn(told, UserWarning, stacklevel=_levels_to_the_user())

    def _warn(self, unasked: list[Member]) -> None:
        """Say once that tensor operations update parameters though nobody asked for it."""
        slow = [member for member in unasked if _could_be_fast(member.param)]
        if slow:
            self.has_warned = True
            more = f" (and {len(slow) - 1} more)" if len(slow) > 1 else ""
            warnings.warn(
                f"rmsprop updates parameter {slow[0].name}{more} by tensor operations, which are slower than its "
                f"kernel: it {slow[0].reason}. paths() of the optimizer tells what updates each parameter; fused=False "
                "asks for tensor operations, without this warning",
                UserWarning,
                stacklevel=_levels_to_the_user(),
            )


def _levels_to_the_user() -> int:
    """Return how many calls lie between the caller and who took the step."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("rmsprop.", "torch.")):
        frame, levels = frame.f_back, levels + 1
    return levels


def _are_on_gpu(groups: list[dict[str, Any]]) -> bool:
    return any(is_on_gpu(group["params"][0]) for group in groups if group["params"])


def _could_be_fast(param: Tensor) -> bool:
    return param.device.type in ("cpu", "cuda") and param.dtype in DTYPES and not is_fake(param)


def _scaling(optimizer: Optimizer, plan: Plan) -> tuple[gpu.Scaling, float | None]:
    """Return what of GradScaler's numbers stays on the device, and what gradients must be multiplied with here.

    The latter is None if they are known to be infinite, so that nothing may change.
    """
    grad_scale, found_inf = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
    if grad_scale is None and found_inf is None:
        return gpu.NO_SCALING, 1.0
    scaling = gpu.Scaling(*(x if plan.all_on_gpu and is_on_gpu(x) else None for x in (grad_scale, found_inf)))
    if found_inf is not None and scaling.found_inf is None and found_inf.item():
        return scaling, None
    return scaling, 1.0 if grad_scale is None or scaling.grad_scale is not None else 1.0 / float(grad_scale)
