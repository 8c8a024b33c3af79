"""The compiled kernel on the torch backend: it updates all variables in one call, on torch's threads.

Where tensors are it learns once: `VariablePlan` keeps the tables from step to step, and each step looks whether
everything still lies there. What the kernel can't do is left to the caller.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras.src.backend.common.stateless_scope import in_stateless_scope

from rmsprop import layout, native, stretch_table
from rmsprop.keras.table import Updatable, VariableTable
from rmsprop.keras.tensors import describe_function, dtype_name, has_memory, is_plain, stretch, torch
from rmsprop.locks import lock_of
from rmsprop.rule import Rule
from rmsprop.storage import NARROW_DTYPES, working_dtype
from rmsprop.threads import TorchUpdate


def may_run() -> bool:
    """Whether a step may write to memory now: no compiler traces it, and no scope keeps what it assigns."""
    return not torch.compiler.is_compiling() and not in_stateless_scope()


class KernelUpdate:
    """What updates the variables of an optimizer by the kernel, and says once where it can't."""

    def __init__(self) -> None:
        self._lock = lock_of(self)
        self._plan: VariablePlan | None = None
        self._has_warned = False

    def __call__(
        self, rules: Sequence[Rule], lr: float, step: int, targets: Sequence[Updatable | None], grads: Sequence[Any]
    ) -> list[int]:
        """Update the variables that have a gradient.

        Args:
            rules: What to compute, by the numbers that targets give; all with the same state.
            lr: The learning rate.
            step: The number of the update, counted from 1; any where the rule has no bias correction.
            targets: All variables of the optimizer; None for one that it never updates.
            grads: The gradient of each, dense and of its shape, or None.

        Returns:
            The numbers of those with a gradient that the kernel can't update.

        Raises:
            RuntimeError: If torch's threads can't be used.
        """
        with self._lock:
            plan = self._plan
            if plan is None or not plan.fits(targets) or not plan.bind(grads):
                self._plan = None  # what it holds may be what memory is needed for
                plan = self._plan = VariablePlan(rules, targets, grads)
                self._warn(plan)
            plan.run(rules, lr, step)
            return [number for number in plan.misfits if grads[number] is not None]

    def _warn(self, plan: VariablePlan) -> None:
        """Say once that tensor operations update a variable that the kernel is made for."""
        slow = plan.unexpected
        if slow and not self._has_warned:
            self._has_warned = True
            (name, reason), more = slow[0], f" (and {len(slow) - 1} more)" if len(slow) > 1 else ""
            warnings.warn(
                f"rmsprop updates variable {name}{more} by tensor operations, which are slower than its kernel: "
                f"it {reason}",
                UserWarning,
                stacklevel=2,
            )


