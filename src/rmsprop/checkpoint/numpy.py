"""State dicts of `rmsprop.numpy.RMSprop`, in memory or in a .npz file.

The keys: ``"<name>/<state name>"`` and ``"<name>/step"`` per array, ``"rule/<field>"`` per field of the rule, ``"lr"``
and ``"maximize"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint import averages
from rmsprop.checkpoint.archive import read_arrays, write_arrays
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import ARRAYS, Array, Checkpoint, CheckpointError, Group, wide_enough
from rmsprop.checkpoint.translate import Target
from rmsprop.rule import Rule

_FIELDS = tuple(field.name for field in fields(Rule))


def read(source: Any, form: str | None, key: str | None, stated: Mapping[str, Any]) -> Checkpoint:
    """Read an optimizer, its state dict, or a file of it.

    Args:
        source: An `rmsprop.numpy.RMSprop`, what its ``state_dict`` returned, or the path of a .npz file.
        form: Not needed.
        key: Not needed.
        stated: Not needed: the rule is part of it.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If it is not such a state dict.
    """
    saved = _saved(source)
    missing = [key for key in ("lr", *(f"rule/{field}" for field in _FIELDS)) if key not in saved]
    if missing:
        raise CheckpointError(f"this is not a state dict of rmsprop.numpy: it has no {missing[0]!r}")
    settings = {field: saved[f"rule/{field}"].item() for field in _FIELDS}
    settings["maximize"] = bool(saved["maximize"]) if "maximize" in saved else False
    arrays: dict[str, dict[str, Array]] = {}
    for path, array in saved.items():
        name, _, slot = path.rpartition("/")
        if slot in (*ARRAYS, "step"):
            arrays.setdefault(name, {})[slot] = array
    parameters = []
    for name, state in arrays.items():
        step = int(state.pop("step")) if "step" in state else None
        kept = {slot: wide_enough(array) for slot, array in state.items()}
        parameters.append(averages.parameter(name, kept, step, 0, settings))
    ordered = all(name.isdecimal() for name in arrays)
    group = Group(settings=settings, lr=float(saved["lr"]))
    return Checkpoint(format="numpy", parameters=tuple(parameters), groups=(group,), ordered=ordered)


def _saved(source: Any) -> dict[str, Array]:
    if isinstance(source, Path):
        return read_arrays(source)
    source = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(source, Mapping):
        raise CheckpointError(f"a {type(source).__name__} is not a state dict of rmsprop.numpy")
    return {str(key): np.asarray(value) for key, value in source.items()}


def target(form: str, like: Any, stated: Mapping[str, Any]) -> Target:
    """Return what a state dict takes; without a template, everything.

    Args:
        form: Not needed.
        like: The optimizer that is to go on, its state dict, a file of it, or None.
        stated: Not needed.

    Returns:
        Its description.
    """
    if like is None:
        return Target(format="numpy")
    own = read(like, None, None, {})
    places = tuple(Place(name=p.name, shape=p.shape, dtype=p.dtype) for p in own.parameters)
    return Target(format="numpy", places=places, groups=own.groups)


def build(checkpoint: Checkpoint, like: Any, notes: list[str]) -> dict[str, Array]:
    """Return a state dict for ``rmsprop.numpy.RMSprop.load_state_dict``.

    Args:
        checkpoint: The state, translated for this format.
        like: Not needed.
        notes: Receives what the caller must know.

    Returns:
        Copies, by key.

    Raises:
        CheckpointError: If parameters have different rules or learning rates.
    """
    group = checkpoint.groups[0]
    if any(other != group for other in checkpoint.groups):
        raise CheckpointError(
            "rmsprop.numpy has one rule and one learning rate for all arrays, but the checkpoint's parameter groups "
            "differ: convert to torch, or pass what is to hold for all"
        )
    saved = {"lr": np.array(group.lr), "maximize": np.array(group.settings["maximize"])}
    saved |= {f"rule/{field}": np.array(group.settings[field]) for field in _FIELDS}
    if any(parameter.step is None for parameter in checkpoint.parameters):
        notes.append("the checkpoint has no step counts: step is set to 0, which nothing in the update depends on")
    for parameter in checkpoint.parameters:
        saved[f"{parameter.name}/step"] = np.array(parameter.step or 0)
        for name, array in averages.own_state(parameter, group.settings).items():
            saved[f"{parameter.name}/{name}"] = array
    return saved


def write(content: dict[str, Array], path: Path, like: Any) -> None:
    """Write a state dict to a .npz file, whole or not at all.

    Args:
        content: What `build` returned.
        path: The file.
        like: Not needed.

    Raises:
        CheckpointError: If the path has another suffix.
        OSError: If it can't be written.
    """
    if path.suffix != ".npz":
        raise CheckpointError(f"{path} has another suffix than .npz, which rmsprop.numpy's state is kept in")
    write_arrays(content, path)
