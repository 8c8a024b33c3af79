"""The update on the TensorFlow backend: outside of a graph it runs in one of its own.

There an operation writes over what is no longer needed, and Python is not asked for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import tensorflow as tf

from rmsprop import reference
from rmsprop.rule import Rule

# How many rules get a graph. An optimizer whose momentum, say, is set before every step is not worth tracing each time.
MOST_RULES = 8


class TensorFlow:
    """The functions of TensorFlow that `rmsprop.reference.apply` needs."""

    sqrt, expm1, real, conj = tf.sqrt, tf.math.expm1, tf.math.real, tf.math.conj
    sum, ones_like, zeros_like = tf.reduce_sum, tf.ones_like, tf.zeros_like

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        """Return the elements of one where a condition holds, of the other elsewhere."""
        return tf.where(condition, tf.cast(a, b.dtype), b)

    @staticmethod
    def finite(x: Any) -> Any:
        """Return the largest number of its dtype where one is infinite.

        In one pass over memory; ``tf.clip_by_value`` makes two, ``isinf`` and ``where`` with what they need make three.
        """
        return tf.raw_ops.ClipByValue(t=x, clip_value_min=x.dtype.min, clip_value_max=x.dtype.max)


class GraphedUpdate:
    """`rmsprop.reference.apply` on tensors of TensorFlow, of any shape."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[Rule, Any], Callable[..., Any]] = {}

    def __call__(
        self, rule: Rule, lr: Any, step: Any, p: Any, g: Any, state: Mapping[str, Any]
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return new variable and state.

        Args:
            rule: What to compute.
            lr: The learning rate.
            step: The number of the update, counted from 1.
            p: The variable's value, in the working precision, as all tensors here.
            g: The gradient.
            state: The state.
        """
        arguments = (lr, step, p, g, *(tf.convert_to_tensor(state[name]) for name in rule.state_names))
        update = self._graph(rule, p.dtype) if tf.executing_eagerly() else partial(_update, rule)
        new_p, *new_state = update(*arguments)
        return new_p, dict(zip(rule.state_names, new_state, strict=True))

    def _graph(self, rule: Rule, dtype: Any) -> Callable[..., Any]:
        """Return the update by a rule as a graph, if it is among the first rules."""
        key = rule, dtype
        if key not in self._graphs and len(self._graphs) < MOST_RULES:
            scalar, array = tf.TensorSpec((), dtype), tf.TensorSpec(None, dtype)
            signature = (scalar, scalar, array, array, *(array for _ in rule.state_names))
            traced = tf.function(partial(_update, rule), signature, autograph=False)
            self._graphs[key] = traced.get_concrete_function()  # which is called without looking for one that fits
        return self._graphs.get(key, partial(_update, rule))


def _update(rule: Rule, lr: Any, step: Any, p: Any, g: Any, *state: Any) -> list[Any]:
    """Return a variable and its state after an update."""
    kept = dict(zip(rule.state_names, state, strict=True))
    new_p, new_state = reference.apply(rule, lr, step, p, g, kept, TensorFlow)
    return [new_p, *(new_state[name] for name in rule.state_names)]
