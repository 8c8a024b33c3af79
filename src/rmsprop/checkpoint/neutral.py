"""The common form of every checkpoint: NumPy arrays in one convention, and what is known of the rule behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rmsprop.storage import NARROW_DTYPES, working_dtype

Array = np.ndarray[Any, Any]
ARRAYS = ("square_avg", "grad_avg", "grad_var", "momentum_buffer")


class CheckpointError(ValueError):
    """A checkpoint that can't be read, converted or written; its message is one sentence that says why.

    Examples:
        >>> str(CheckpointError("run.pt is empty: give a checkpoint that was written to its end"))
        'run.pt is empty: give a checkpoint that was written to its end'
    """

    def __init__(self, message: str) -> None:
        """Put what quotes names of somebody's file into one line."""
        super().__init__(" ".join(message.splitlines()))


class ConversionWarning(UserWarning):
    """What changes for a run by moving its checkpoint, or what the move is exact for.

    Examples:
        >>> str(ConversionWarning("the momentum buffer was multiplied by the learning rate"))
        'the momentum buffer was multiplied by the learning rate'
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """The state of one parameter.

    Args:
        name: Its name; its position as a string where the source only counts.
        arrays: Name -> array, of the parameter's shape: ``"square_avg"`` (the raw v, with v₀'s share and not
            bias-corrected), ``"grad_avg"`` (m, likewise) and possibly ``"grad_var"`` (v − m², where it is kept
            apart) if centered, and ``"momentum_buffer"`` b, so that θ ← θ − b or θ ← θ − lr·b. Empty if it was never
            stepped.
        shape: The shape, or None if it was never stepped and the source doesn't say.
        step: How many updates it has had, or None if the source doesn't say.
        group: The number of its group.
        dtype: The precision in which the source keeps it.

    Examples:
        >>> Parameter(name="w", arrays={"square_avg": np.ones(2)}, shape=(2,)).step is None
        True
    """

    name: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    step: int | None = None
    group: int = 0
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """What is known of the rule that parameters share.

    Args:
        settings: Fields of `rmsprop.Rule` (and ``"maximize"``) that the source carries or its framework implies.
        lr: The learning rate at the moment of the checkpoint, or None if the source doesn't say.

    Examples:
        >>> Group(settings={"decay": 0.9}).lr is None
        True
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state of an RMSProp optimizer in a form that belongs to no framework.

    The momentum buffer is kept as the source has it, with the learning rate inside or outside as
    ``settings["lr_in_momentum"]`` says: a move between two frameworks that agree is exact to the bit and needs no
    learning rate. Its sign is always that of the gradients.

    Args:
        format: Where it comes from, a key of `rmsprop.checkpoint.FORMATS`.
        parameters: The state of each parameter, in the source's order.
        groups: What is known of their rules.
        ordered: Whether that order is the model's own (torch, Keras), not one of names.
        notes: What reading it brought up, in sentences.

    Raises:
        CheckpointError: If two parameters have one name, or a parameter's arrays can't be RMSProp's.

    Examples:
        >>> state = Parameter(name="w", arrays={"square_avg": np.ones(2)}, shape=(2,), step=3)
        >>> Checkpoint(format="torch", parameters=(state,), groups=(Group(lr=0.1),), ordered=True).groups[0].lr
        0.1
    """

    format: str
    parameters: tuple[Parameter, ...]
    groups: tuple[Group, ...]
    ordered: bool
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the arrays can be an RMSProp's."""
        seen: set[str] = set()
        for parameter in self.parameters:
            if parameter.name in seen:
                raise CheckpointError(f"two parameters are called {parameter.name!r}: names must differ")
            seen.add(parameter.name)
            _check(parameter)


