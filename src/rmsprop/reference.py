"""The update in plain NumPy: what every other implementation in this package must compute.

In float64 it is the oracle of the tests. In float32 it is the specification down to the bit: every operation rounds
once, in the order written here. It is also the only place where the update is written for arrays: the slower paths
of the front ends run this function on their own arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rmsprop.hyperparameters import known_below, known_from
from rmsprop.rule import SQUARES, Rule, agreement_scale
from rmsprop.storage import real_dtype, working_dtype

__all__ = ["init", "update"]

State = dict[str, Any]
# Of float32, and so of every working precision. An ε of this much or more keeps a denominator above 0.
SMALLEST_NORMAL = 2.0**-126


def init(rule: Rule, param: Any) -> State:
    """Return the state of a parameter before its first update.

    Args:
        rule: What to compute.
        param: The parameter, an array of real or complex floats of any shape.

    Returns:
        A mapping with torch's names: ``square_avg`` (or ``grad_avg`` and ``grad_var`` = v − m², when centered) and
        ``momentum_buffer`` where the rule has momentum. Arrays of the parameter's shape, in its dtype but never
        fewer than 32 bits, because an average in 16 bits stops moving. Averages of squares are real.

    Examples:
        >>> init(Rule(initial_square_avg=1.0), np.zeros(2))
        {'square_avg': array([1., 1.])}
    """
    param = np.asarray(param)
    return {name: np.full(param.shape, rule.start(name), _dtype(name, param)) for name in rule.state_names}


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
        param: θ, an array of floats of any shape. Below 32 bits the arithmetic is done in float32. In complex numbers
            g² is |g|²; view them as pairs of reals, as torch does, to average the squares of the parts apart.
        grad: g, of the parameter's shape.
        state: What `init` or the previous update returned.
        maximize: Ascend instead of descend. Default False.
        grad_scale: What the gradient is multiplied with first (unscaling, clipping). Default 1.

    Returns:
        The new parameter, in its dtype, and the new state.

    Raises:
        TypeError: If a delayed rule is to update complex numbers.
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
    dtype = np.dtype(working_dtype(param.dtype.name))
    scale = -grad_scale if maximize else grad_scale
    check_real(rule, param.dtype.kind == "c")
    with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
        new, state = apply(rule, lr, step, param.astype(dtype), grad.astype(dtype) * dtype.type(scale), state, np)
        return np.asarray(new, param.dtype), {name: np.asarray(x, _dtype(name, param)) for name, x in state.items()}


def _dtype(name: str, param: Any) -> Any:
    dtype = working_dtype(param.dtype.name)
    return real_dtype(dtype) if name in SQUARES else dtype


def check_real(rule: Rule, is_complex: bool) -> None:
    """Refuse complex numbers where a rule limits each element.

    Args:
        rule: What to compute.
        is_complex: Whether a parameter is of complex numbers.

    Raises:
        TypeError: If the rule is delayed, and it is.

    Examples:
        >>> check_real(Rule(delayed=True), is_complex=False)
    """
    if rule.delayed and is_complex:
        raise TypeError("delayed=True limits each element of a quotient, but has no limit for complex numbers")


def apply(
    rule: Rule,
    lr: Any,
    step: Any,
    p: Any,
    g: Any,
    state: Mapping[str, Any],
    xp: Any,
    limited: Callable[[Any], Any] | None = None,
) -> tuple[Any, State]:
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
        xp: The library of these arrays, with ``sqrt``, ``where``, ``isinf``, ``real``, ``conj`` and ``expm1``:
            ``numpy``, ``torch``, ``jax.numpy`` or ``keras.ops``; for ``caution`` also ``sum``, ``ones_like`` and
            ``zeros_like``, where arrays are not NumPy's. Its ``isinf`` may return False for "nowhere". One
            whose operations are a pass over memory each may have ``finite``, which puts any finite number in the place
            of an infinite one; it then needs no ``isinf``.
        limited: What is made of g/√v before it is used. Default None: nothing.

    Returns:
        The new parameter and the new state.

    Examples:
        >>> apply(Rule(decay=0.75), 0.1, 1, np.ones(1), np.full(1, 2.0), {"square_avg": np.zeros(1)}, np)[0]
        array([0.8])
    """
    moved_by, new_state = change(rule, lr, step, with_l2(rule, p, g), state, xp, limited)
    if rule.decays_weights("decoupled", "cautious"):
        p = p - decoupled_decay(rule, lr, p, moved_by, xp)
    return p - moved_by, new_state


