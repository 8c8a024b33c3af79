"""An optimizer's variables in files, by the numbers of ``keras.optimizers.RMSprop``.

A centered optimizer keeps v − m². Its file has v in the place where Keras has it, and the exact variance beside it, as
``"<number>_variance"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmsprop.hyperparameters import check_step_lr

Arrays = dict[str, Any]
_ANOTHER_FILE = "load the file of an optimizer for the same model"


def numbered_means(variables: Sequence[Any], state: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return the numbers under which a file stores each variance and the mean that belongs to it.

    Args:
        variables: All variables of the optimizer, in order.
        state: Those that are state of the update, by its names.
    """
    if "grad_var" not in state:
        return {}
    numbers = {id(variable): str(number) for number, variable in enumerate(variables)}
    pairs = zip(state["grad_var"], state["grad_avg"], strict=True)
    return {numbers[id(variance)]: numbers[id(mean)] for variance, mean in pairs if variance is not None}


def to_file(values: Arrays, means: Mapping[str, str]) -> Arrays:
    """Return arrays as a file has them.

    Args:
        values: Number -> array, as the optimizer has it.
        means: What `numbered_means` returned.
    """
    variances = {f"{key}_variance": values[key] for key in means}
    squares = {key: values[key] + values[mean_key] ** 2 for key, mean_key in means.items()}
    return {**values, **variances, **squares}


def from_file(values: Arrays, means: Mapping[str, str]) -> Arrays:
    """Return arrays as the optimizer has them.

    Args:
        values: The arrays of a file, by name; it may have been written by Keras.
        means: What `numbered_means` returned.
    """
    values = dict(values)
    for key, mean_key in means.items():
        if f"{key}_variance" in values:
            values[key] = values.pop(f"{key}_variance")
        elif key in values and mean_key in values:
            values[key] = np.maximum(values[key] - values[mean_key] ** 2, 0)
    return values


def check_saved(number: int, variable: Any, found: Any) -> None:
    """Check that a saved array can become the value of a variable of the optimizer.

    Args:
        number: The variable's number.
        variable: The variable.
        found: The array, or None if there is none of that number.

    Raises:
        ValueError: If it can't.
    """
    if found is None:
        raise ValueError(f"There is no saved variable {number}, but {variable.path} needs it: {_ANOTHER_FILE}")
    if found.dtype.kind not in "fiu" and found.dtype.name != "bfloat16":
        raise ValueError(
            f"The saved variable {number} has dtype {found.dtype}, but {variable.path} needs real numbers: "
            f"{_ANOTHER_FILE}"
        )
    if tuple(found.shape) != tuple(variable.shape):
        raise ValueError(
            f"The saved variable {number} has shape {tuple(found.shape)}, but {variable.path} has "
            f"{tuple(variable.shape)}: {_ANOTHER_FILE}"
        )


def check_saved_rate(found: Any) -> None:
    """Check that a saved learning rate is finite."""
    check_step_lr(float(found))


def check_saved_iteration(found: Any) -> None:
    """Check that a saved number of iterations is a whole number of at least 0."""
    if not (0 <= found < np.inf and found % 1 == 0):
        raise ValueError(f"Invalid iteration: {found} (allowed: a whole number >= 0)")
