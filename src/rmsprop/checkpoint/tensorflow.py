"""TensorFlow checkpoints: the slots of ``tf.compat.v1.train.RMSPropOptimizer`` and of Keras' legacy optimizer.

A graph's checkpoint calls the slots of ``w`` after the optimizer: ``w/RMSProp`` (v), then ``w/RMSProp_1`` and, if
centered, ``w/RMSProp_2``. The optimizer always has a slot for momentum, so two slots are v and b, and three are v, m
and b. An object-based checkpoint names them: ``w/.OPTIMIZER_SLOT/optimizer/rms``, ``/mg`` and ``/momentum``.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint import averages
from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.counts import one_step
from rmsprop.checkpoint.files import damaged, unreadable
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import Array, Checkpoint, CheckpointError, Group, narrowed, quoted, wide_enough
from rmsprop.checkpoint.translate import Target
from rmsprop.files import replacing

_NAME = "RMSProp"  # of the optimizer, unless it was given another
_OTHERS = ("Adadelta", "Adagrad", "AdagradDA", "Adam", "Ftrl", "Momentum", "ProximalAdagrad")  # TensorFlow's own
_SLOTS = {"rms": "square_avg", "mg": "grad_avg", "momentum": "momentum_buffer"}
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_OWN_SUFFIX = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_OBJECT_SLOT = re.compile(
    r"(?P<variable>.+)/\.OPTIMIZER_SLOT/(?P<optimizer>.+)/(?P<slot>rms|mg|momentum)" + re.escape(_VALUE)
)
_STEP = "global_step"

# Variable -> name of state -> key in the checkpoint.
Keys = dict[str, dict[str, str]]


def read(source: Any, form: str | None, key: str | None, stated: Mapping[str, Any]) -> Checkpoint:
    """Read the slots of a checkpoint.

    Args:
        source: The prefix of a checkpoint's files (or its .index file), or a mapping from names to arrays.
        form: ``"tensorflow1"``, ``"keras_legacy"``, or None to tell from it.
        key: The optimizer's name, if several optimizers have slots in it.
        stated: What the caller says about the rule: ``centered`` where names leave it open.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If it is damaged, has no such slots, or it can't be told which are which.
    """
    tensors = read_tensors(source) if isinstance(source, Path) else source
    notes: list[str] = []
    keys, optimizer = _keys(tensors, key, stated, notes)
    hyper = {name: tensors.get(f"{optimizer}/{name}{_VALUE}") for name in ("rho", "momentum", "learning_rate", "iter")}
    actual = "tensorflow1" if hyper["rho"] is None else "keras_legacy"
    if form not in (None, actual):
        raise CheckpointError(f"it is given as {form!r}, but it is of {FORMATS[actual].program}")
    slots = {slot for members in keys.values() for slot in members}
    settings: dict[str, Any] = {"centered": "grad_avg" in slots, "weight_decay": 0.0}
    if "momentum_buffer" not in slots:
        settings["momentum"] = 0.0
    settings |= {field: float(hyper[name]) for field, name in _HYPER.items() if hyper[name] is not None}  # type: ignore[arg-type]
    settings |= stated
    counter = hyper["iter"] if hyper["iter"] is not None else tensors.get(_STEP)
    step = None if counter is None else int(counter)
    parameters = tuple(
        averages.parameter(
            name, {slot: wide_enough(np.asarray(tensors[path])) for slot, path in members.items()}, step, 0, {}
        )
        for name, members in keys.items()
    )
    lr = None if hyper["learning_rate"] is None else float(hyper["learning_rate"])
    group = Group(settings={**FORMATS[actual].constants(settings), **settings}, lr=lr)
    return Checkpoint(format=actual, parameters=parameters, groups=(group,), ordered=False, notes=tuple(notes))


_HYPER = {"decay": "rho", "momentum": "momentum"}


def _keys(
    tensors: Mapping[str, Any], optimizer: str | None, stated: Mapping[str, Any], notes: list[str]
) -> tuple[Keys, str]:
    """Return where the slots are, and the optimizer's name."""
    by_optimizer: dict[str, Keys] = {}
    for path in sorted(tensors):
        if match := _OBJECT_SLOT.fullmatch(path):
            keys = by_optimizer.setdefault(match["optimizer"], {})
            keys.setdefault(match["variable"], {})[_SLOTS[match["slot"]]] = path
    if by_optimizer:
        rms = {name: keys for name, keys in by_optimizer.items() if any("square_avg" in m for m in keys.values())}
        chosen = _chosen(rms, optimizer)
        return rms[chosen], chosen
    names = _slot_names(tensors)
    chosen = _NAME if optimizer is None and _NAME in names else _chosen(names, optimizer)
    if optimizer is None and chosen != _NAME:
        raise CheckpointError(
            f"the only slots in the checkpoint are called {chosen}, and an RMSProp's are called {_NAME} unless it was "
            f"given another name: pass {called('key', chosen)} if they are an RMSProp's"
        )
    return _of_graph(names[chosen], tensors, chosen, stated, notes), chosen


