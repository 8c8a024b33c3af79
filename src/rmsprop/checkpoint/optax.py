"""States of Optax transformations: live pytrees, and files of their leaves under their paths.

A path is what JAX calls it, joined by slashes: ``0/nu/dense/kernel`` is the leaf ``state[0].nu["dense"]["kernel"]``. A
file is written as ``optax.rmsprop`` would lay it out: ``0/nu/...``, centered with ``0/mu/...``, ``0/count`` under bias
correction, and ``2/trace/...``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint import averages
from rmsprop.checkpoint.archive import write_arrays
from rmsprop.checkpoint.counts import one_step
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import Array, Checkpoint, CheckpointError, Group, Parameter, narrowed, wide_enough
from rmsprop.checkpoint.optax_trees import LR, OPTAX, OURS, Leaves, check_is_rmsprop, leaves_of
from rmsprop.checkpoint.translate import Target

# What the state of rmsprop.jax means depends on these, and it doesn't tell them; the latter where there is a buffer.
_UNSAID, _OF_BUFFERS = ("bias_correction",), ("averaged_momentum",)
_LAYOUT = {"nu": "0/nu", "mu": "0/mu", "trace": "2/trace"}  # optax.rmsprop's; ours has its own names at the top


def read(source: Any, form: str | None, key: str | None, stated: Mapping[str, Any]) -> Checkpoint:
    """Read an Optax state: a live pytree, its leaves by path, or a file of them.

    Args:
        source: The pytree, a mapping from paths to arrays, or the path of a .npz or .safetensors file.
        form: ``"optax"``, ``"rmsprop.jax"``, or None to tell from the names in it.
        key: Not needed.
        stated: What the caller says about its rule, which a state doesn't carry.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If it is not the state of an RMSProp.
    """
    leaves = leaves_of(source)
    found = leaves.found()
    check_is_rmsprop(leaves, found, form)
    form = _agreed(form, found)
    injected = {field: leaves.number(paths[0]) for field, paths in leaves.injected(found).items()}
    lr = injected.pop(LR, None)
    settings: dict[str, Any] = {**_structure(form, found, leaves), **injected, **stated}
    step = _step(leaves, found)
    called = OURS if form == "rmsprop.jax" else OPTAX
    parameters = []
    for name, paths in found.items():
        arrays = {called[kind]: wide_enough(np.asarray(leaves.by_path[path])) for kind, path in paths.items()}
        parameters.append(_parameter(form, name, arrays, step, settings))
    settings = {**FORMATS[form].constants(settings), **settings}
    if settings.get("lr_in_momentum", True) is None:
        del settings["lr_in_momentum"]
    notes: list[str] = []
    if form == "rmsprop.jax":
        keeps_buffer = any("momentum_buffer" in parameter.arrays for parameter in parameters)
        for flag in (*_UNSAID, *(_OF_BUFFERS if keeps_buffer else ())):
            if flag not in settings:
                settings[flag] = False
                notes.append(f"a state of rmsprop.jax doesn't say its rule: {flag}=False is taken")
    if count := leaves.accumulated():
        notes.append(
            f"optax.MultiSteps has gathered the gradients of {count} mini-steps towards the next update, and they are "
            "left behind: take the state after a whole update to lose none"
        )
    ordered = all(parameter.name.isdecimal() for parameter in parameters)
    if ordered:  # a file may have them in another order
        parameters.sort(key=lambda parameter: int(parameter.name))
    group = Group(settings=settings, lr=lr)
    return Checkpoint(format=form, parameters=tuple(parameters), groups=(group,), ordered=ordered, notes=tuple(notes))


def _parameter(
    form: str, name: str, arrays: dict[str, Array], step: int | None, settings: Mapping[str, Any]
) -> Parameter:
    if form == "rmsprop.jax":
        return averages.parameter(name, arrays, step, 0, settings)
    if "momentum_buffer" in arrays and settings.get("lr_in_momentum") is not False:
        arrays["momentum_buffer"] = -arrays["momentum_buffer"]  # Optax traces what is added, not what is subtracted
    return averages.parameter(name, arrays, step, 0, {})  # its averages are the raw ones


def _agreed(form: str | None, found: Mapping[str, Mapping[str, str]]) -> str:
    kinds = {kind for paths in found.values() for kind in paths}
    actual = "rmsprop.jax" if kinds <= OURS.keys() else "optax"
    if form not in (None, actual):
        raise CheckpointError(f"it is given as {form!r}, but its names are those of {actual!r}")
    return actual


def _structure(form: str, found: Mapping[str, Mapping[str, str]], leaves: Leaves) -> dict[str, Any]:
    """Return the settings that show in which states there are."""
    kinds = next(iter(found.values()))  # all parameters have the same
    settings: dict[str, Any] = {"centered": bool(kinds.keys() & {"mu", "grad_var"})}
    if not kinds.keys() & {"trace", "momentum_buffer"}:
        settings["momentum"] = 0.0
    if form == "optax":
        settings["bias_correction"] = leaves.own_count(kinds) is not None
        settings["lr_in_momentum"] = True if leaves.trace_is_last() else None
    return settings


def _step(leaves: Leaves, found: Mapping[str, Mapping[str, str]]) -> int | None:
    own = {path for kinds in found.values() if (path := leaves.own_count(kinds))}
    counts = {int(leaves.number(path)) for path in own or leaves.counts()}
    return counts.pop() if len(counts) == 1 else None


def target(form: str, like: Any, stated: Mapping[str, Any]) -> Target:
    """Return what a state takes; without a template, everything.

    Args:
        form: ``"optax"`` or ``"rmsprop.jax"``.
        like: The state to fill, such as ``tx.init(params)``, a file of one, or None.
        stated: Not needed.

    Returns:
        Its description.
    """
    if like is None:
        return Target(format=form)
    unsaid = dict.fromkeys((*_UNSAID, *_OF_BUFFERS), False) if form == "rmsprop.jax" else {}
    own = read(like, form, None, unsaid)
    settings = {field: value for field, value in own.groups[0].settings.items() if field not in unsaid}
    places = tuple(Place(name=p.name, shape=p.shape, dtype=p.dtype) for p in own.parameters)
    keeps = frozenset(name for p in own.parameters for name in p.arrays)
    return Target(format=form, places=places, groups=(Group(settings=settings, lr=own.groups[0].lr),), keeps=keeps)


def build(checkpoint: Checkpoint, like: Any, notes: list[str]) -> Any:
    """Return a state like the template, or the leaves by path if there is none.

    Args:
        checkpoint: The state, translated for this format.
        like: What `target` was given.
        notes: Receives what the caller must know.

    Returns:
        A new pytree; the template is left as it is.

    Raises:
        CheckpointError: If parameters had different numbers of updates, but one number is kept that matters.
    """
    group = checkpoint.groups[0]
    step = one_step(checkpoint, notes)
    filled = dict(_filled(checkpoint))
    if like is None:
        new: dict[str, Any] = {f"{_LAYOUT.get(kind, kind)}/{name}": array for (kind, name), array in filled.items()}
        if step is not None:
            new["0/count" if group.settings.get("bias_correction") else "1/count"] = narrowed(
                np.asarray(step), np.int32, "the number of updates"
            )
        return new
    leaves = leaves_of(like)
    given: dict[str, Array] = {} if step is None else dict.fromkeys(leaves.counts(), np.asarray(step))
    if group.lr is not None:
        given |= dict.fromkeys(leaves.injected(leaves.found()).get(LR, ()), np.asarray(group.lr))
    for path, slot in leaves.slots.items():
        if (slot.kind, slot.name) in filled:
            given[path] = filled[slot.kind, slot.name]
    if step is None and any(True for _ in leaves.counts()):
        notes.append("the checkpoint has no step count: the template's is kept, by which a schedule reads its place")
    return _unflattened(like, [_as(leaf, given.get(path), path) for path, leaf in leaves.by_path.items()])


def _filled(checkpoint: Checkpoint) -> Iterator[tuple[tuple[str, str], Array]]:
    """Yield what each parameter's states are to be, under their kind and its name."""
    for parameter in checkpoint.parameters:
        settings = checkpoint.groups[parameter.group].settings
        if checkpoint.format == "rmsprop.jax":
            for name, array in averages.own_state(parameter, settings).items():
                yield (name, parameter.name), array
            continue
        for kind, name in OPTAX.items():
            if name in parameter.arrays:
                array = parameter.arrays[name].astype(parameter.dtype)
                inside = kind == "trace" and settings.get("lr_in_momentum")
                yield (kind, parameter.name), -array if inside else array


def _as(old: Any, new: Array | None, path: str) -> Any:
    """Return the new value of a leaf of the template, in its dtype; the old one if there is none."""
    if new is None:
        return old
    if isinstance(old, np.ndarray):
        return narrowed(new, old.dtype, path)
    import jax.numpy as jnp

    dtype = jnp.asarray(old).dtype
    return jnp.array(narrowed(new, dtype, path), dtype=dtype)


def _unflattened(like: Any, leaves: list[Any]) -> Any:
    if isinstance(like, Path):
        return dict(zip(leaves_of(like).by_path, leaves, strict=True))
    from jax.tree_util import tree_structure, tree_unflatten

    return tree_unflatten(tree_structure(like), leaves)


def write(content: Any, path: Path, like: Any) -> None:
    """Write a state's leaves to a .npz or .safetensors file, whole or not at all.

    Args:
        content: What `build` returned.
        path: The file; its suffix says which kind.
        like: Not needed.
    """
    write_arrays({name: np.asarray(leaf) for name, leaf in leaves_of(content).by_path.items()}, path)
