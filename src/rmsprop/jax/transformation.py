"""From a rule to an Optax transformation: the state as a pytree and the update of its leaves.

The arithmetic is `rmsprop.reference.change`, run on JAX's arrays.
"""

from __future__ import annotations

import sys
import warnings
from functools import reduce
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from rmsprop import reference
from rmsprop.hyperparameters import Traced
from rmsprop.rule import SQUARES, Rule
from rmsprop.storage import real_dtype, working_dtype

# Any array: what it holds may change from one compiled step to the next, and the state must not change its shape then.
Traced.register(jax.Array)
Traced.register(jax.core.Tracer)


class _Fields(NamedTuple):
    count: Any
    square_avg: Any = None
    grad_avg: Any = None
    grad_var: Any = None
    momentum_buffer: Any = None


class _NamesWithOptaxs(tuple[str, ...]):
    """The names of a state's fields, which know Optax's: its ``tree.get`` asks them whether a state has a name."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in _OPTAX_NAMES


class RMSpropState(_Fields):
    """The state of the transformation: trees in the shape of the parameters, or None where the rule keeps none.

    Averages of squares are real where parameters are complex; no tree has fewer than 32 bits per number. ``nu``, ``mu``
    and ``trace`` are Optax's names: `optax.tree.get` finds them, and `optax.tree.set` sets them, as it does the names
    below.

    Attributes:
        count: How many updates have been made, an int32 scalar.
        square_avg: v, or the corrected v̂ under bias correction; None when centered.
        grad_avg: m, when centered.
        grad_var: v − m², when centered.
        momentum_buffer: b, where the rule has momentum.

    Examples:
        >>> state = RMSpropState(count=jnp.zeros([], jnp.int32), square_avg=jnp.ones(1))
        >>> optax.tree.get(optax.tree.set(state, nu=jnp.zeros(1)), "nu")
        Array([0.], dtype=float32)
    """

    __slots__ = ()
    _fields = _NamesWithOptaxs(_Fields._fields)  # type: ignore[assignment]

    @property
    def nu(self) -> Any:
        """The average of squares v: where the variance v − m² is kept, that and m² together."""
        if self.grad_var is None:
            return self.square_avg
        return jax.tree.map(lambda d, m: d + jnp.square(jnp.abs(m)), self.grad_var, self.grad_avg)

    @property
    def mu(self) -> Any:
        """The average of gradients m, or None."""
        return self.grad_avg

    @property
    def trace(self) -> Any:
        """The momentum buffer b, or None."""
        return self.momentum_buffer

    def _replace(self, /, **changes: Any) -> RMSpropState:
        """Return a state with other values in some fields; Optax's names are found where `optax.tree.set` has them."""
        if len(changes) < len(self._fields):
            return super()._replace(**changes)
        asked = self._named(_asked_of_optax(self))
        if not asked and all(getattr(self, name) is changes[name] for name in changes):
            warnings.warn(
                f"nothing in this RMSpropState was replaced: it has none of the values that were given, or they are "
                f"those it had; its fields are {', '.join(self._fields)}",
                stacklevel=2,
            )
        return super()._replace(**changes | asked)

    def _named(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return values under the names of fields: where the variance is kept, v − m² of the v and m that there are."""
        named = {own: asked[name] for name, own in (("mu", "grad_avg"), ("trace", "momentum_buffer")) if name in asked}
        if self.grad_var is None:
            return named | ({"square_avg": asked["nu"]} if "nu" in asked else {})
        if not asked.keys() & {"nu", "mu"}:
            return named
        v, m = asked.get("nu", self.nu), asked.get("mu", self.grad_avg)
        return named | {"grad_var": jax.tree.map(lambda v, m: v - jnp.square(jnp.abs(m)), v, m)}


def _asked_of_optax(state: RMSpropState) -> dict[str, Any]:
    """Return what `optax.tree.set` is to put into a state by Optax's names, of values that the state has.

    It hands over what it was given for a name in ``_fields``, and drops the rest. That rest stands in the frame that
    calls, beside the filter of its caller's. Were the frame another one, nothing would be found, and `_replace` warns.
    """
    frame = sys._getframe(3).f_locals
    if frame.get("node") is not state or not isinstance(frame.get("kwargs"), dict):
        return {}
    path, is_meant = frame.get("path", ()), frame.get("filtering")
    asked = {}
    for name in _OPTAX_NAMES:
        there = getattr(state, name)
        key = optax.tree_utils.NamedTupleKey(type(state).__name__, name)
        if name in frame["kwargs"] and there is not None and (is_meant is None or is_meant((*path, key), there)):
            asked[name] = frame["kwargs"][name]
    return asked


_OPTAX_NAMES = ("nu", "mu", "trace")


def transformation(rule: Rule, lr: Any, sign: float) -> optax.GradientTransformationExtraArgs:
    """Return the Optax transformation of a rule.

    Args:
        rule: What to compute.
        lr: The learning rate: a number, a traced scalar, or a function of the number of updates made so far.
        sign: -1 for updates that are added to the parameters, 1 for a direction.

    Returns:
        The pair of functions ``init(params)`` and ``update(updates, state, params=None)``.

    Examples:
        >>> descent = transformation(Rule(decay=0.75), 0.1, -1.0)
        >>> weight = jnp.ones(1)
        >>> updates, state = descent.update(jnp.full(1, 2.0), descent.init(weight))
        >>> weight + updates
        Array([0.8], dtype=float32)
    """

    def init(params: Any) -> RMSpropState:
        for leaf in jax.tree.leaves(params):
            _check_param(leaf)
        trees = {
            name: jax.tree.map(lambda p, name=name: jnp.full_like(p, rule.start(name), dtype=_dtype(name, p)), params)
            for name in rule.state_names
        }
        return RMSpropState(count=_count_beside(params), **trees)

    def update(updates: Any, state: RMSpropState, params: Any = None, **extra_args: Any) -> tuple[Any, RMSpropState]:
        if params is None and rule.decays_weights("l2", "decoupled", "cautious"):
            raise ValueError("weight_decay needs the parameters: call update(updates, state, params)")
        _check_state(rule, updates, state)
        rate = _scheduled(lr(state.count)) if callable(lr) else lr
        step = optax.safe_increment(state.count)

        def update_leaf(grad: Any, param: Any, *kept: Any) -> tuple[Any, ...]:
            if grad is None:
                return None, *kept
            old = dict(zip(rule.state_names, kept, strict=True))
            change, new = _update_leaf(rule, rate, step, grad, param, old, sign)
            return change, *(new[name] for name in rule.state_names)

        tree: Any
        grads, tree = jax.tree.flatten(updates, is_leaf=_is_gradient)
        columns = [_leaves_as(tree, getattr(state, name), "state") for name in rule.state_names]
        leaves = [None] * len(grads) if params is None else _leaves_as(tree, params, "parameters")
        rows = [update_leaf(*row) for row in zip(grads, leaves, *columns, strict=True)]
        changes, *new = (tree.unflatten(row[i] for row in rows) for i in range(1 + len(columns)))
        return changes, RMSpropState(count=step, **dict(zip(rule.state_names, new, strict=True)))

    return optax.GradientTransformationExtraArgs(init, update)


def _scheduled(rate: Any) -> Any:
    """Return what a schedule returned, if it is one number."""
    if rate is None or isinstance(rate, str):
        raise TypeError(f"a schedule returned {rate!r}, but a learning rate is one number: let it return that")
    if jnp.shape(rate) != ():
        raise ValueError(f"a schedule returned an array of shape {jnp.shape(rate)}, but a learning rate is one number")
    return rate


def _leaves_as(tree: Any, other: Any, what: str) -> list[Any]:
    """Return the leaves of a tree that must have the structure of the gradients."""
    try:
        return tree.flatten_up_to(other)  # type: ignore[no-any-return]
    except ValueError as error:
        raise ValueError(
            f"the gradients and the {what} are trees of different structure ({error!s:.200}): give the gradients of "
            "all parameters that init got, in the same containers, with None for one that has none"
        ) from error


def _is_gradient(leaf: Any) -> bool:
    """Whether a node is one gradient: None where there is none, or a sparse array, which holds arrays of its own."""
    return leaf is None or hasattr(leaf, "todense")


def _update_leaf(
    rule: Rule, lr: Any, step: Any, grad: Any, param: Any, state: dict[str, Any], sign: float
) -> tuple[Any, reference.State]:
    """Return the update of a parameter, in its dtype or its gradient's, whichever is wider, and the new state."""
    grad = _checked(grad, param, next(iter(state.values())))
    reference.check_real(rule, jnp.issubdtype(grad.dtype, jnp.complexfloating))
    given = (grad.dtype,) if param is None else (grad.dtype, jnp.result_type(param))
    working = _wider(*(working_dtype(dtype.name) for dtype in given), *(kept.dtype for kept in state.values()))
    g = grad.astype(working)
    p = None if param is None else jnp.asarray(param, working)
    g = reference.with_l2(rule, p, g)
    change, new_state = reference.change(rule, lr, step, g, state, _ARRAYS)
    if rule.centered and jax.default_backend() == "cpu":
        new_state["grad_avg"] = _written_last(rule, step, g, state["grad_avg"], new_state["grad_var"])
    if rule.decays_weights("decoupled", "cautious"):
        change = change + reference.decoupled_decay(rule, lr, p, change, _ARRAYS)
    kept = {name: value.astype(state[name].dtype) for name, value in new_state.items()}
    return (sign * change).astype(_wider(*given)), kept


def _wider(*dtypes: Any) -> Any:
    """Return the dtype that holds those of all, also where JAX was told to promote none, and of 8-bit floats."""
    return jnp.dtype(reduce(np.promote_types, map(jnp.dtype, dtypes)))


def _written_last(rule: Rule, step: Any, g: Any, mean: Any, new_variance: Any) -> Any:
    """Return the new mean, computed after the new variance, which needs the old mean.

    On the CPU, XLA puts the new mean in the place of a donated old one, and would copy that first because it knows no
    order; lax.optimization_barrier gives it none. So the mean waits for a comparison that is never true: of the first
    element, or of each where arrays may be split between devices, which should not have to talk.
    """
    negative = jnp.any(new_variance.ravel()[:1] < 0.0) if jax.device_count() == 1 else new_variance < 0.0
    mean = jnp.where(negative, 0.0, mean)
    return reference.average(rule, mean, g, *rule.gains(step, _ARRAYS), _ARRAYS)


def _count_beside(params: Any) -> Any:
    """Return the count of no updates, on all devices where the parameters are.

    On the first device alone it could be moved by a compiled step, but not once a checkpoint was restored in its place,
    whose arrays are held to their devices.
    """
    count = jnp.zeros([], jnp.int32)
    for leaf in jax.tree.leaves(params):
        sharding = getattr(leaf, "sharding", None) if isinstance(leaf, jax.Array) else None
        if isinstance(leaf, jax.core.Tracer) or not isinstance(sharding, NamedSharding):
            continue
        if len(sharding.device_set) > 1:
            return jax.device_put(count, NamedSharding(sharding.mesh, PartitionSpec()))  # type: ignore[no-untyped-call]
    return count


def _check_state(rule: Rule, updates: Any, state: Any) -> None:
    if not isinstance(state, RMSpropState):
        raise TypeError(f"update got a {type(state).__name__} as state, but needs the RMSpropState that init returned")
    missing = [name for name in rule.state_names if getattr(state, name) is None]
    if missing and updates is not None:  # the trees of no parameters at all are None too
        raise ValueError(
            f"update got an RMSpropState without {' and '.join(missing)}, which this rule keeps, but needs the state "
            "that its own init returned"
        )


def _check_param(leaf: Any) -> None:
    try:
        jnp.result_type(leaf)
    except TypeError as error:
        raise TypeError(
            f"a parameter is a {type(leaf).__name__} ({leaf!r:.40}), but needs to be an array: leave it out, as "
            "equinox.filter(model, equinox.is_inexact_array) does, or put None in its place"
        ) from error


def _checked(grad: Any, param: Any, kept: Any) -> Any:
    if hasattr(grad, "todense"):
        raise TypeError(
            f"a gradient is a sparse {type(grad).__name__}, but updates are dense arrays, as in Optax: "
            "give its todense(), which adds up repeated entries"
        )
    dtype, shape = jnp.result_type(grad), jnp.shape(grad)
    if dtype == jax.dtypes.float0:
        raise TypeError(
            "a gradient has dtype float0, JAX's word for a parameter of integers that has none: give None in its place"
        )
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"a gradient has dtype {dtype}, but RMSProp needs real or complex floats")
    if shape != jnp.shape(kept):
        raise ValueError(f"a gradient has shape {shape}, but its state {jnp.shape(kept)}: they must be equal")
    if param is not None and jnp.shape(param) != shape:
        raise ValueError(f"a parameter has shape {jnp.shape(param)}, but its gradient {shape}: they must be equal")
    return jnp.asarray(grad)


def _dtype(name: str, param: Any) -> Any:
    dtype = working_dtype(jnp.result_type(param).name)
    return real_dtype(dtype) if name in SQUARES else dtype


@jax.custom_jvp
def _sqrt(x: Any) -> Any:
    """Return √x, with the derivative 0 at 0, where that of u = g/(√v + ε) is then right instead of NaN."""
    return jnp.sqrt(x)


@_sqrt.defjvp
def _sqrt_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    root, is_zero = _sqrt(*primals), primals[0] == 0.0
    return root, jnp.where(is_zero, 0.0, tangents[0] / jnp.where(is_zero, 1.0, 2.0 * root))


# What `reference.change` asks of a library.
_ARRAYS = SimpleNamespace(
    sqrt=_sqrt,
    where=jnp.where,
    isinf=jnp.isinf,
    real=jnp.real,
    conj=jnp.conj,
    expm1=jnp.expm1,
    log=jnp.log,
    maximum=jnp.maximum,
    sum=jnp.sum,
    ones_like=jnp.ones_like,
    zeros_like=jnp.zeros_like,
)
