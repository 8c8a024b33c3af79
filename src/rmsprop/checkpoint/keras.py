"""Keras 3 optimizers: live ones, and the optimizer's part of .keras and .h5 files.

A file keeps an optimizer's variables by number: the iteration, the learning rate (unless a schedule computes it), then
all velocities, all momentums and all average gradients, each in the order of the model's trainable variables. Which of
them there are, the configuration beside them says; weights files have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint import averages
from rmsprop.checkpoint.counts import one_step
from rmsprop.checkpoint.formats import FIELDS, FORMATS
from rmsprop.checkpoint.keras_files import Stored, read_file, write_file
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import Array, Checkpoint, CheckpointError, Group, Parameter, wide_enough
from rmsprop.checkpoint.translate import Target

# Keras' order, which is also that of rmsprop.keras; the variance takes the velocity's place there.
_SLOTS = ("square_avg", "momentum_buffer", "grad_avg")
_KEYWORDS = {"decay": "rho", "eps": "epsilon"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Variables:
    """An optimizer's variables, live or by their number in a file.

    Args:
        form: ``"keras"`` or ``"rmsprop.keras"``.
        settings: What it says about its rule.
        names: The parameters' names.
        slots: Name of state -> a variable, or a number, per parameter.
        iteration: That of the iteration.
        lr: That of the learning rate, or None if a schedule computes it.
    """

    form: str
    settings: Mapping[str, Any]
    names: Sequence[str]
    slots: Mapping[str, Sequence[Any]]
    iteration: Any
    lr: Any


def read(source: Any, form: str | None, key: str | None, stated: Mapping[str, Any]) -> Checkpoint:
    """Read a live optimizer, or the optimizer's part of a file.

    Args:
        source: A built ``keras.optimizers.RMSprop`` or `rmsprop.keras.RMSprop`, or the path of a .keras or .h5 file.
        form: ``"keras"``, ``"rmsprop.keras"``, or None to tell from it.
        key: Not needed.
        stated: What the caller says about its rule; a weights file doesn't say whether there are momentum and
            centering.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If there is no RMSProp's state in it.
    """
    if isinstance(source, Path):
        stored = read_file(source)
        variables = _of_file(stored, stated)
        value: Callable[[Any], Array] = stored.array
    else:
        variables, value = _of_optimizer(source), _value
    if form not in (None, variables.form):
        raise CheckpointError(f"it is given as {form!r}, but it is of {FORMATS[variables.form].program}")
    settings = {**FORMATS[variables.form].constants(variables.settings), **variables.settings}
    step = int(value(variables.iteration)) // _accumulated(source)
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
    if not isinstance(source, Path) and lr is None:
        lr = float(_value(source.learning_rate))
    return Checkpoint(
        format=variables.form, parameters=parameters, groups=(Group(settings=settings, lr=lr),), ordered=True
    )


def _parameter(form: str, name: str, arrays: dict[str, Array], step: int, settings: Mapping[str, Any]) -> Parameter:
    return averages.parameter(name, arrays, step, 0, settings if form == "rmsprop.keras" else {})


def _accumulated(source: Any) -> int:
    return getattr(source, "gradient_accumulation_steps", None) or 1


def _value(variable: Any) -> Array:
    from keras import ops  # there is a live optimizer of it, so Keras and its backend are loaded

    return np.array(ops.convert_to_numpy(getattr(variable, "value", variable)))


def _of_optimizer(optimizer: Any) -> _Variables:
    ours = hasattr(optimizer, "rule")
    if not ours and not hasattr(optimizer, "rho"):
        raise CheckpointError(f"a {type(optimizer).__name__} is not an RMSProp of Keras")
    if not optimizer.built:
        raise CheckpointError(
            "the Keras optimizer has no variables yet: call optimizer.build(model.trainable_variables) first"
        )
    if ours:
        settings = {field: getattr(optimizer.rule, field) for field in FIELDS if field != "maximize"}
        slots = dict(optimizer._state)
    else:
        settings = _of_config({"weight_decay": optimizer.weight_decay, **vars(optimizer)})
        kept = (optimizer._velocities, optimizer._momentums, optimizer._average_gradients)
        slots = {name: members for name, members in zip(_SLOTS, kept, strict=True) if members}
    which = [number for number, variable in enumerate(next(iter(slots.values()))) if variable is not None]
    paths = [optimizer._trainable_variables[number].path for number in which]
    own = optimizer._learning_rate
    return _Variables(
        form="rmsprop.keras" if ours else "keras",
        settings=settings,
        names=paths if len(set(paths)) == len(paths) else [str(number) for number in range(len(paths))],
        slots={name: [members[number] for number in which] for name, members in slots.items()},
        iteration=optimizer._iterations,
        lr=own if hasattr(own, "assign") else None,
    )


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's fields from the keywords of an optimizer."""
    settings = {field: config[_KEYWORDS.get(field, field)] for field in FIELDS if _KEYWORDS.get(field, field) in config}
    return settings | {"weight_decay": config.get("weight_decay") or 0.0}


