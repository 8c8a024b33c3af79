"""Learning rates from gradients: how the loss depends on the learning rate, and what is made of that.

The chain rule gives dE/dη = ∇E(θ)·∂θ/∂η, the hypergradient of a loss E with respect to a learning rate η. What differs
from method to method is how much of ∂θ/∂η is kept:

- **HD**, hypergradient descent: the last step alone, by which θ moved along −∂θ/∂η = `direction`. It takes no pass
  through the model: E is the training loss, whose gradient the next step has anyway.
- **RTHO**: all steps since the beginning. The `tangent` Z = d(θ, v, m, b)/dη follows the update's own recursion,
  Z ← A·Z + B, where A has the Hessian of the training loss in it, which meets Z in one Hessian-vector product per step.
- **MARTHE**: Z ← μ·A·Z + B with a μ between 0 (HD's direction) and 1 (RTHO): steps of long ago count less.

Nothing of the update is truncated: the denominator depends on θ through v (and m), and its derivative is part of A. The
derivative of √ where v is 0 is taken as 0: there g has been 0 so far.

These functions take arrays of any library `xp`, like `rmsprop.reference`. All derivatives here are tested by finite
differences in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rmsprop.reference import State, average, change, with_l2
from rmsprop.rule import Rule

__all__ = ["additive", "direction", "multiplicative", "tangent"]

# The fields of a rule whose derivatives are written here.
_KNOWN = {
    *("decay", "eps", "eps_inside_sqrt", "initial_square_avg", "centered", "momentum", "nesterov", "lr_in_momentum"),
    *("bias_correction", "weight_decay", "weight_decay_mode"),
}
_UNKNOWN_VALUES = ("cautious",)  # of those fields


def check_rule(rule: Rule) -> None:
    """Refuse a rule with a choice whose derivative is not written here.

    Args:
        rule: The rule.

    Raises:
        ValueError: If it has one.

    Examples:
        >>> check_rule(Rule(centered=True, momentum=0.9))
    """
    for field in fields(rule):
        value = getattr(rule, field.name)
        if value != field.default and (field.name not in _KNOWN or value in _UNKNOWN_VALUES):
            raise ValueError(
                f"{field.name}={value!r} has no hypergradient here: leave it at {field.default!r}, or set the learning "
                "rate yourself"
            )


def direction(rule: Rule, p: Any, g: Any, state: Mapping[str, Any], xp: Any) -> Any:
    """Return −∂θ/∂η of the last update: by how much a parameter moves back per unit of its learning rate.

    Everything else stands still, the momentum buffer of before too: where it holds lr·u, what earlier learning rates
    put into it is no part of this derivative.

    Args:
        rule: What was computed.
        p: The parameter before the update, in the working precision.
        g: The gradient, likewise, already scaled and negated.
        state: Arrays named as `Rule.state_names`, after the update.
        xp: The library of these arrays, with ``sqrt`` and ``where``.

    Returns:
        u = g/√v without momentum, plus λθ with decoupled weight decay.

    Examples:
        >>> import numpy as np
        >>> direction(Rule(eps=0.0), np.ones(1), np.full(1, 6.0), {"square_avg": np.full(1, 4.0)}, np)
        array([3.])

    Source: Baydin et al., "Online learning rate adaptation with hypergradient descent", arXiv 1703.04782, section 2.
    """
    u, _ = _normalised(rule, with_l2(rule, p, g), state, xp)
    if not rule.has_momentum:
        moved = u
    elif rule.lr_in_momentum:
        moved = u + rule.momentum * u if rule.nesterov else u
    else:
        moved = u + rule.momentum * state["momentum_buffer"] if rule.nesterov else state["momentum_buffer"]
    return moved + rule.weight_decay * p if rule.decays_weights("decoupled") else moved


def tangent(
    rule: Rule,
    lr: Any,
    step: Any,
    p: Any,
    g: Any,
    state: Mapping[str, Any],
    p_rate: Any,
    g_rate: Any,
    state_rate: Mapping[str, Any],
    xp: Any,
    lr_rate: float = 1.0,
) -> tuple[Any, State]:
    """Return the rates at which an update's results change: Z ← A·Z + B, in forward mode.

    Args:
        rule: What to compute.
        lr: The learning rate.
        step: The number t of this update, counted from 1.
        p: The parameter before the update, in the working precision.
        g: The gradient there, likewise, already scaled and negated.
        state: Arrays named as `Rule.state_names`, before the update.
        p_rate: dθ/dη, how fast the parameter changes with what the rates are taken of.
        g_rate: dg/dη, the Hessian times dθ/dη.
        state_rate: Those of the state. For MARTHE all three are multiplied with μ first.
        xp: The library of these arrays, as for `rmsprop.reference.update`.
        lr_rate: How fast this update's learning rate changes. Default 1; 0 where it is another group's that does.

    Returns:
        dθ/dη and the rates of the state, after the update.

    Examples:
        >>> import numpy as np
        >>> zero, state = np.zeros(1), {"square_avg": np.full(1, 4.0)}
        >>> rule = Rule(decay=1.0, eps=0.0)  # v stays 4: θ ← θ − η·g/2
        >>> tangent(rule, 0.1, 1, zero, np.full(1, 6.0), state, zero, zero, {"square_avg": zero}, np)[0]
        array([-3.])

    Source: Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", arXiv 1703.01785,
    forward mode; μ: Donini et al., "MARTHE", arXiv 1910.08525.
    """
    g, g_rate = with_l2(rule, p, g), with_l2(rule, p_rate, g_rate)
    _, new_state = change(rule, lr, step, g, state, xp)
    rates = _averages_rate(rule, step, g, state, g_rate, state_rate, xp)
    u_rate = _normalised_rate(rule, g, new_state, g_rate, rates["grad_var" if rule.centered else "square_avg"], xp)
    u, _ = _normalised(rule, g, new_state, xp)
    moved_rate = _moved_rate(rule, lr, lr_rate, u, u_rate, new_state, state_rate, rates)
    if rule.decays_weights("decoupled"):
        moved_rate = moved_rate + rule.weight_decay * (lr_rate * p + lr * p_rate)
    return p_rate - moved_rate, rates


def _averages_rate(
    rule: Rule, step: Any, g: Any, state: Mapping[str, Any], g_rate: Any, state_rate: Mapping[str, Any], xp: Any
) -> State:
    """Return the rates of the averages: these are linear in g², g and their old values."""
    gain, keep = rule.gains(step, xp)
    if not rule.centered:
        return {"square_avg": average(rule, state_rate["square_avg"], 2.0 * g * g_rate, gain, keep, xp)}
    deviation, its_rate = g - state["grad_avg"], g_rate - state_rate["grad_avg"]
    return {
        "grad_avg": average(rule, state_rate["grad_avg"], g_rate, gain, keep, xp),
        "grad_var": average(rule, state_rate["grad_var"], (2.0 * keep) * deviation * its_rate, gain, keep, xp),
    }


def _moved_rate(
    rule: Rule,
    lr: Any,
    lr_rate: float,
    u: Any,
    u_rate: Any,
    new_state: Mapping[str, Any],
    state_rate: Mapping[str, Any],
    rates: State,
) -> Any:
    """Return the rate of what is subtracted from the parameter, weight decay aside, and note that of the buffer."""
    if not rule.has_momentum:
        return lr_rate * u + lr * u_rate
    if rule.lr_in_momentum:
        u, u_rate = lr * u, lr_rate * u + lr * u_rate
    b, b_rate = new_state["momentum_buffer"], rule.momentum * state_rate["momentum_buffer"] + u_rate
    rates["momentum_buffer"] = b_rate
    taken, taken_rate = (u + rule.momentum * b, u_rate + rule.momentum * b_rate) if rule.nesterov else (b, b_rate)
    return taken_rate if rule.lr_in_momentum else lr_rate * taken + lr * taken_rate


def _normalised(rule: Rule, g: Any, state: Mapping[str, Any], xp: Any) -> tuple[Any, Any]:
    """Return u = g/denominator and the denominator, from the state after the update."""
    d = state["grad_var" if rule.centered else "square_avg"]
    denominator = xp.sqrt(d + rule.eps) if rule.eps_inside_sqrt else xp.sqrt(d) + rule.eps
    if not rule.eps:  # 0/0: no gradient so far asks for no step
        denominator = xp.where((g == 0.0) & (denominator == 0.0), 1.0, denominator)
    return g / denominator, denominator


def _normalised_rate(rule: Rule, g: Any, state: Mapping[str, Any], g_rate: Any, d_rate: Any, xp: Any) -> Any:
    """Return the rate of u = g/denominator, from that of what is under the root."""
    d = state["grad_var" if rule.centered else "square_avg"]
    u, denominator = _normalised(rule, g, state, xp)
    root = xp.sqrt(d + rule.eps) if rule.eps_inside_sqrt else xp.sqrt(d)
    flat = root == 0.0
    root_rate = xp.where(flat, 0.0, d_rate) / xp.where(flat, 1.0, 2.0 * root)
    return (g_rate - u * root_rate) / denominator


def additive(lr: float, hypergradient: float, hyper_lr: float, max_factor: float) -> float:
    """Return the learning rate after a step of gradient descent on it: η − β·h, bounded.

    Args:
        lr: η, above 0.
        hypergradient: h = dE/dη, finite.
        hyper_lr: β, in units of η²/E.
        max_factor: By what factor η may change at most, above 1. So η stays above 0.

    Returns:
        The new learning rate.

    Examples:
        >>> additive(0.1, -2.0, 0.01, 2.0), additive(0.1, -200.0, 0.01, 2.0)
        (0.12000000000000001, 0.2)

    Source: Baydin et al., arXiv 1703.04782, section 2, the additive rule.
    """
    return _bounded(lr - hyper_lr * hypergradient, lr, max_factor)


def multiplicative(lr: float, hypergradient: float, scale: float, hyper_lr: float, max_factor: float) -> float:
    """Return the learning rate after a step that does not depend on the scales of loss and parameters, bounded.

    η·(1 − β·h/(‖∇E‖·‖∂θ/∂η‖)): the fraction is the cosine of an angle.

    Args:
        lr: η, above 0.
        hypergradient: h = ∇E·∂θ/∂η, finite.
        scale: ‖∇E‖·‖∂θ/∂η‖; where it is 0, nothing is known and nothing changes.
        hyper_lr: β, by which share η changes at most.
        max_factor: By what factor η may change at most, above 1.

    Returns:
        The new learning rate.

    Examples:
        >>> multiplicative(0.1, -3.0, 6.0, 0.02, 2.0)
        0.101

    Source: Baydin et al., arXiv 1703.04782, section 2, the multiplicative rule.
    """
    cosine = hypergradient / scale if scale > 0.0 else 0.0
    return _bounded(lr * (1.0 - hyper_lr * cosine), lr, max_factor)


def _bounded(new: float, lr: float, max_factor: float) -> float:
    return min(max(new, lr / max_factor), lr * max_factor)
