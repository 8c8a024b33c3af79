"""What an optimizer is given: checked, and brought into the form that an update takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from rmsprop.dialects import learning_rate
from rmsprop.hyperparameters import as_float, check_number


def checked_learning_rate(dialect: str, value: Any) -> Any:
    """Return the learning rate that an optimizer starts with: a number, a schedule or a function.

    Args:
        dialect: Whose default stands for None.
        value: What the caller gave.

    Raises:
        TypeError: If it is of the wrong type.
        ValueError: If it is out of range, or None for a dialect without a default.
    """
    value = learning_rate(dialect, value)
    if isinstance(value, keras.Variable):
        raise TypeError(
            "Invalid learning rate: a keras.Variable (allowed: a finite number >= 0, a schedule or a function): give "
            "its number, and assign to the optimizer's learning_rate between steps"
        )
    return value if callable(value) else check_number("lr", value)


def check_above_zero(numbers: Mapping[str, Any]) -> None:
    """Refuse limits and factors that Keras takes and leaves without effect, or that make every update NaN.

    Args:
        numbers: Keyword of the optimizer -> what the caller gave; None is none.

    Raises:
        TypeError: If one is of the wrong type.
        ValueError: If one is not a finite number above 0.
    """
    for keyword, value in numbers.items():
        allowed = "a finite number above 0, or None for none"
        if value is not None and not 0.0 < as_float(keyword, value, allowed) < math.inf:
            raise ValueError(f"Invalid {keyword}: {value} (allowed: {allowed})")


def name_of(variable: Any) -> str:
    """Return what an error calls a variable."""
    return str(getattr(variable, "path", variable.name))  # a tf.Variable has no path


def check_gradient(gradient: Any, variable: Any) -> None:
    """Refuse a gradient that is not one of this variable, as far as its shape is known before a graph runs.

    Args:
        gradient: The gradient, dense, or None.
        variable: The variable.

    Raises:
        TypeError: If the gradient does not consist of real numbers.
        ValueError: If its shape is not the variable's.
    """
    if gradient is None:
        return
    dtype = keras.backend.standardize_dtype(gradient.dtype)
    if not (keras.backend.is_float_dtype(dtype) or keras.backend.is_int_dtype(dtype)):
        raise TypeError(f"the gradient of {name_of(variable)} has dtype {dtype}, but RMSProp needs real numbers")
    shape, needed = tuple(gradient.shape), tuple(variable.shape)
    if len(shape) != len(needed) or any(n not in (None, m) for n, m in zip(shape, needed, strict=True)):
        raise ValueError(f"the gradient of {name_of(variable)} has shape {shape}, but needs {needed}")


def dense(gradient: Any) -> Any:
    """Return a gradient as a dense tensor, with duplicate rows added up.

    Args:
        gradient: The gradient, dense or sparse, of any backend; or None.
    """
    if gradient is None:
        return None
    if getattr(gradient, "is_sparse", False):  # of a torch module inside a Keras layer
        return gradient.to_dense()
    if hasattr(gradient, "indices") and hasattr(gradient, "dense_shape"):  # tensorflow.IndexedSlices
        import tensorflow as tf

        return tf.convert_to_tensor(gradient)
    return ops.convert_to_tensor(gradient, sparse=False)
