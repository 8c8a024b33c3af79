"""The state of an optimizer as a flat dict of arrays, which ``np.savez`` stores, and back.

The keys: ``"<name>/<state name>"`` and ``"<name>/step"`` per array, ``"rule/<field>"`` per field of the rule, ``"lr"``
and ``"maximize"``. The last may be missing in what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np

from rmsprop.hyperparameters import check_step_lr
from rmsprop.numpy.memory import Array, Slot
from rmsprop.rule import Rule


class Loaded(NamedTuple):
    """What was read.

    Args:
        rule: The rule.
        lr: The learning rate.
        maximize: Whether to ascend; None if nothing was said.
        slots: The arrays, as they are, with the state that was read.
    """

    rule: Rule
    lr: float
    maximize: bool | None
    slots: list[Slot]


def write(rule: Rule, lr: float, maximize: bool, slots: Iterable[Slot]) -> dict[str, Array]:
    """Return everything that a run needs to go on, but for the arrays themselves.

    Args:
        rule: The rule.
        lr: The learning rate.
        maximize: Whether to ascend.
        slots: The arrays.

    Returns:
        Copies, by key.
    """
    saved = {"lr": np.array(check_step_lr(lr)), "maximize": np.array(maximize)}
    saved |= {f"rule/{field}": np.array(value) for field, value in asdict(rule).items()}
    for slot in slots:
        saved[f"{slot.name}/step"] = np.array(slot.counter.value)
        saved |= {f"{slot.name}/{name}": array.copy() for name, array in slot.shown().items()}
    return saved


def read(saved: Any, slots: Sequence[Slot]) -> Loaded:
    """Read what `write` returned, or a file of it that ``np.load`` opened.

    Args:
        saved: Key -> array; left as it is.
        slots: The arrays that it is for; left as they are.

    Returns:
        What was read.

    Raises:
        TypeError: If it is not a mapping, or a value is of the wrong type.
        ValueError: If a key is missing or unknown, a shape is another, or a number is out of range.
    """
    if not isinstance(saved, Mapping):
        raise TypeError(f"the state dict is a {type(saved).__name__}, but a dict or the result of np.load is needed")
    settings = [f"rule/{field.name}" for field in fields(Rule)]
    _check_keys(saved, ["lr", *settings], allowed=None)
    rule = Rule(**{key.removeprefix("rule/"): _scalar(saved, key) for key in settings})
    lr = check_step_lr(_scalar(saved, "lr"))
    maximize = _scalar(saved, "maximize") if "maximize" in saved else None
    if not isinstance(maximize, bool | None):
        raise TypeError(f"maximize in the state dict is {maximize!r} (allowed: True or False)")
    of_arrays = [f"{slot.name}/{name}" for slot in slots for name in ("step", *rule.state_names)]
    _check_keys(saved, of_arrays, allowed={"lr", "maximize", *settings, *of_arrays})
    return Loaded(rule, lr, maximize, [_filled(saved, slot, rule) for slot in slots])


def _check_keys(saved: Mapping[str, Any], needed: Iterable[str], allowed: set[str] | None) -> None:
    if missing := [key for key in needed if key not in saved]:
        raise ValueError(
            f"the state dict has no {missing[0]!r}, nor {len(missing) - 1} others that are needed: "
            "load one that was saved for these arrays"
        )
    if allowed is not None and (unknown := [key for key in saved if key not in allowed]):
        raise ValueError(
            f"the state dict has {unknown[0]!r}, which belongs to none of the arrays or is not kept by its rule: "
            "load one that was saved for these arrays"
        )


def _scalar(saved: Mapping[str, Any], key: str) -> Any:
    value = np.asarray(saved[key])
    if value.shape != ():
        raise ValueError(f"{key!r} in the state dict has shape {value.shape}, but must be a single value")
    return value.item()


def _filled(saved: Mapping[str, Any], slot: Slot, rule: Rule) -> Slot:
    """Return a new slot of the same array with the state that was saved."""
    step = _scalar(saved, f"{slot.name}/step")
    if isinstance(step, bool) or not isinstance(step, int | float) or not (step >= 0 and float(step).is_integer()):
        raise ValueError(f"'{slot.name}/step' in the state dict is {step!r} (allowed: a whole number >= 0)")
    filled = Slot(slot.name, slot.array, rule, int(step))
    for name, own in filled.shown().items():
        key = f"{slot.name}/{name}"
        value = np.asarray(saved[key])
        if value.shape != own.shape or value.dtype.kind != own.dtype.kind:
            raise ValueError(
                f"{key!r} in the state dict has shape {value.shape} and dtype {value.dtype}, but the array needs "
                f"{own.shape} and {own.dtype}: load one that was saved for these arrays"
            )
        own[...] = value
    return filled
