"""The two forms of bias-corrected and centered averages, each computed from the other in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.neutral import Array, CheckpointError, Parameter, squared


def share(decay: float, step: int) -> float:
    """Return 1 − ρᵗ, the share of an average that gradients make up after ``step`` updates."""
    return -math.expm1(step * math.log(decay)) if decay else float(step > 0)


def buffer_share(settings: Mapping[str, Any], step: int | None, name: str) -> float:
    """Return what a momentum buffer is of the sum of all that it took, each faded by μ per update since.

    Args:
        settings: What is known of its rule.
        step: How many updates it has had, if that is known.
        name: The parameter that it belongs to.

    Returns:
        1 if it is that sum, 1 − μ if it is the average, (1 − μ)/(1 − μᵗ) if that is corrected.

    Raises:
        CheckpointError: If that can't be known.

    Examples:
        >>> buffer_share({"averaged_momentum": True, "momentum": 0.75}, None, "weight")
        0.25
    """
    if not settings.get("averaged_momentum"):
        return 1.0
    is_corrected = settings.get("bias_correction")
    lacking = "momentum" if "momentum" not in settings else "step" if is_corrected and step is None else None
    if lacking:
        raise CheckpointError(f"the momentum buffer of parameter {name!r} is an average: pass {called(lacking)}")
    momentum = settings["momentum"]
    return float((1.0 - momentum) / (share(momentum, step) if is_corrected and step else 1.0))


def variance(arrays: Mapping[str, Array]) -> Array:
    """Return v − m², which is never negative: as it was kept apart, else the difference."""
    if "grad_var" in arrays:
        return arrays["grad_var"]
    difference: Array = arrays["square_avg"].astype(_wide(arrays["square_avg"])) - squared(arrays["grad_avg"])
    clipped: Array = np.maximum(difference.real, 0.0)
    if difference.dtype.kind == "c":
        clipped = clipped + 1j * np.maximum(difference.imag, 0.0)
    return clipped


def square_avg(arrays: Mapping[str, Array]) -> Array:
    """Return v, rebuilt in float64 from v − m² and m where those are kept."""
    if "grad_var" not in arrays:
        return arrays["square_avg"]
    v: Array = arrays["grad_var"] + squared(arrays["grad_avg"])
    return v


def corrected(arrays: Mapping[str, Array], decay: float, step: int) -> dict[str, Array]:
    """Return averages as `rmsprop.Rule` keeps them under bias correction, from raw ones that started from 0.

    Args:
        arrays: The raw averages, and anything else, which is passed on.
        decay: ρ.
        step: How many updates they have had; at 0 there is nothing to correct.

    Returns:
        The same arrays with ``square_avg`` and ``grad_avg`` divided by 1 − ρᵗ, in float64; ``grad_var``, which belongs
        to the raw ones, is left out.
    """
    factor = share(decay, step) if step else 1.0
    return _averages_times(arrays, 1.0 / factor)


def raw(arrays: Mapping[str, Array], decay: float, step: int) -> dict[str, Array]:
    """Return raw averages, as if they had started from 0, from bias-corrected ones: the inverse of `corrected`."""
    return _averages_times(arrays, share(decay, step) if step else 1.0)


def _averages_times(arrays: Mapping[str, Array], factor: float) -> dict[str, Array]:
    averages = ("square_avg", "grad_avg")
    kept = {name: array for name, array in arrays.items() if name not in (*averages, "grad_var")}
    return {name: arrays[name].astype(_wide(arrays[name])) * factor for name in averages if name in arrays} | kept


def _wide(array: Array) -> type:
    return np.complex128 if array.dtype.kind == "c" else np.float64


def parameter(
    name: str, arrays: Mapping[str, Array], step: int | None, group: int, settings: Mapping[str, Any]
) -> Parameter:
    """Return a parameter from the arrays that one of this package's optimizers keeps, or shows, for it.

    Args:
        name: Its name.
        arrays: Averages, corrected if the rule corrects for their bias; centered ones with ``grad_var``,
            ``square_avg`` or both.
        step: How many updates it has had, if that is known.
        group: The number of its group.
        settings: What is known of its rule.

    Returns:
        The parameter, with raw averages.

    Raises:
        CheckpointError: If the correction can't be undone.
    """
    arrays = dict(arrays)
    if "grad_var" in arrays and "grad_avg" not in arrays:
        raise CheckpointError(f"parameter {name!r} has a variance but no average gradient: the checkpoint is damaged")
    if "grad_var" in arrays and "square_avg" in arrays and not _belong_together(arrays):
        del arrays["grad_var"]  # torch has carried it along unchanged
    dtype = max((array.dtype for array in arrays.values()), default=np.dtype("float32"))
    if "square_avg" in arrays or "grad_var" in arrays:
        arrays["square_avg"] = square_avg(arrays)
    if settings.get("bias_correction") and arrays:
        if step is None or "decay" not in settings:
            lacking = "step" if step is None else "decay"
            raise CheckpointError(
                f"the averages of parameter {name!r} are corrected for their bias: pass {called(lacking)}"
            )
        arrays = raw(arrays, settings["decay"], step)
    shape = next((array.shape for array in arrays.values()), None)
    return Parameter(name=name, arrays=arrays, shape=shape, step=step, group=group, dtype=dtype.name)


def _belong_together(arrays: Mapping[str, Array]) -> bool:
    rebuilt = arrays["grad_var"] + squared(arrays["grad_avg"])
    return bool(np.allclose(rebuilt, arrays["square_avg"], rtol=1e-5, atol=0.0, equal_nan=True))


def own_state(parameter: Parameter, settings: Mapping[str, Any]) -> dict[str, Array]:
    """Return the arrays that this package's optimizers keep for a parameter: the inverse of `parameter`.

    Args:
        parameter: The parameter, translated, with raw averages.
        settings: The target's rule.

    Returns:
        Arrays named as `rmsprop.Rule.state_names`, in the source's precision.
    """
    arrays = dict(parameter.arrays)
    if settings.get("bias_correction"):
        arrays = corrected(arrays, settings["decay"], parameter.step or 0)
    if "grad_avg" in arrays:
        arrays["grad_var"] = variance(arrays)
        del arrays["square_avg"]
    return {name: array.astype(parameter.dtype) for name, array in arrays.items()}
