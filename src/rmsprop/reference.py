"""The update in plain NumPy: what every other implementation in this package must compute.

In float64 it is the oracle of the tests. In float32 it is the specification down to the bit: every operation rounds
once, in the order written here. It is also the only place where the update is written for arrays: the slower paths
of the front ends run this function on their own arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmsprop.rule import Rule

State = dict[str, Any]


def init(rule: Rule, param: Any) -> State:
    """Return the state of a parameter before its first update.

    Args:
        rule: What to compute.
        param: The parameter, an array of floats of any shape.

    Returns:
        A mapping with torch's names: ``square_avg`` (or ``grad_avg`` and ``grad_var`` = v − m², when centered) and
        ``momentum_buffer`` where the rule has momentum. Arrays of the parameter's shape, in its dtype but never
        fewer than 32 bits, because an average in 16 bits stops moving.

    Examples:
        >>> init(Rule(initial_square_avg=1.0), np.zeros(2))
        {'square_avg': array([1., 1.])}
    """
    param = np.asarray(param)
    dtype = np.result_type(param.dtype, np.float32)
    start = {"square_avg": rule.initial_average, "grad_var": rule.initial_average}
    return {name: np.full(param.shape, start.get(name, 0.0), dtype) for name in rule.state_names}


def update(
    rule: Rule,
    lr: float,
    step: int,
    param: Any,
    grad: Any,
    state: Mapping[str, Any],
    *,
    maximize: bool = False,
    grad_scale: float = 1.0,
) -> tuple[Any, State]:
    """Return a parameter and its state after one update; the inputs are left as they are.

    Args:
        rule: What to compute.
        lr: The learning rate.
        step: The number t of this update, counted from 1.
        param: θ, an array of floats of any shape. Below 32 bits the arithmetic is done in float32.
        grad: g, of the parameter's shape.
        state: What `init` or the previous update returned.
        maximize: Ascend instead of descend. Default False.
        grad_scale: What the gradient is multiplied with first (unscaling, clipping). Default 1.

    Returns:
        The new parameter, in its dtype, and the new state.

    Raises:
        ValueError: If the shapes of parameter and gradient differ, or ``step`` is below 1.

    Examples:
        >>> rule, theta = Rule(decay=0.75), np.array([1.0])
        >>> theta, state = update(rule, 0.1, 1, theta, np.array([2.0]), init(rule, theta))
        >>> theta, state["square_avg"]
        (array([0.8]), array([1.]))

    Source: Tieleman and Hinton, lecture 6e, 2012; centered and momentum: Graves, arXiv 1308.0850, eq. 38 to 45;
    the recursion of the variance: West, Communications of the ACM 22(9), 1979.
    """
    param, grad = np.asarray(param), np.asarray(grad)
    if param.shape != grad.shape:
        raise ValueError(f"grad has shape {grad.shape}, but param has {param.shape}: they must be equal")
    if step < 1:
        raise ValueError(f"step is {step}, but the first update is step 1")
    dtype = np.result_type(param.dtype, np.float32)
    scale = -grad_scale if maximize else grad_scale
    with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
        new, state = apply(rule, lr, step, param.astype(dtype), grad.astype(dtype) * dtype.type(scale), state, np)
        return np.asarray(new, param.dtype), {name: np.asarray(value, dtype) for name, value in state.items()}


def apply(rule: Rule, lr: Any, step: Any, p: Any, g: Any, state: Mapping[str, Any], xp: Any) -> tuple[Any, State]:
    """Return new parameter and state from arrays of any library: the update itself.

    Python numbers meet arrays of the working precision here, so that 1 − ρ and its like are computed in float64 and
    rounded once.

    Args:
        rule: What to compute.
        lr: The learning rate (a number or a 0-d array).
        step: The number t of this update, counted from 1 (a number or a 0-d array).
        p: The parameter, in the working precision.
        g: The gradient, likewise, already scaled and negated.
        state: Arrays named as `Rule.state_names`.
        xp: The library of these arrays, with ``sqrt``, ``where`` and ``isinf``: ``numpy`` or ``torch``.

    Returns:
        The new parameter and the new state.

    Examples:
        >>> apply(Rule(decay=0.75), 0.1, 1, np.ones(1), np.full(1, 2.0), {"square_avg": np.zeros(1)}, np)[0]
        array([0.8])
    """
    if rule.weight_decay and rule.weight_decay_mode == "l2":
        g = g + rule.weight_decay * p
    moved_by, new_state = change(rule, lr, step, g, state, xp)
    if rule.weight_decay and rule.weight_decay_mode == "decoupled":
        p = p - (lr * rule.weight_decay) * p
    return p - moved_by, new_state


def change(rule: Rule, lr: Any, step: Any, g: Any, state: Mapping[str, Any], xp: Any) -> tuple[Any, State]:
    """Return what an update subtracts from the parameter, weight decay aside, and the new state.

    Args:
        rule: What to compute.
        lr: The learning rate (a number or a 0-d array).
        step: The number t of this update, counted from 1 (a number or a 0-d array).
        g: The gradient, in the working precision, with L2 decay already added.
        state: Arrays named as `Rule.state_names`.
        xp: The library of these arrays, as for `apply`.

    Returns:
        The change and the new state.

    Examples:
        >>> change(Rule(decay=0.75), 0.1, 1, np.full(1, 2.0), {"square_avg": np.zeros(1)}, np)[0]
        array([0.2])
    """
    gain, keep = rule.gains(step)
    if rule.centered:
        deviation = g - state["grad_avg"]
        new_state = {"grad_avg": _average(rule, state["grad_avg"], g, gain, keep, xp)}
        # v − m² itself has a recursion, which cannot cancel: d ← ρ·(d + (1 − ρ)·(g − m_old)²)
        d = _average(rule, state["grad_var"], (keep * deviation) * deviation, gain, keep, xp)
        new_state["grad_var"] = d
    else:
        d = _average(rule, state["square_avg"], g * g, gain, keep, xp)
        new_state = {"square_avg": d}

    denominator = xp.sqrt(d + rule.eps) if rule.eps_inside_sqrt else xp.sqrt(d) + rule.eps
    nothing = (g == 0.0) & (denominator == 0.0)  # 0/0 with ε = 0: no gradient so far asks for no step
    u = xp.where(nothing, g, g / denominator)

    if not rule.momentum:
        return lr * u, new_state
    if rule.lr_in_momentum:
        u = lr * u
    b = _decayed_sum(rule.momentum, state["momentum_buffer"], u, xp)
    new_state["momentum_buffer"] = b
    step_taken = u + rule.momentum * b if rule.nesterov else b
    return step_taken if rule.lr_in_momentum else lr * step_taken, new_state


def _average(rule: Rule, old: Any, new: Any, gain: Any, keep: Any, xp: Any) -> Any:
    """Return gain·new + keep·old without the drift that rounding two weights apart from each other brings.

    Written from the side that weighs more, so that the difference never cancels. An infinite average stays infinite
    instead of becoming ∞ − ∞.
    """
    base, other, share = (new, old, keep) if rule.decay < 0.5 else (old, new, gain)
    return xp.where(xp.isinf(base), base + other, base + share * (other - base))


def _decayed_sum(momentum: float, old: Any, new: Any, xp: Any) -> Any:
    """Return μ·old + new, which collects 1/(1 − μ) of a constant.

    With μ rounded to float32 that sum is off by many roundings (4 at μ = 0.9), so 1 − μ is rounded instead where it is
    the smaller one. An infinite sum stays infinite.
    """
    plain = momentum * old + new
    return plain if momentum < 0.5 else xp.where(xp.isinf(old), plain, old + (new - (1.0 - momentum) * old))