def with_l2(rule: Rule, p: Any, g: Any) -> Any:
    """Return the gradient with the rule's L2 decay added, if it has any.

    Args:
        rule: What to compute.
        p: The parameter, in the working precision.
        g: The gradient, likewise.

    Returns:
        g + λθ, or ``g`` itself.

    Examples:
        >>> with_l2(Rule(weight_decay=0.5), np.ones(1), np.zeros(1))
        array([0.5])
    """
    return g + rule.weight_decay * p if rule.decays_weights("l2") else g


def decoupled_decay(rule: Rule, lr: Any, p: Any, moved_by: Any, xp: Any) -> Any:
    """Return what decoupled weight decay, cautious or not, subtracts from a parameter.

    Args:
        rule: What to compute.
        lr: The learning rate (a number or a 0-d array).
        p: The parameter, in the working precision.
        moved_by: What the update subtracts from it besides.
        xp: The library of these arrays, as for `apply`.

    Returns:
        lr·λ·θ, times lr/lr_max where it is corrected; cautious, 0 where the update moves the parameter away from 0.

    Examples:
        >>> rule = Rule(weight_decay=0.5, weight_decay_mode="cautious")
        >>> decoupled_decay(rule, 0.5, np.ones(2), np.array([0.1, -0.1]), np)
        array([0.25, 0.  ])
    """
    decay = (lr * rule.decay_at(lr)) * p
    return decay if rule.weight_decay_mode == "decoupled" else xp.where(_product(moved_by, p, xp) < 0.0, 0.0, decay)


def change(
    rule: Rule,
    lr: Any,
    step: Any,
    g: Any,
    state: Mapping[str, Any],
    xp: Any,
    limited: Callable[[Any], Any] | None = None,
) -> tuple[Any, State]:
    """Return what an update subtracts from the parameter, weight decay aside, and the new state.

    Args:
        rule: What to compute.
        lr: The learning rate (a number or a 0-d array).
        step: The number t of this update, counted from 1 (a number or a 0-d array).
        g: The gradient, in the working precision, with L2 decay already added.
        state: Arrays named as `Rule.state_names`.
        xp: The library of these arrays, as for `apply`.
        limited: As for `apply`.

    Returns:
        The change and the new state.

    Examples:
        >>> change(Rule(decay=0.75), 0.1, 1, np.full(1, 2.0), {"square_avg": np.zeros(1)}, np)[0]
        array([0.2])
    """
    gain, keep = rule.gains(step, xp)
    before = state["grad_var" if rule.centered else "square_avg"]
    if rule.init_from_gradient:
        before = _if_first(step, _product(g, g, xp), before, xp)
    if rule.centered:
        deviation = g - state["grad_avg"]
        new_state = {"grad_avg": average(rule, state["grad_avg"], g, gain, keep, xp)}
        # v − m² itself has a recursion, which cannot cancel: d ← ρ·(d + (1 − ρ)·(g − m_old)²)
        d = average(rule, before, _product(keep * deviation, deviation, xp), gain, keep, xp)
        new_state["grad_var"] = d
    else:
        d = average(rule, before, _product(g, g, xp), gain, keep, xp)
        new_state = {"square_avg": d}

    u = _quotient(rule, step, g, before if rule.delayed else d, xp)
    u = u if limited is None else limited(u)
    return _step_taken(rule, lr, step, u, state, new_state, xp)


def _quotient(rule: Rule, step: Any, g: Any, d: Any, xp: Any) -> Any:
    """Return u: the gradient over the denominator that an average of squares makes."""
    denominator = xp.sqrt(d + rule.eps) if rule.eps_inside_sqrt else xp.sqrt(d) + rule.eps
    # XLA, which has this for nothing, makes an inexact product of a quotient by a bare root.
    if not hasattr(xp, "finite") or not known_from(rule.eps, SMALLEST_NORMAL):
        nothing = (g == 0.0) & (denominator == 0.0)  # 0/0 with ε = 0: no gradient so far asks for no step
        denominator = xp.where(nothing, 1.0, denominator)
    u = g / denominator
    if rule.delayed:
        most = rule.largest_quotient(step)
        u = xp.where(u < -most, -most, u)
        u = xp.where(u > most, most, u)
    return u


