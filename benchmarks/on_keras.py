"""The contenders on Keras; the environment variable KERAS_BACKEND names the backend before this is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from benchmarks.cases import Case
from benchmarks.entry import LEARNING_RATE
from rmsprop.keras import RMSprop

Step = Callable[[], Any]


class KerasEntry:
    """An optimizer at the start of a case.

    Args:
        case: What is measured.
        make: Builds the optimizer for a learning rate.
    """

    between = None

    def __init__(self, case: Case, make: Callable[..., keras.optimizers.Optimizer]) -> None:
        self._case, self._make = case, make
        self.move()

    def move(self) -> None:
        """Make everything anew."""
        optimizer = self._make(LEARNING_RATE, **self._case.options)
        self.step = STEPS[self._case.situation](self._case, optimizer)


def _apply(case: Case, optimizer: keras.optimizers.Optimizer) -> Step:
    random = np.random.default_rng(0)
    variables = [keras.Variable(random.standard_normal(shape, np.float32)) for shape in case.shapes]
    grads = [keras.ops.array(random.standard_normal(shape, np.float32)) for shape in case.shapes]
    return lambda: optimizer.apply(grads, variables)


def _train_on_batch(case: Case, optimizer: keras.optimizers.Optimizer) -> Step:
    """Return a step of a perceptron on a batch of one example, so that most of the time is the optimizer's."""
    layers = [keras.layers.Dense(outputs, use_bias=False) for _, outputs in case.shapes]
    model = keras.Sequential([keras.Input((case.shapes[0][0],)), *layers])
    model.compile(optimizer=optimizer, loss="mse")
    x, y = np.ones((1, case.shapes[0][0]), np.float32), np.ones((1, case.shapes[-1][1]), np.float32)
    return lambda: model.train_on_batch(x, y)


STEPS: Mapping[str, Callable[[Case, keras.optimizers.Optimizer], Step]] = {
    "apply": _apply,
    "train_on_batch": _train_on_batch,
}


def ours(case: Case) -> KerasEntry:
    """Enter rmsprop's optimizer."""
    return KerasEntry(case, RMSprop)


def kerass(case: Case) -> KerasEntry:
    """Enter Keras' own optimizer."""
    return KerasEntry(case, keras.optimizers.RMSprop)


class _NoUpdate(keras.optimizers.RMSprop):
    """An optimizer that leaves everything as it is: what a step takes without one."""

    def update_step(self, *args: Any) -> None:
        """Do nothing."""


def none(case: Case) -> KerasEntry:
    """Enter no optimizer."""
    return KerasEntry(case, _NoUpdate)