def _of_file(stored: Stored, stated: Mapping[str, Any]) -> _Variables:
    """Return which number in a file is what."""
    config = stored.config
    if config is None:
        if missing := [field for field in ("momentum", "centered") if field not in stated]:
            raise CheckpointError(
                f"{stored.path} numbers the optimizer's variables and doesn't say what they are: pass "
                f"{' and '.join(missing)} of the run (momentum=0.0 if it had none), or give the .keras file"
            )
        config = {field: stated[field] for field in ("momentum", "centered")}
        has_lr = stored.shapes[1] == ()
    else:
        has_lr = not isinstance(config["learning_rate"], Mapping)
    slots = ["square_avg"] + ["momentum_buffer"] * bool(config["momentum"]) + ["grad_avg"] * bool(config["centered"])
    before = bool(config.get("use_ema")) + bool(config.get("gradient_accumulation_steps"))
    first, blocks = 1 + has_lr, before + len(slots)
    count, rest = divmod(len(stored.shapes) - first, blocks)
    block = [stored.shapes[first + k * count : first + (k + 1) * count] for k in range(blocks)]
    if rest or any(shapes != block[0] for shapes in block):
        raise CheckpointError(
            f"{stored.path} has {len(stored.shapes)} optimizer variables, which are not those of an RMSProp with "
            f"momentum={config['momentum']} and centered={config['centered']}"
        )
    numbers = {
        name: [str(first + (before + k) * count + number) for number in range(count)] for k, name in enumerate(slots)
    }
    if stored.is_ours and config["centered"]:
        numbers["grad_var"] = [f"{number}_variance" for number in numbers["square_avg"]]
    settings = dict(config) if stored.config is None else _of_config(config)
    return _Variables(
        form="rmsprop.keras" if stored.is_ours else "keras",
        settings=settings,
        names=[str(number) for number in range(count)],
        slots=numbers,
        iteration="0",
        lr="1" if has_lr else None,
    )


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
            "on, or a .keras or .h5 file of the model, with like"
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
    step = one_step(checkpoint, notes)
    group = checkpoint.groups[0]
    variables = _of_file(read_file(like), group.settings) if isinstance(like, Path) else _of_optimizer(like)
    new: list[tuple[Any, Array]] = []
    for number, parameter in enumerate(checkpoint.parameters):
        for name, array in _arrays(checkpoint.format, parameter, group, in_file=isinstance(like, Path)).items():
            new.append((variables.slots[name][number], array))
    if step is None:
        notes.append("the checkpoint has no step count: the target's iteration is kept, by which a schedule goes on")
    else:
        new.append((variables.iteration, np.asarray(step * _accumulated(like))))
    if variables.lr is not None and group.lr is not None:
        new.append((variables.lr, np.asarray(group.lr)))
    if isinstance(like, Path):
        return dict(new)
    for variable, array in new:
        variable.assign(array.astype(_value(variable).dtype))
    return like


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
            "file, give one of the same model with like"
        )
    write_file(content, path, like)
