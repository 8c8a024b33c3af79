"""The first line of a recorder's file: which optimizer, with which options, and which layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeGuard

from torch import Tensor
from torch.optim import Optimizer

from rmsprop.keywords import TORCH
from rmsprop.lab.recorder.file import VERSION
from rmsprop.lab.recorder.layers import Sampling, members
from rmsprop.lab.recorder.moments import moments
from rmsprop.rule import Rule

# Options of a parameter group that say what it computes -> their names in a `Rule`.
_OPTIONS = {TORCH.get(name, name): name for name in ("lr", *(field.name for field in fields(Rule)))}


def header(optimizer: Optimizer, sampling: Sampling, step: int) -> dict[str, Any]:
    """Return what the first line says.

    Args:
        optimizer: The optimizer.
        sampling: Its layers.
        step: The steps that were taken before; what the file knows of later ones doesn't count any more.

    Returns:
        Plain values for JSON.
    """
    kind = type(optimizer)
    return {
        "record": VERSION,
        "from": step,
        "optimizer": f"{kind.__module__}.{kind.__qualname__}",
        "groups": [_options(group) for group in optimizer.param_groups],
        "layers": _layers(optimizer, sampling),
    }


def steps_taken(optimizer: Optimizer) -> int:
    """Return how many steps an optimizer has taken, as it counts them itself; 0 if it doesn't."""
    counts = [state.get("step") for state in optimizer.state.values() if isinstance(state, Mapping)]
    return max((int(count) for count in counts if _is_count(count)), default=0)


def _is_count(value: object) -> TypeGuard[int | float | Tensor]:
    """Tell whether something that an optimizer calls its step, which may be anything, is a number of steps."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and bool(value.isfinite())
    return isinstance(value, int | float) and math.isfinite(value)


def _options(group: Mapping[str, Any]) -> dict[str, float | bool]:
    options: dict[str, float | bool] = {}
    for key, name in _OPTIONS.items():
        if isinstance(value := group.get(key), bool | int | float | Tensor):
            options[name] = value.item() if isinstance(value, Tensor) else value
    return options | ({"decay": group["betas"][1]} if len(group.get("betas") or ()) == 2 else {})


def _layers(optimizer: Optimizer, sampling: Sampling) -> list[dict[str, Any]]:
    kinds: Sequence[list[str]] = [[] for _ in sampling.layers]
    for (group, parameter), layer in zip(members(optimizer), sampling.layer_of, strict=True):
        second = moments(optimizer, group, parameter).second
        if second is not None:
            kinds[layer].append(str(second.dtype).removeprefix("torch."))
    return [
        asdict(layer) | {"averages": kind[0] if kind else None}
        for layer, kind in zip(sampling.layers, kinds, strict=True)
    ]
