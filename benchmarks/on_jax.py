"""The contenders on JAX: compiled steps of a gradient transformation, which reuse the memory of what they replace."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.cases import Case
from benchmarks.entry import LEARNING_RATE
from rmsprop.jax import rmsprop


class JaxEntry:
    """A transformation at the start of a case.

    Args:
        case: What is measured.
        transformation: How gradients become updates.
    """

    between = None

    def __init__(self, case: Case, transformation: optax.GradientTransformation) -> None:
        keys = jax.random.split(jax.random.key(0), 2 * len(case.shapes))
        arrays = [jax.random.normal(key, shape) for key, shape in zip(keys, case.shapes * 2, strict=True)]
        self._params, self._grads = arrays[: len(case.shapes)], arrays[len(case.shapes) :]
        self._state = transformation.init(self._params)

        @partial(jax.jit, donate_argnums=(0, 1))
        def update(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            updates, state = transformation.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self._update = update

    def step(self) -> None:
        """Take a step and wait for it."""
        self._params, self._state = jax.block_until_ready(self._update(self._params, self._state, self._grads))

    def move(self) -> None:
        """Move everything to fresh memory."""
        old = self._params, self._state, self._grads
        self._params, self._state, self._grads = jax.block_until_ready(jax.tree.map(jnp.copy, old))


def ours(case: Case) -> JaxEntry:
    """Enter rmsprop's transformation."""
    return JaxEntry(case, rmsprop(LEARNING_RATE, dialect="optax", **case.options))


def optaxs(case: Case) -> JaxEntry:
    """Enter Optax's transformation."""
    return JaxEntry(case, optax.rmsprop(LEARNING_RATE, **case.options))