class VariablePlan:
    """Which variables the kernel updates, in tables that it reads, and why it can't update the others.

    Args:
        rules: What to compute.
        targets: All variables of the optimizer; None for one that it never updates.
        grads: The gradient of each, or None; they are bound.

    Attributes:
        misfits: Number of a variable -> why the kernel can't update it, completing "the variable ...".
    """

    def __init__(self, rules: Sequence[Rule], targets: Sequence[Updatable | None], grads: Sequence[Any]) -> None:
        self._targets = list(targets)
        there = {number: target for number, target in enumerate(targets) if target is not None}
        reasons = {number: _unfit(target, grads[number]) for number, target in there.items()}
        written = [
            (*stretch(tensor), number)
            for number, target in there.items()
            for tensor in (target.value, *target.state.values())
            if has_memory(tensor)
        ]
        read = [(*stretch(grads[number]), number) for number in there if has_memory(grads[number])]
        for number in stretch_table.entangled(written, read):
            reasons[number] = reasons[number] or "shares memory with another variable or with a gradient"
        self.misfits = {number: reason for number, reason in reasons.items() if reason}
        begins, ends = np.array(sorted(row[:2] for row in written), np.int64).reshape(-1, 2).T
        self._written = stretch_table.Stretches(begins, np.maximum.accumulate(ends))
        fitting = {number: there[number] for number in there if number not in self.misfits}
        tables = _tables(rules, fitting, grads)
        self._tables = [table for table in tables if table.bind(grads, self._written)]
        for table in tables:
            if table not in self._tables:
                self.misfits |= dict.fromkeys(table.numbers, "has a gradient that the kernel can't read")
        self._update = TorchUpdate([table.batch for table in self._tables])

    @property
    def unexpected(self) -> list[tuple[str, str]]:
        """Name and reason of each misfit that one would expect the kernel to update."""
        found = [(self._targets[number], reason) for number, reason in self.misfits.items()]
        return [(target.name, reason) for target, reason in found if target is not None and _could_be_fast(target)]

    def fits(self, targets: Sequence[Updatable | None]) -> bool:
        """Whether these are the variables that the plan was made for, with the same state and the same rules.

        Args:
            targets: All variables of the optimizer.
        """
        return len(targets) == len(self._targets) and all(
            new is old or (new is not None and old is not None and new.is_still(old))
            for new, old in zip(targets, self._targets, strict=True)
        )

    def bind(self, grads: Sequence[Any]) -> bool:
        """Look at every tensor as it is now; return whether the kernel can run on all of them.

        Args:
            grads: The gradient of each variable, or None.
        """
        return all(table.bind(grads, self._written) for table in self._tables)

    def run(self, rules: Sequence[Rule], lr: float, step: int) -> None:
        """Update every variable that a gradient is bound to.

        Args:
            rules: What to compute.
            lr: The learning rate.
            step: The number of the update.

        Raises:
            RuntimeError: If torch's threads can't be used.
        """
        try:
            for table in self._tables:
                table.prepare(rules[table.rule], lr, step)
            if self._tables and (status := self._update()):  # without the library there are none
                raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
            for table in self._tables:
                table.finish()
        finally:
            for table in self._tables:
                table.release()


def _tables(rules: Sequence[Rule], targets: Mapping[int, Updatable], grads: Sequence[Any]) -> list[VariableTable]:
    """Return variables sorted into tables."""
    kinds: dict[tuple[int, str, bool], list[int]] = {}
    for number, target in targets.items():
        kinds.setdefault((target.rule, *_memory_kind(target.value, grads[number])), []).append(number)
    return [
        VariableTable(numbers, [targets[number] for number in numbers], rules[rule], dtype, is_copied)
        for (rule, dtype, is_copied), numbers in kinds.items()
    ]


def _memory_kind(value: Any, grad: Any) -> tuple[str, bool]:
    """Return the dtype in which the kernel updates a variable, and whether it does so in a copy."""
    dtype = dtype_name(value)
    if grad is not None and grad.dtype != value.dtype and dtype in NARROW_DTYPES:
        return working_dtype(dtype), True  # or the gradient would be rounded before it is used
    return dtype, not value.is_contiguous()


def _unfit(target: Updatable, grad: Any) -> str | None:
    """Return why the kernel can't update a variable, or None if it can."""
    value, state = target.value, target.state.values()
    if value.device.type != "cpu":
        return f"is on device {value.device}; the kernel takes tensors on the CPU"
    if reason := native.missing():
        return f"is on the CPU, where {reason}"
    if describe_function() is None:
        return f"belongs to PyTorch {torch.__version__}; the kernel needs 2.10 or newer, with DLPack 1"
    for tensor in (value, *state, *([] if grad is None else [grad])):
        if not is_plain(tensor):
            return f"has a value, gradient or state that is a {type(tensor).__name__}, no plain tensor underneath"
    if dtype_name(value) not in layout.DTYPES:
        return f"has dtype {value.dtype}; the kernel takes {', '.join(layout.DTYPES)}"
    if any(size > 1 and stride == 0 for size, stride in zip(value.shape, value.stride(), strict=True)):
        return "has elements that share their memory"
    if any(each.device.type != "cpu" or not each.is_contiguous() for each in state):
        return "has state on another device or with gaps in memory"
    return None


def _could_be_fast(target: Updatable) -> bool:
    return target.value.device.type == "cpu" and dtype_name(target.value) in layout.DTYPES
