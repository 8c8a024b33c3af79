"""Which parameter of a checkpoint is which of the target: names, order, shapes and layouts. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.neutral import CheckpointError, Parameter, quoted

ORDER = "order"
_ORDERED = 'names="order"'
_EXAMPLE = {"source": "target"}
Names = str | Sequence[str] | Mapping[str, str] | None
Transpose = Iterable[str] | Mapping[str, Sequence[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A parameter of the target that waits for its state.

    Args:
        name: Its name; its position as a string where the target only counts.
        shape: Its shape, or None if the target doesn't say.
        group: The number of its group.
        dtype: The precision of its state, or None if the target doesn't say.
    """

    name: str
    shape: tuple[int, ...] | None = None
    group: int = 0
    dtype: str | None = None


def permuted(parameters: Sequence[Parameter], transpose: Transpose) -> list[Parameter]:
    """Return parameters with the axes of some of them in another order.

    Args:
        parameters: The parameters.
        transpose: Names of matrices, or name -> the new order of the axes, as for `numpy.transpose`.

    Returns:
        All parameters.

    Raises:
        CheckpointError: If there is no such parameter or its shape has no such axes.
    """
    if isinstance(transpose, str):
        raise CheckpointError(f"transpose={transpose!r} is one string: give a list of names")
    orders = dict(transpose) if isinstance(transpose, Mapping) else dict.fromkeys(transpose, (1, 0))
    if unknown := orders.keys() - {parameter.name for parameter in parameters}:
        known = quoted(parameter.name for parameter in parameters)
        raise CheckpointError(f"{called('transpose')} names {quoted(sorted(unknown))}, but the checkpoint has {known}")
    return [_permuted(p, tuple(orders[p.name])) if p.name in orders else p for p in parameters]


def _permuted(parameter: Parameter, order: tuple[int, ...]) -> Parameter:
    shape = parameter.shape
    if shape is None:
        return parameter
    if sorted(order) != list(range(len(shape))):
        raise CheckpointError(
            f"parameter {parameter.name!r} has shape {shape}, whose axes can't be put in the order {order}: give the "
            f"order of all its axes, such as {called('transpose', {'conv.weight': (2, 3, 1, 0)})}"
        )
    arrays = {name: np.transpose(array, order) for name, array in parameter.arrays.items()}
    return replace(parameter, arrays=arrays, shape=tuple(shape[axis] for axis in order))


def renamed(
    parameters: Sequence[Parameter], names: Names, places: Sequence[Place] | None, notes: list[str]
) -> list[Parameter]:
    """Return parameters under the names that the target has for them.

    Args:
        parameters: The parameters.
        names: Source's name -> target's name; or the target's names in the source's order; or ``"order"`` to pair the
            two in their orders; or None where they agree.
        places: The target's parameters, if it says which.
        notes: Receives what the caller must know.

    Returns:
        All parameters, in the order they had, but for never-stepped ones that ``names`` passes over in giving their
        names to others.

    Raises:
        CheckpointError: If ``names`` doesn't fit.
    """
    if names is None:
        return list(parameters)
    if names == ORDER:
        if places is None:
            raise CheckpointError(
                f"{called('names', 'order', python=_ORDERED)} needs a target that lists its parameters: give one with "
                f"{called('like')}"
            )
        names = [place.name for place in places]
    if isinstance(names, str):
        raise CheckpointError(f"names={names!r} is not understood: give a mapping, a list of names or 'order'")
    if not isinstance(names, Mapping):
        if len(names) != len(parameters):
            raise CheckpointError(f"{len(names)} names are given for {len(parameters)} parameters")
        names = dict(zip((parameter.name for parameter in parameters), names, strict=True))
    if unknown := names.keys() - {parameter.name for parameter in parameters}:
        known = quoted(parameter.name for parameter in parameters)
        raise CheckpointError(f"{called('names')} speaks of {quoted(sorted(unknown))}, but the checkpoint has {known}")
    taken = {str(name) for name in names.values()}
    passed_over = {p.name for p in parameters if not p.arrays and p.name not in names} & taken
    _tell_left_out(sorted(passed_over), notes)
    new = {p.name: str(names.get(p.name, p.name)) for p in parameters if p.name not in passed_over}
    for name, goal in new.items():
        if same := [other for other in new if new[other] == goal and other != name]:
            raise CheckpointError(
                f"two parameters are called {goal!r}: {called('names')} sends {name!r} and {same[0]!r} both to "
                "it, so one would be "
                "lost"
            )
    return [replace(parameter, name=new[parameter.name]) for parameter in parameters if parameter.name in new]


