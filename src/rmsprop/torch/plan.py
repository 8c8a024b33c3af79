"""How one parameter group takes its steps: which parameters the kernel updates, which tensor operations update."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor

from rmsprop.rule import Rule
from rmsprop.torch.fused import Bucket, unfit
from rmsprop.torch.gpu import Scaling
from rmsprop.torch.groups import read_options
from rmsprop.torch.state import ARRAYS, ParamState, complete, is_on_device, separate_counters


def check_gradients(group: Mapping[str, Any], states: Mapping[Tensor, ParamState]) -> None:
    """Check that every gradient and every state tensor of a group can be used.

    Args:
        group: A parameter group.
        states: The optimizer's state.

    Raises:
        RuntimeError: If a gradient is sparse, a state tensor has another shape or device than it should, or
            ``fused=True`` meets a parameter that the kernel can't update.
    """
    for position, param in enumerate(group["params"]):
        if param.grad is None:
            continue
        if param.grad.is_sparse:
            raise RuntimeError("RMSprop does not support sparse gradients")
        if reason := _unusable(param, param.grad):
            raise RuntimeError(f"parameter {position} {reason}")
        if group["fused"] and (reason := unfit(param)):
            raise RuntimeError(
                "`fused=True` requires all the params to be floating point Tensors that the kernel takes, but "
                f"parameter {position} {reason}: use fused=None"
            )
        for name in ARRAYS:
            if name in states.get(param, {}):
                _check_state(position, name, states[param][name], param)


def _unusable(param: Tensor, grad: Tensor) -> str | None:
    """Return why no implementation can update a parameter, or None."""
    if not (param.is_floating_point() or param.is_complex()):
        return f"has dtype {param.dtype}: only floating point and complex parameters can be trained"
    if grad.shape != param.shape:
        return f"has shape {tuple(param.shape)}, but its gradient {tuple(grad.shape)}: call zero_grad() after resizing"
    if any(stride == 0 and size > 1 for stride, size in zip(param.stride(), param.shape, strict=True)):
        return "has elements that share their memory (it was expanded): make it a tensor of its own with clone()"
    return None


def _check_state(position: int, name: str, value: Tensor, param: Tensor) -> None:
    if (value.shape, value.device, value.is_complex()) != (param.shape, param.device, param.is_complex()):
        raise RuntimeError(
            f"state {name!r} of parameter {position} is {_described(value)}, but the parameter is {_described(param)}: "
            "load the state with load_state_dict, or delete it to start it anew"
        )


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"


class Plan:
    """The parameters of a group that have a gradient, sorted by what updates them.

    Making a plan gives every parameter with a gradient the state that it lacks.

    Args:
        group: The parameter group, checked.
        rule: The rule that its options describe.
        states: The optimizer's state; completed in place.
        held: How many parameters of the optimizer hold each step counter (`state.holders`).
        taken: The addresses that the kernel writes to for other groups, which go on; None if it may not be used.
            Parameters that share memory are updated one after the other, so the kernel takes only the first.
        counts_on_device: Whether steps are counted where the parameters are, because only there it will be known
            whether a step happens.
    """

    def __init__(
        self,
        group: Mapping[str, Any],
        rule: Rule,
        states: dict[Tensor, ParamState],
        held: Counter[int],
        taken: set[int] | None,
        counts_on_device: bool,
    ) -> None:
        self.rule = rule
        self._options = read_options(group)
        self._params = list(group["params"])
        active = [param for param in self._params if param.grad is not None]
        self._inactive = [param for param in self._params if param.grad is None]
        for param in active:
            complete(states[param], param, rule)
        # A counter that went to the device, for GradScaler say, stays there: taking it back would mean waiting for it.
        on_device = any(is_on_device(states[param].get("step")) for param in active)
        self.counts_on_device = group["capturable"] or counts_on_device or on_device
        separate_counters(active, held, states, self.counts_on_device)
        self.counters: list[Tensor] = list({id(step): step for step in (states[p]["step"] for p in active)}.values())
        self._counted = [step.data_ptr() for step in self.counters]
        # Counting through NumPy spares torch's dispatcher, whose code is cold after a backward pass: 0.1 ms.
        self._counts = [step if self.counts_on_device else step.numpy() for step in self.counters]

        allowed = not (group["fused"] is False or group["foreach"] is False or group["differentiable"])
        chosen: list[Tensor] = []
        self.composite: list[Tensor] = []
        for param in active:
            serves = taken is not None and allowed and unfit(param) is None and _take(param, taken)
            (chosen if serves else self.composite).append(param)
        self.buckets: list[Bucket] = []
        for bucket in _buckets(chosen, states, rule, self.counts_on_device):
            if bucket.bind():
                self.buckets.append(bucket)
            else:
                self.composite.extend(bucket.params)
        # Whether the one or the other kernel updates all parameters.
        self.all_on_cpu = not self.composite and not any(bucket.on_gpu for bucket in self.buckets)
        self.all_on_gpu = not self.composite and all(bucket.on_gpu for bucket in self.buckets)

    def count(self, scaling: Scaling) -> None:
        """Count one step of every parameter, unless it turns out on the device that it does not happen.

        Args:
            scaling: What knows whether it does.
        """
        if scaling.found_inf is None:
            for count in self._counts:
                count += 1
        else:
            for counter in self.counters:
                counter += scaling.counted(counter.device)

    def still_fits(self, group: Mapping[str, Any]) -> bool:
        """Bind the tensors of a next step; return whether all is still as it was when the plan was made.

        Args:
            group: The parameter group as it is now.

        Returns:
            False if options, parameters, state or the set of parameters with gradients have changed.
        """
        params: Sequence[Tensor] = group["params"]
        return (
            read_options(group) == self._options
            and not self.composite
            and [step.data_ptr() for step in self.counters] == self._counted
            and len(params) == len(self._params)
            and all(map(is_, params, self._params))
            and all(param.grad is None for param in self._inactive)
            and all(bucket.bind() for bucket in self.buckets)
        )


def _take(param: Tensor, taken: set[int]) -> bool:
    """Take a parameter's memory for the kernel, unless it is taken already."""
    address = param.data_ptr()
    free = param.numel() == 0 or address not in taken
    taken.add(address)
    return free


def _buckets(
    params: Sequence[Tensor], states: Mapping[Tensor, ParamState], rule: Rule, counts_on_device: bool
) -> list[Bucket]:
    """Sort parameters by device, dtype and step counter."""
    together: dict[Any, list[Tensor]] = {}
    for param in params:
        together.setdefault((param.device, param.dtype, id(states[param]["step"])), []).append(param)
    return [Bucket(members, [states[p] for p in members], rule, counts_on_device) for members in together.values()]