def _chosen(names: Mapping[str, Any], optimizer: str | None) -> str:
    if not names:
        raise CheckpointError(
            "there are no slots of an RMSProp in the checkpoint: they are called like w/RMSProp or "
            "w/.OPTIMIZER_SLOT/optimizer/rms (tf_keras from 2.11 has numbers instead: save its model as .h5 or .keras)"
        )
    if optimizer is None and len(names) > 1:
        raise CheckpointError(
            f"several optimizers have slots in the checkpoint: say with {called('key')} which of {quoted(names)}"
        )
    if optimizer is not None and optimizer not in names:
        raise CheckpointError(
            f"no optimizer called {optimizer!r} has slots in the checkpoint: there is {quoted(names)}"
        )
    return next(iter(names)) if optimizer is None else optimizer


def _slot_names(tensors: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, per name that an optimizer may have, the variables that have a slot of that name."""
    names: dict[str, list[str]] = {}
    for path in sorted(tensors):
        variable, _, name = path.rpartition("/")
        is_first = variable in tensors and not re.search(r"_\d+$", name)
        is_slot = is_first and np.shape(tensors[path]) == np.shape(tensors[variable])
        if is_slot or (variable and name == _NAME):  # by its name alone in a checkpoint of nothing but slots
            names.setdefault(name, []).append(variable)
    return names


def _of_graph(
    variables: list[str], tensors: Mapping[str, Any], optimizer: str, stated: Mapping[str, Any], notes: list[str]
) -> Keys:
    counts = {name: _count(name, tensors, optimizer) for name in variables}
    number = counts[variables[0]]
    if any(count != number for count in counts.values()):
        told = quoted(f"{name}: {count}" for name, count in counts.items())
        raise CheckpointError(f"variables have different numbers of slots called {optimizer} ({told})")
    if number > 3:
        raise CheckpointError(
            f"variables have {number} slots called {optimizer}, where an RMSProp has 2 or 3: optimizers share the "
            "name, and it can't be told which slot is whose"
        )
    slots = ["square_avg", "momentum_buffer"][:number] if number < 3 else ["square_avg", "grad_avg", "momentum_buffer"]
    if number == 2 and stated.get("centered"):
        slots = ["square_avg", "grad_avg"]
    elif number == 2:
        notes.append(
            f"w/{optimizer}_1 is taken for the momentum, because TensorFlow's optimizer always has a slot for it and a "
            f"centered one has three; pass {called('centered', True)} if it is the average gradient"
        )
    elif number == 1 and stated.get("momentum") != 0:
        raise CheckpointError(
            f"there is one slot called {optimizer} per variable, but TensorFlow's optimizer also keeps momentum: pass "
            f"{called('momentum', 0)} if the run had none"
        )
    keys = {
        name: {slot: f"{name}/{optimizer}" + (f"_{k}" if k else "") for k, slot in enumerate(slots)}
        for name in variables
    }
    if "grad_avg" in slots:
        _check_centered(keys, tensors)
    return keys


def _count(name: str, tensors: Mapping[str, Any], optimizer: str) -> int:
    count = 1
    while f"{name}/{optimizer}_{count}" in tensors:
        count += 1
    return count


def _check_centered(keys: Keys, tensors: Mapping[str, Any]) -> None:
    """Check that v ≥ m², which holds for averages of the same gradients but for rounding."""
    for name, members in keys.items():
        v, m = (np.asarray(tensors[members[slot]], np.float64) for slot in ("square_avg", "grad_avg"))
        if (m * m > v * 1.001 + 1e-30).any():
            raise CheckpointError(
                f"{members['grad_avg']} can't be the average gradient of {name!r}: its square exceeds the average of "
                "squared gradients, so the checkpoint is damaged, or not centered"
            )


def target(form: str, like: Any, stated: Mapping[str, Any]) -> Target:
    """Return what a checkpoint takes; without a template, everything.

    Args:
        form: ``"tensorflow1"`` or ``"keras_legacy"``.
        like: The prefix of a checkpoint of the same model, a mapping of its arrays, or None.
        stated: Not needed.

    Returns:
        Its description.

    Raises:
        CheckpointError: If a format can't be written without a template.
    """
    if like is None:
        if form == "keras_legacy":
            raise CheckpointError(
                f"keras_legacy keeps its variables in a model's checkpoint: give one with {called('like')}"
            )
        return Target(format=form)
    tensors = read_tensors(like) if isinstance(like, Path) else like
    own = read(tensors, form, _name_in(tensors), {})
    settings = dict(own.groups[0].settings)
    places = tuple(Place(name=parameter.name, shape=parameter.shape) for parameter in own.parameters)
    keeps = frozenset(name for parameter in own.parameters for name in parameter.arrays)
    return Target(format=form, places=places, groups=(Group(settings=settings),), keeps=keeps)


def build(checkpoint: Checkpoint, like: Any, notes: list[str]) -> dict[str, Any]:
    """Return the tensors of a checkpoint: all of the template's with the slots replaced, or the slots alone.

    Args:
        checkpoint: The state, translated for this format.
        like: What `target` was given.
        notes: Receives what the caller must know.

    Returns:
        Name -> array.
    """
    step = one_step(checkpoint, notes)
    if like is None:
        return _new(checkpoint)
    tensors = dict(read_tensors(like) if isinstance(like, Path) else like)
    keys, optimizer = _keys(tensors, _name_in(tensors), {}, [])
    if keys and f"{next(iter(keys))}/{optimizer}" in tensors and optimizer != _NAME:
        notes.append(f"the template's slots called {optimizer} are taken for an RMSProp's")
    new = {
        keys[parameter.name][slot]: array
        for parameter in checkpoint.parameters
        for slot, array in parameter.arrays.items()
        if slot != "grad_var"
    }
    lr = checkpoint.groups[0].lr
    for path, value in ((f"{optimizer}/iter{_VALUE}", step), (_STEP, step), (f"{optimizer}/learning_rate{_VALUE}", lr)):
        if path in tensors and value is not None:
            new[path] = _number(value, np.asarray(tensors[path]).dtype)
    return tensors | {path: narrowed(array, np.asarray(tensors[path]).dtype, path) for path, array in new.items()}


def _name_in(tensors: Mapping[str, Any]) -> str | None:
    """Return the name of a template's one optimizer if it was given one; the caller says that it is an RMSProp."""
    names = _slot_names(tensors)
    own = [name for name in names if name not in _OTHERS]
    return own[0] if len(names) == len(own) == 1 else None


def _number(value: float, dtype: Any) -> Array:
    if dtype.kind in "iu" and value > np.iinfo(dtype).max:
        raise CheckpointError(
            f"the target counts to {np.iinfo(dtype).max} and can't take the step {value}: give another {called('step')}"
        )
    return np.asarray(value)


def _new(checkpoint: Checkpoint) -> dict[str, Array]:
    tensors = {}
    for parameter in checkpoint.parameters:
        arrays = {"momentum_buffer": np.zeros_like(parameter.arrays["square_avg"]), **parameter.arrays}
        order = [slot for slot in _SLOTS.values() if slot in arrays]
        for number, slot in enumerate(order):
            path = f"{parameter.name}/{_NAME}" + (f"_{number}" if number else "")
            tensors[path] = narrowed(arrays[slot], parameter.dtype, path)
    return tensors


def read_tensors(path: Path) -> dict[str, Any]:
    """Return all tensors of a checkpoint, whose checksums TensorFlow checks.

    Raises:
        CheckpointError: If it is damaged or there is none.
    """
    prefix = path.with_name(_OWN_SUFFIX.sub("", path.name))
    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file():
        raise unreadable(
            path,
            f"is not the prefix of a TensorFlow checkpoint: there is no {index.name}; give the path without .index",
        )
    tf = _tensorflow()
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise damaged(path, "TensorFlow checkpoint") from error


def _tensorflow() -> Any:
    with suppress(ImportError):
        # torch's compiler, which every torch optimizer loads, imports Triton: a segmentation fault if TensorFlow came
        # first.
        import triton  # noqa: F401
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError("TensorFlow's checkpoints need it to be read and written: pip install tensorflow") from error
    return tf


def write(content: Mapping[str, Any], path: Path, like: Any) -> None:
    """Write tensors as a checkpoint that ``tf.compat.v1.train.Saver`` restores.

    The two files are written elsewhere and renamed, the index last: without it there is no checkpoint.

    Args:
        content: What `build` returned.
        path: The prefix of the files.
        like: Not needed.
    """
    tf = _tensorflow()
    names = sorted(content)
    data, index = files_of(path)
    with (
        tempfile.TemporaryDirectory(prefix=f".{path.name}", dir=path.parent) as folder,
        replacing(index) as new_index,
        replacing(data) as new_data,
        tf.device("cpu"),
    ):
        tf.raw_ops.SaveV2(
            prefix=os.path.join(folder, "new"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(content[name]) for name in names],
        )
        for written, new in zip(files_of(Path(folder, "new")), (new_data, new_index), strict=True):
            shutil.move(written, new)


def files_of(prefix: Path) -> tuple[Path, Path]:
    """Return the files of a checkpoint that is written here: its data, and the index that says what is in them.

    Args:
        prefix: The prefix of their names.

    Returns:
        Their paths.
    """
    return (
        prefix.with_name(prefix.name + ".data-00000-of-00001"),
        prefix.with_name(prefix.name + ".index"),
    )