def _tell_left_out(names: Sequence[str], notes: list[str]) -> None:
    if names:
        notes.append(f"the target lacks {quoted(names)}, never stepped in the checkpoint: there is no state to move")


def check_order(parameters: Sequence[Parameter], places: Sequence[Place], program: str) -> None:
    """Check that pairing by order can't go wrong unseen where one side has its names in alphabetical order.

    Args:
        parameters: The source's.
        places: The target's.
        program: Which of the two sorts names, for the message.

    Raises:
        CheckpointError: If two parameters have one shape, so that exchanging them wouldn't show.
    """
    shapes = {place.shape for place in places}
    if None not in {*shapes, *(parameter.shape for parameter in parameters)} and len(shapes) == len(places):
        return
    raise CheckpointError(
        f"{called('names', 'order')} would pair parameters by their position, but {program} sorts them by name "
        "('layer_10' comes "
        "before 'layer_2', 'bias' before 'kernel') and some have the same shape, so that a wrong pair wouldn't show: "
        f"give {called('names', _EXAMPLE, python='names as a mapping')}"
    )


def placed(
    parameters: Sequence[Parameter], places: Sequence[Place], allows_gaps: bool, notes: list[str]
) -> list[tuple[Parameter | None, Place]]:
    """Return the parameter for each place, in the places' order and with their shapes and groups.

    Args:
        parameters: The parameters, under the target's names.
        places: The target's parameters.
        allows_gaps: Whether a place can stay without state, as in torch.
        notes: Receives what the caller must know.

    Returns:
        Every place with its parameter, whose ``group`` is still the source's, or None if there is none for it.

    Raises:
        CheckpointError: If one is missing, left over with its state, or of another shape.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    wanted = {place.name for place in places}
    left = [name for name in by_name if name not in wanted and by_name[name].arrays]
    missing = [name for name in (place.name for place in places) if name not in by_name]
    if left or (missing and not allows_gaps):
        told = [f"the checkpoint has {quoted(left)}, which the target lacks"] if left else []
        told += [f"the target has {quoted(missing)}, which the checkpoint lacks"] if missing else []
        raise CheckpointError(
            f"{'; '.join(told)}: say which is which with {called('names', _EXAMPLE)}, or {called('names', 'order')} if "
            "both are in the same order"
        )
    _tell_left_out([name for name in by_name if name not in wanted], notes)
    if missing:
        notes.append(f"the target has {quoted(missing)}, which the checkpoint lacks: left without state, as if new")
    return [(_fitted(by_name[p.name], p) if p.name in by_name else None, p) for p in places]


def _fitted(parameter: Parameter, place: Place) -> Parameter:
    if parameter.shape is None or place.shape is None:
        return replace(parameter, shape=parameter.shape or place.shape)
    if parameter.shape != place.shape:
        hint = ""
        if sorted(parameter.shape) == sorted(place.shape):
            hint = (
                ": the frameworks keep this kind of weight in another layout (Keras' Dense kernel is the transpose of "
                f"torch's Linear weight); name it in {called('transpose')}"
            )
        raise CheckpointError(
            f"parameter {parameter.name!r} has shape {parameter.shape} in the checkpoint but {place.shape} in the "
            f"target{hint}"
        )
    return parameter
