"""Parameters that backward updates at once: each set has a plan of its own, and its groups' options in common.

What all updates of a backward have in common, the options of the groups, is looked at once (`SharedGroup.refresh`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from rmsprop.torch.clipping.limits import limits_of
from rmsprop.torch.groups import ParamGroup, check_group, lr_of, read_options
from rmsprop.torch.step import Stepper

if TYPE_CHECKING:
    from rmsprop.torch.plan import Plan


class SharedGroup:
    """A parameter group as the parameters in it see it, one at a time.

    Attributes:
        group: Its options, without parameters.
        lr: Its learning rate.
        version: Rises with every change of another option.
    """

    def __init__(self, optimizer: Any, number: int) -> None:
        self._optimizer, self._number = optimizer, number
        self.group, self.version = ParamGroup(), 0
        self.lr: float | Tensor = 0.0
        self._seen: Any = None

    def refresh(self) -> None:
        """Take over the options as they are now."""
        group = self._optimizer.param_groups[self._number]
        seen = (*read_options(group), group["maximize"], isinstance(group["lr"], Tensor))
        self.lr = lr_of(group)
        if seen != self._seen or not all(isinstance(option, _PLAIN) for option in seen):
            check_group(group)
            self.group = ParamGroup({key: group[key] for key in group.keys() - {"params", "param_names"}})
            self._seen, self.version = seen, self.version + 1


# Options of these types don't change in place.
_PLAIN = (bool, int, float, str, torch.dtype, type(None))


class SingleParam(NamedTuple):
    """A parameter, as backward comes upon it.

    Args:
        shared: Its group.
        param: The parameter.
        name: What it is called.
        number: Its number in the optimizer.
    """

    shared: SharedGroup
    param: Tensor
    name: str
    number: int


class _PartialOptimizer:
    """What a `Stepper` sees of an optimizer that has some of its parameters alone.

    Args:
        optimizer: The whole optimizer.
        params: The parameters.
    """

    def __init__(self, optimizer: Any, params: Iterable[Tensor]) -> None:
        self._optimizer = optimizer
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, Any] = defaultdict(dict)
        self.state.update({param: optimizer.state[param] for param in params if param in optimizer.state})

    def is_current(self) -> bool:
        """Whether the parameters still have the state that they have here."""
        states = self._optimizer.state
        return all(states.get(param) is state for param, state in self.state.items())

    def show(self) -> None:
        """Let the optimizer have the state that was made here."""
        self._optimizer.state.update(self.state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


class JointUpdate:
    """Parameters that are updated at once.

    Args:
        optimizer: The optimizer.
        singles: The parameters.
    """

    def __init__(self, optimizer: Any, singles: Sequence[SingleParam]) -> None:
        self._optimizer = optimizer
        self._params = [single.param for single in singles]
        by_group: dict[SharedGroup, list[SingleParam]] = {}
        for single in singles:
            by_group.setdefault(single.shared, []).append(single)
        self._groups = list(by_group)
        self._param_lists = [[single.param for single in alike] for alike in by_group.values()]
        numbering = [([each.name for each in alike], [each.number for each in alike]) for alike in by_group.values()]
        self._stepper = Stepper(numbering=numbering)
        self._view: _PartialOptimizer | None = None
        self._versions: list[int] = []
        self._rates: list[Any] = []
        self._is_plain = False

    def step(self) -> None:
        """Update the parameters."""
        view = self._view
        if view is None or not view.is_current():
            view = self._view = _PartialOptimizer(self._optimizer, self._params)
            self._stepper.forget()
        elif self._is_plain and self._versions == [shared.version for shared in self._groups] and self._step_plain():
            return
        view.param_groups = [
            ParamGroup({**shared.group, "lr": shared.lr, "params": params})
            for shared, params in zip(self._groups, self._param_lists, strict=True)
        ]
        whole = self._optimizer._stepper
        self._stepper.has_warned = whole.has_warned
        self._stepper.sweeps.has_warned = whole.sweeps.has_warned
        self._stepper.step(view)  # type: ignore[arg-type]
        whole.has_warned = self._stepper.has_warned
        whole.sweeps.has_warned = self._stepper.sweeps.has_warned
        view.show()
        self._versions = [shared.version for shared in self._groups]
        self._rates = []
        self._is_plain = self._stepper.plan is not None and self._stepper.plan.is_plain

    def _step_plain(self) -> bool:
        """Update where nothing but gradients and rates has changed; return False, and do nothing, if more has."""
        plan, rates = self._stepper.plan, [shared.lr for shared in self._groups]
        assert plan is not None
        assert plan.first.update is not None
        if any(isinstance(lr, Tensor) for lr in rates) or not plan.bind_first():
            return False
        try:
            if rates != self._rates:
                self._set_numbers(plan)
                self._rates = rates
            if status := plan.first.update():
                raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
        finally:
            for bucket in plan.first.buckets:
                bucket.release()
        torch.autograd.graph.increment_version(self._params)
        return True

    def _set_numbers(self, plan: Plan) -> None:
        for bucket in plan.first.buckets:
            shared = self._groups[bucket.group]
            limits = limits_of(shared.group, 1.0)
            bucket.set_numbers(bucket.rule, shared.lr, shared.group["maximize"], limits)