def _check(parameter: Parameter) -> None:
    if not parameter.arrays:
        return
    if "square_avg" not in parameter.arrays:
        raise CheckpointError(
            f"parameter {parameter.name!r} has no average of squared gradients (only {', '.join(parameter.arrays)}): "
            "this is not the state of an RMSProp"
        )
    for name, array in parameter.arrays.items():
        if array.shape != parameter.shape:
            raise CheckpointError(
                f"{name} of parameter {parameter.name!r} has shape {array.shape}, not {parameter.shape} like the rest "
                "of its state: the checkpoint is damaged, or not an RMSProp's"
            )
        if array.dtype.kind not in "fc":
            raise CheckpointError(
                f"{name} of parameter {parameter.name!r} holds {array.dtype}, not floating point numbers: "
                "the checkpoint is damaged, or not an RMSProp's"
            )
    if (as_real(parameter.arrays["square_avg"]) < 0).any():
        raise CheckpointError(
            f"the average of squared gradients of parameter {parameter.name!r} has negative elements: "
            "the checkpoint is damaged, or not an RMSProp's"
        )


def not_finite(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a sentence if there are numbers in the state that aren't finite, which is no error but is told."""
    parts = [
        f"{name} of {parameter.name!r} ({'all' if bad == array.size else bad} of {array.size})"
        for parameter in checkpoint.parameters
        for name, array in parameter.arrays.items()
        if (bad := array.size - int(np.isfinite(array).sum()))
    ]
    if not parts:
        return ()
    shown = ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
    return (
        f"the state has numbers that are NaN or infinite: {shown}; they are moved as they are, and the run goes "
        "on with "
        "them: if it had diverged, convert an earlier checkpoint",
    )


def as_real(array: Array) -> Array:
    """Return a complex array as pairs of real numbers, as torch squares it, and any other as it is."""
    return np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else array


def squared(array: Array) -> Array:
    """Return the squares in at least float64; of a complex array those of its real and its imaginary part."""
    if array.dtype.kind == "c":
        return array.real.astype(np.float64) ** 2 + 1j * array.imag.astype(np.float64) ** 2
    return array.astype(np.float64) ** 2


def wide_enough(array: Array) -> Array:
    """Return a copy in at least 32 bits; float16 and bfloat16 (of ml_dtypes) become float32."""
    is_narrow = array.dtype.name in NARROW_DTYPES
    return np.array(array, dtype=working_dtype(array.dtype.name) if is_narrow else array.dtype)


def narrowed(array: Array, dtype: Any, name: str) -> Array:
    """Return an array in the dtype of the place that it is written to.

    Args:
        array: Any array.
        dtype: That of the target: a NumPy dtype, or one of ml_dtypes.
        name: What a message calls the array.

    Returns:
        A copy. Numbers below the least normal one of float32 (1e-38) may become 0: no rule can tell them from it.

    Raises:
        CheckpointError: If another finite number would become infinite, or one that isn't 0 would vanish, or a whole
            number doesn't fit.

    Examples:
        >>> narrowed(np.array([0.5]), np.float16, "square_avg of 'w'")
        array([0.5], dtype=float16)
    """
    with np.errstate(over="ignore", under="ignore"):
        new: Array = array.astype(dtype)
    if new.dtype.kind in "iu":
        bad = array != new
    else:
        seen = np.abs(array) >= np.finfo(np.float32).tiny
        bad = (np.isfinite(array) & ~np.isfinite(new)) | (seen & (new == 0))
    if bad.any():
        raise CheckpointError(
            f"{name} has the number {array[bad].flat[0]:g}, which the target's {new.dtype} can't hold: give a target "
            "that keeps it in a wider type"
        )
    return new


def rule_fields(settings: Mapping[str, Any]) -> str:
    """Return settings as a caller writes them: ``decay=0.9, momentum=0.0``."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def depends_on_step(settings: Mapping[str, Any]) -> bool:
    """Whether the number of an update decides what it computes, as far as the rule is known.

    Examples:
        >>> depends_on_step({"bias_correction": True}), depends_on_step({})
        (True, False)
    """
    return any(settings.get(flag) for flag in ("bias_correction", "init_from_gradient", "delayed"))


def quoted(names: Iterable[str], most: int = 6) -> str:
    """Return names for a message: quoted, and only the first few of many."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
