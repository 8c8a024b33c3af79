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
from rmsprop.checkpoint.archive import read_arrays, write_arrays
from rmsprop.checkpoint.counts import one_step
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import Array, Checkpoint, CheckpointError, Group, Parameter, wide_enough
from rmsprop.checkpoint.translate import Target

Paths = dict[str, Any]

_OPTAX = {"nu": "square_avg", "mu": "grad_avg", "trace": "momentum_buffer"}
_OURS = {name: name for name in ("square_avg", "grad_var", "grad_avg", "momentum_buffer")}
_LAYOUT = {"square_avg": "0/nu", "grad_avg": "0/mu", "momentum_buffer": "2/trace"}
# What optax.inject_hyperparams calls the fields of a rule.
_INJECTED = {
    "decay": "decay",
    "eps": "eps",
    "initial_scale": "initial_square_avg",
    "initial_square_avg": "initial_square_avg",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
}


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
    leaves, trace_is_last = _leaves(source)
    found = _found(leaves)
    form = _agreed(form, found)
    settings: dict[str, Any] = {**_structure(form, found, leaves, trace_is_last), **_injected(leaves), **stated}
    step = _step(leaves, found)
    parameters = []
    for name, paths in found.items():
        called = _OURS if form == "rmsprop.jax" else _OPTAX
        arrays = {called[slot]: wide_enough(np.asarray(leaves[path])) for slot, path in paths.items()}
        parameters.append(_parameter(form, name, arrays, step, settings))
    settings = {**FORMATS[form].constants(settings), **settings}
    if settings.get("lr_in_momentum", True) is None:
        del settings["lr_in_momentum"]
    notes: tuple[str, ...] = ()
    if form == "rmsprop.jax" and "bias_correction" not in settings:
        settings["bias_correction"] = False
        notes = ("a state of rmsprop.jax doesn't say its rule: bias_correction=False is taken",)
    lrs = [float(np.asarray(leaf)) for path, leaf in leaves.items() if path.endswith("hyperparams/learning_rate")]
    group = Group(settings=settings, lr=lrs[0] if lrs else None)
    ordered = all(parameter.name.isdecimal() for parameter in parameters)
    return Checkpoint(format=form, parameters=tuple(parameters), groups=(group,), ordered=ordered, notes=notes)


def _parameter(
    form: str, name: str, arrays: dict[str, Array], step: int | None, settings: Mapping[str, Any]
) -> Parameter:
    if form == "rmsprop.jax":
        return averages.parameter(name, arrays, step, 0, settings)
    if "momentum_buffer" in arrays and settings.get("lr_in_momentum") is not False:
        arrays["momentum_buffer"] = -arrays["momentum_buffer"]  # Optax traces what is added, not what is subtracted
    return averages.parameter(name, arrays, step, 0, {})  # its averages are the raw ones


def _leaves(source: Any) -> tuple[Paths, bool]:
    """Return the leaves by path, and whether a trace closes the chain, as in ``optax.rmsprop``."""
    if isinstance(source, Path):
        source = read_arrays(source)
    if isinstance(source, Mapping) and all(isinstance(path, str) for path in source) and not _is_nested(source):
        return dict(source), all(path.partition("/trace")[0].endswith("2") for path in source if "/trace" in path)
    return _flattened(source), _trace_is_last(source)


def _is_nested(source: Mapping[str, Any]) -> bool:
    return not all(hasattr(value, "shape") or isinstance(value, float | int) for value in source.values())


def _flattened(tree: Any) -> Paths:
    from jax.tree_util import keystr, tree_flatten_with_path

    return {keystr(path, simple=True, separator="/"): leaf for path, leaf in tree_flatten_with_path(tree)[0]}


def _trace_is_last(state: Any) -> bool:
    """Whether every trace is the third and last of a chain, after the learning rate, as ``optax.rmsprop`` has it."""
    if not isinstance(state, tuple | list):
        return not isinstance(state, Mapping) or all(map(_trace_is_last, state.values()))
    traces = [number for number, part in enumerate(state) if hasattr(part, "trace")]
    if traces:
        return traces == [2] and len(state) == 3
    return all(map(_trace_is_last, state))


def _found(leaves: Paths) -> dict[str, dict[str, str]]:
    """Return, per parameter, name of state -> path, with the paths' own names."""
    found: dict[str, dict[str, str]] = {}
    for path in leaves:
        if (split := _split(path)) is not None:
            slot, name = split
            if slot in found.setdefault(name, {}):
                raise CheckpointError(f"there are two {slot} for {name!r} in the state: give the state of one RMSProp")
            found[name][slot] = path
    return {name: arrays for name, arrays in found.items() if arrays.keys() & {"nu", "square_avg", "grad_var"}}


def _split(path: str) -> tuple[str, str] | None:
    """Return which state a path is of, and of which parameter: (``"nu"``, ``"dense/kernel"``)."""
    parts = path.split("/")
    for position, part in enumerate(parts):
        if part in _OPTAX or part in _OURS:
            return part, "/".join(parts[position + 1 :]) or "0"  # a single array has no path of its own
        if part in ("hyperparams", "hyperparams_states"):
            return None
    return None


