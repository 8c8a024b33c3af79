"""Keras 3 optimizers: live ones, and the optimizer's part of .keras and .h5 files.

A file keeps an optimizer's variables by number: the iteration, the learning rate (unless a schedule computes it), then
all velocities, all momentums and all average gradients, each in the order of the model's trainable variables. Which of
them there are, the configuration beside them says; weights files have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint import averages
from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.counts import one_step
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.keras_files import read_file, write_file
from rmsprop.checkpoint.keras_variables import Variables, of_file, of_optimizer
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import Array, Checkpoint, CheckpointError, Group, Parameter, narrowed, wide_enough
from rmsprop.checkpoint.translate import Target


def read(source: Any, form: str | None, key: str | None, stated: Mapping[str, Any]) -> Checkpoint:
    """Read a live optimizer, or the optimizer's part of a file.

    Args:
        source: A built ``keras.optimizers.RMSprop`` or `rmsprop.keras.RMSprop`, or the path of a .keras or .h5 file.
        form: ``"keras"``, ``"rmsprop.keras"``, or None to tell from it.
        key: The optimizer's name in a file, if there are several.
        stated: What the caller says about its rule; a weights file doesn't say whether there are momentum and
            centering.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If there is no RMSProp's state in it.
    """
    if isinstance(source, Path):
        stored = read_file(source, key)
        variables = of_file(stored, stated)
        value: Callable[[Any], Array] = stored.array
    else:
        variables, value = of_optimizer(source), _value
    if form not in (None, variables.form):
        raise CheckpointError(f"it is given as {form!r}, but it is of {FORMATS[variables.form].program}")
    settings = {**FORMATS[variables.form].constants(variables.settings), **variables.settings}
    step, collected = divmod(int(value(variables.iteration)), variables.every)
    parameters = tuple(
        _parameter(
            variables.form,
            name,
            {slot: wide_enough(value(members[number])) for slot, members in variables.slots.items()},
            step,
            settings,
        )
        for number, name in enumerate(variables.names)
    )
    lr = None if variables.lr is None else float(value(variables.lr))
    if lr is None:
        lr = variables.lr_in_config if isinstance(source, Path) else float(_value(source.learning_rate))
    return Checkpoint(
        format=variables.form,
        parameters=parameters,
        groups=(Group(settings=settings, lr=lr),),
        ordered=True,
        notes=_left_behind(variables, collected),
    )


def _left_behind(variables: Variables, collected: int) -> tuple[str, ...]:
    """Return what is kept beside RMSProp's state and doesn't move, in words."""
    notes = []
    if collected:
        notes.append(
            f"the Keras optimizer had collected {collected} of the {variables.every} gradients for its next update: "
            "they don't move, so the run goes on from its last update; convert after a whole number of updates to lose "
            "none"
        )
    if variables.has_ema:
        notes.append(
            "the Keras optimizer also keeps a moving average of the weights (use_ema), which is not RMSProp's state "
            "and doesn't move"
        )
    return tuple(notes)


def _parameter(form: str, name: str, arrays: dict[str, Array], step: int, settings: Mapping[str, Any]) -> Parameter:
    return averages.parameter(name, arrays, step, 0, settings if form == "rmsprop.keras" else {})


def _value(variable: Any) -> Array:
    from keras import ops  # there is a live optimizer of it, so Keras and its backend are loaded

    return np.array(ops.convert_to_numpy(getattr(variable, "value", variable)))


def target(form: str, like: Any, stated: Mapping[str, Any]) -> Target:
    """Return what an optimizer, or a file, takes.

    Args:
        form: ``"keras"`` or ``"rmsprop.keras"``.
        like: The built optimizer that is to go on, or the path of a file with one.
        stated: Whether there are momentum and centering, which a weights file doesn't say.

    Returns:
        Its description.

    Raises:
        CheckpointError: If there is none.
    """
    if like is None:
        raise CheckpointError(
            "Keras keeps an optimizer's state inside it or in a model's file: give the built optimizer that is to go "
            f"on, or a .keras or .h5 file of the model, with {called('like')}"
        )
    own = read(like, form, None, stated)
    places = tuple(Place(name=parameter.name, shape=parameter.shape) for parameter in own.parameters)
    keeps = frozenset(name for parameter in own.parameters for name in parameter.arrays)
    return Target(format=form, places=places, groups=own.groups, keeps=keeps)


def build(checkpoint: Checkpoint, like: Any, notes: list[str]) -> Any:
    """Put the state into the live optimizer, or return the arrays that a file is to hold, by number.

    Args:
        checkpoint: The state, translated for this format.
        like: What `target` was given.
        notes: Receives what the caller must know.

    Returns:
        The optimizer, or a mapping from numbers to arrays.
    """
    group = checkpoint.groups[0]
    variables, value = _taking(like, group)
    new: list[tuple[Any, Array, str]] = []
    for number, parameter in enumerate(checkpoint.parameters):
        for name, array in _arrays(checkpoint.format, parameter, group, in_file=isinstance(like, Path)).items():
            new.append((variables.slots[name][number], array, f"{name} of {parameter.name!r}"))
    new += _counts(variables, one_step(checkpoint, notes), value, notes)
    if variables.lr is not None and group.lr is not None:
        new.append((variables.lr, np.asarray(group.lr), "the learning rate"))
    elif variables.lr_in_config not in (None, group.lr) and group.lr is not None:
        notes.append(
            f"the learning rate of {like} is in its configuration, which stays: set {group.lr} after loading it"
        )
    if variables.has_ema:
        notes.append(
            "the target's moving average of the weights (use_ema) stays as it is, zeros in a new optimizer: Keras "
            "averages on from there once the iteration isn't 0"
        )
    # All before the first is set, so that one that doesn't fit leaves the optimizer alone.
    fitted = [(variable, narrowed(array, value(variable).dtype, what)) for variable, array, what in new]
    if isinstance(like, Path):
        return dict(fitted)
    for variable, array in fitted:
        variable.assign(array)
    return like


def _taking(like: Any, group: Group) -> tuple[Variables, Callable[[Any], Array]]:
    """Return the variables that take the state, and what reads one of them."""
    if not isinstance(like, Path):
        return of_optimizer(like), _value
    stored = read_file(like, None)
    if "/" in stored.group:
        raise CheckpointError(
            f"the optimizer in {like} is inside another one, which keeps copies of its variables: convert into the "
            "live inner optimizer and save its model"
        )
    return of_file(stored, group.settings), stored.array


def _counts(
    variables: Variables, step: int | None, value: Callable[[Any], Array], notes: list[str]
) -> list[tuple[Any, Array, str]]:
    """Return the iteration, and the collected gradients as they are right after an update."""
    if step is None:
        notes.append("the checkpoint has no step count: the target's iteration is kept, by which a schedule goes on")
        return []
    iteration, most = step * variables.every, np.iinfo(value(variables.iteration).dtype).max
    if iteration > most:
        raise CheckpointError(
            f"the target counts to {most} and can't take the iteration {iteration}: give another {called('step')}"
        )
    empty = [
        (variable, np.zeros_like(value(variable)), "a collected gradient")
        for variable in variables.collected
        if variable is not None
    ]
    return [(variables.iteration, np.asarray(iteration), "the iteration"), *empty]


def _arrays(form: str, parameter: Parameter, group: Group, in_file: bool) -> dict[str, Array]:
    if form == "keras":
        return {name: array for name, array in parameter.arrays.items() if name != "grad_var"}
    arrays = averages.own_state(parameter, group.settings)
    if in_file and "grad_var" in arrays:  # where Keras would look for it
        arrays["square_avg"] = averages.square_avg(arrays)
    return arrays


def write(content: Mapping[str, Array], path: Path, like: Any) -> None:
    """Write a copy of the template with the optimizer's variables replaced, whole or not at all.

    Args:
        content: What `build` returned.
        path: The file, of the template's kind.
        like: The path of the template.

    Raises:
        CheckpointError: If the template is not a file, or ``path`` has another suffix.
    """
    if not isinstance(like, Path):
        raise CheckpointError(
            "a live Keras optimizer is saved with its model: convert into it, then call model.save(path); to write a "
            f"file, give one of the same model with {called('like')}"
        )
    write_file(content, path, like)