def _step_taken(
    rule: Rule, lr: Any, step: Any, u: Any, state: Mapping[str, Any], new_state: State, xp: Any
) -> tuple[Any, State]:
    """Return the change that a quotient makes, and the new state with the momentum buffer in it."""
    if not rule.has_momentum:
        return lr * u, new_state
    taken, kept = rule.momentum_gains(step, xp)
    quotient = u
    if rule.averaged_momentum:
        u = (lr * taken if rule.lr_in_momentum else taken) * u
    elif rule.lr_in_momentum:
        u = lr * u
    lost = taken if rule.averaged_momentum else 1.0 - kept
    b = _decayed_sum(known_below(rule.momentum, 0.5), kept, lost, state["momentum_buffer"], u, xp)
    new_state["momentum_buffer"] = b
    step_taken = u + kept * b if rule.nesterov else b
    if rule.caution:
        step_taken = _with_caution(step_taken, quotient, xp)
    return step_taken if rule.lr_in_momentum else lr * step_taken, new_state


def _with_caution(step_taken: Any, u: Any, xp: Any) -> Any:
    """Return a step without the elements whose quotient points the other way, the others larger instead."""
    agrees = _product(step_taken, u, xp) > 0.0
    if isinstance(agrees, np.ndarray | np.bool):  # a Python number meets arrays of the working precision
        scale = agreement_scale(int(np.count_nonzero(agrees)), agrees.size)
    else:
        ones = xp.ones_like(u)
        scale = agreement_scale(xp.sum(xp.where(agrees, ones, xp.zeros_like(u))), xp.sum(ones), xp)
    return xp.where(agrees, scale * step_taken, 0.0 * step_taken)  # NaN stays NaN


def _if_first(step: Any, first: Any, later: Any, xp: Any) -> Any:
    """Return an array at the first update, and another at later ones."""
    is_first = step == 1
    if isinstance(is_first, bool | np.bool):
        return first if is_first else later
    return xp.where(is_first, first, later)


def _product(a: Any, b: Any, xp: Any) -> Any:
    """Return a·b where both point the same way, the real number a·b̄ in complex arithmetic."""
    return xp.real(a * xp.conj(b))


def average(rule: Rule, old: Any, new: Any, gain: Any, keep: Any, xp: Any) -> Any:
    """Return gain·new + keep·old without the drift that rounding two weights apart from each other brings.

    Written from the side that weighs more, so that the difference never cancels. An infinite average stays infinite
    instead of becoming ∞ − ∞.

    Args:
        rule: What to compute.
        old: A moving average.
        new: What it moves towards, of the same shape.
        gain: The share of ``new``, from `Rule.gains`.
        keep: The share of ``old``, likewise.
        xp: The library of these arrays, as for `apply`.

    Returns:
        The average after the update.

    Examples:
        >>> average(Rule(decay=0.75), np.zeros(1), np.full(1, 2.0), 0.25, 0.75, np)
        array([0.5])
    """
    base, other, share = (new, old, keep) if known_below(rule.decay, 0.5) else (old, new, gain)
    return _guarded(base, lambda: base + other, lambda finite: base + share * (other - finite), xp)


def _decayed_sum(is_short: bool, kept: Any, lost: Any, old: Any, new: Any, xp: Any) -> Any:
    """Return μ·old + new, which collects 1/(1 − μ) of a constant; ``kept`` is μ and ``lost`` is 1 − μ.

    With μ rounded to float32 that sum is off by many times 2⁻²⁴ (4 at μ = 0.9), so 1 − μ is rounded instead where it is
    the smaller one, unless the sum ``is_short``. An infinite sum stays infinite.
    """
    if is_short:
        return kept * old + new
    return _guarded(old, lambda: kept * old + new, lambda finite: old + (new - lost * finite), xp)


def _guarded(old: Any, if_infinite: Callable[[], Any], otherwise: Callable[[Any], Any], xp: Any) -> Any:
    """Return a number that takes the place of an old one, from another expression where that was infinite.

    With a finite number in the place of the infinite one, the second expression has the value of the first, unless new
    numbers come near the largest of the precision.
    """
    if hasattr(xp, "finite"):
        return otherwise(xp.finite(old))
    infinite = xp.isinf(old)
    return otherwise(old) if infinite is False else xp.where(infinite, if_infinite(), otherwise(old))