def _agreed(form: str | None, found: Mapping[str, Mapping[str, str]]) -> str:
    slots = {slot for arrays in found.values() for slot in arrays}
    if not slots:
        raise CheckpointError(
            "this is not the state of optax.rmsprop or rmsprop.jax: none of its leaves is called nu, square_avg or "
            "grad_var"
        )
    actual = "rmsprop.jax" if slots <= _OURS.keys() else "optax"
    if form not in (None, actual):
        raise CheckpointError(f"it is given as {form!r}, but its names are those of {actual!r}")
    return actual


def _structure(form: str, found: Mapping[str, Mapping[str, str]], leaves: Paths, trace_is_last: bool) -> dict[str, Any]:
    """Return the settings that show in which states there are."""
    slots = {slot for arrays in found.values() for slot in arrays}
    settings: dict[str, Any] = {"centered": bool(slots & {"mu", "grad_var"})}
    if not slots & {"trace", "momentum_buffer"}:
        settings["momentum"] = 0.0
    if form == "optax":
        settings["bias_correction"] = bool(_own_counts(found, leaves))
        settings["lr_in_momentum"] = True if trace_is_last else None
    return settings


def _own_counts(found: Mapping[str, Mapping[str, str]], leaves: Paths) -> list[str]:
    """Return the counts that stand beside the averages."""
    beside = {
        f"{path.partition('nu')[0]}count" for arrays in found.values() for slot, path in arrays.items() if slot == "nu"
    }
    return sorted(beside & leaves.keys())


def _injected(leaves: Paths) -> dict[str, float]:
    """Return the settings that optax.inject_hyperparams keeps in the state."""
    found = {}
    for path, leaf in leaves.items():
        head, _, name = path.rpartition("/")
        if head.endswith("hyperparams") and name in _INJECTED:
            found[_INJECTED[name]] = float(np.asarray(leaf))
    return found


def _counts(leaves: Paths) -> Iterator[str]:
    """Yield the paths of the leaves that count updates."""
    return (path for path in leaves if path.rpartition("/")[2] == "count" and _split(path) is None)


def _step(leaves: Paths, found: Mapping[str, Mapping[str, str]]) -> int | None:
    counts = {int(np.asarray(leaves[path])) for path in _own_counts(found, leaves) or _counts(leaves)}
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
    own = read(like, form, None, {"bias_correction": False} if form == "rmsprop.jax" else {})
    settings = dict(own.groups[0].settings)
    if form == "rmsprop.jax":
        del settings["bias_correction"]
    places = tuple(Place(name=p.name, shape=p.shape) for p in own.parameters)
    keeps = frozenset(name for p in own.parameters for name in p.arrays)
    return Target(format=form, places=places, groups=(Group(settings=settings),), keeps=keeps)


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
        if step is not None:
            filled["0/count" if group.settings.get("bias_correction") else "1/count"] = np.asarray(step, np.int32)
        return filled
    leaves, _ = _leaves(like)
    by_slot = {_split(path): array for path, array in filled.items()}
    new = {path: _leaf(path, leaf, by_slot, group.lr, step) for path, leaf in leaves.items()}
    if step is None and any(True for _ in _counts(leaves)):
        notes.append("the checkpoint has no step count: the template's is kept, by which a schedule reads its place")
    return _unflattened(like, list(new.values()))


def _filled(checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
    ours = checkpoint.format == "rmsprop.jax"
    for parameter in checkpoint.parameters:
        settings = checkpoint.groups[parameter.group].settings
        if ours:
            for name, array in averages.own_state(parameter, settings).items():
                yield f"{name}/{parameter.name}", array
            continue
        for name, prefix in _LAYOUT.items():
            if name in parameter.arrays:
                array = parameter.arrays[name].astype(parameter.dtype)
                inside = name == "momentum_buffer" and settings.get("lr_in_momentum")
                yield f"{prefix}/{parameter.name}", -array if inside else array


def _leaf(path: str, old: Any, by_slot: Mapping[Any, Array], lr: float | None, step: int | None) -> Any:
    """Return the new value of a leaf of the template, in its dtype."""
    split = _split(path)
    if split in by_slot:
        return _as(old, by_slot[split])
    if split is None and path.rpartition("/")[2] == "count" and step is not None:
        return _as(old, np.asarray(step))
    if path.endswith("hyperparams/learning_rate") and lr is not None:
        return _as(old, np.asarray(lr))
    return old


def _as(old: Any, new: Array) -> Any:
    if isinstance(old, np.ndarray):
        return new.astype(old.dtype)
    import jax.numpy as jnp

    return jnp.array(new, dtype=jnp.asarray(old).dtype)


def _unflattened(like: Any, leaves: list[Any]) -> Any:
    if isinstance(like, Path):
        return dict(zip(_leaves(like)[0], leaves, strict=True))
    from jax.tree_util import tree_structure, tree_unflatten

    return tree_unflatten(tree_structure(like), leaves)


def write(content: Any, path: Path, like: Any) -> None:
    """Write a state's leaves to a .npz or .safetensors file, whole or not at all.

    Args:
        content: What `build` returned.
        path: The file; its suffix says which kind.
        like: Not needed.
    """
    leaves, _ = _leaves(content)
    write_arrays({name: np.asarray(leaf) for name, leaf in leaves.items()}, path)
