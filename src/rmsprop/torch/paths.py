"""What updates each parameter, told before a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rmsprop import native
from rmsprop.torch.checks import names_of
from rmsprop.torch.dense_copies import copy_dtype
from rmsprop.torch.device import is_on_gpu, missing
from rmsprop.torch.groups import as_groups, rule_of
from rmsprop.torch.local import is_shard, is_sparse
from rmsprop.torch.obstacles import asked_for, unfit, unfit_caution, unfit_limit, unfit_state, unfit_units
from rmsprop.torch.rows.sparse import path_on_rows
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import choice_of, unfit_rounding


def paths_of(param_groups: list[dict[str, Any]], states: Mapping[Tensor, ParamState]) -> dict[str, str]:
    """Return what updates each parameter at the next step.

    Args:
        param_groups: The parameter groups of an optimizer.
        states: Its state.

    Returns:
        The parameter's name, or its number where it has none -> what updates it.
    """
    return {
        name: _path(group, param, states)
        for group, names in zip(as_groups(param_groups), names_of(param_groups), strict=True)
        for name, param in zip(names, group["params"], strict=True)
    }


def _path(group: Mapping[str, Any], param: Tensor, states: Mapping[Tensor, ParamState]) -> str:
    rule, state = rule_of(group), states.get(param) or ParamState()
    if words := path_on_rows(param, state, group):
        return words
    choice = choice_of(group)
    rounding = unfit_rounding(param, choice)
    limit = unfit_limit(param, group["max_update_rms"] is not None, choice)
    limit = limit or unfit_units(param, state, group["max_grad_ratio"] is not None, rule, choice)
    limit = limit or unfit_caution(param, rule)
    if reason := asked_for(group) or unfit(param) or rounding or limit or unfit_state(param, state, rule, choice):
        return f"tensor operations: {reason}"
    where = " on shard" * is_shard(param) + " on dense copy" * bool(copy_dtype(param, state, rule))
    if is_sparse(param.grad):
        where += " on a dense copy of the sparse gradient"
    return f"kernel{where} ({'triton' if is_on_gpu(param) else native.instruction_set()})"


class ScalesGradients:
    """Whether a step takes over unscaling from GradScaler: of an optimizer, where the kernel was asked for.

    As in torch it is ``fused=True`` that asks for it. Otherwise GradScaler unscales gradients, so that they can be
    clipped, and sees whether a step was skipped.
    """

    def __get__(self, optimizer: Any, owner: type) -> bool:
        """Return the answer for an optimizer; a class has none."""
        if optimizer is None:
            raise AttributeError("_step_supports_amp_scaling belongs to an optimizer, not to its class")
        if getattr(optimizer, "in_backward", None) is not None:
            raise RuntimeError(
                "a step in backward can't serve GradScaler, which finds out after backward whether gradients were "
                "infinite: train in bfloat16, which needs no scaling, or leave the steps to step()"
            )
        groups = as_groups(optimizer.param_groups)
        return all(group["fused"] and all(missing(p.device) is None for p in group["params"]) for group in groups)
