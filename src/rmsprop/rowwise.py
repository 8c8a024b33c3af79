"""One average of squares per row of a table, 4 bytes, as FBGEMM's ``ROWWISE_RMSPROP_AR`` keeps it.

    v ← v + (1 − ρ)·(mean of g² over the row − v)        in the rows that a gradient touches; all others rest
    θ ← θ − decay·θ − lr·g/(√v + ε)

where decay is 0, or with a decay by staleness α at most 0.9 and otherwise lr·α times the steps since the row was last
touched (1 at its first touch). The C++ kernel gives the same bits.

Source: ``rowwise_rmsprop_ar`` in fbgemm_gpu/codegen/genscript/optimizers.py of FBGEMM 1.9.0; arXiv 2511.06374.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmsprop import reference
from rmsprop.rows import first_choice_outside, summed
from rmsprop.rule import Rule

Array = np.ndarray[Any, Any]

MOST_DECAY = 0.9  # of a stale row in one step: FBGEMM's min_shrinkage of 0.1
_LANES = 8

# The choices of a rule that have a meaning where v belongs to a row and is left alone between touches.
_OF_ROWS = {"decay", "eps", "eps_inside_sqrt", "initial_square_avg"}
_OF_ROWS |= {"weight_decay_mode", "weight_decay_max_lr", "lr_in_momentum"}  # which do nothing by themselves


def unfit_rule(rule: Rule) -> str | None:
    """Return why a rule can't keep one average per row, or None if it can.

    Args:
        rule: What to compute.

    Examples:
        >>> unfit_rule(Rule(momentum=0.9))
        'momentum=0.9 needs numbers of its own for each element'
        >>> unfit_rule(Rule(decay=0.9, eps_inside_sqrt=True))
    """
    name = first_choice_outside(_OF_ROWS, rule)
    if name is None:
        return None
    if name == "weight_decay":
        return f"weight_decay={rule.weight_decay!r} would decay touched rows alone (staleness_decay makes up for rests)"
    per_element = {"momentum", "centered"}
    why = "needs numbers of its own for each element" if name in per_element else "has no meaning for rows that rest"
    return f"{name}={getattr(rule, name)!r} {why}"


def mean_squares(g: Array) -> Array:
    """Return the mean of the squares in each row, in the precision of the numbers.

    Every eighth square is added up in float64, in the order of the row; the eight sums are then added up by halves.

    Args:
        g: A row of numbers for each row of a table.

    Examples:
        >>> mean_squares(np.array([[3.0, 4.0], [0.0, 2.0]]))
        array([12.5,  2. ])
    """
    wide = g.astype(np.float64)
    columns = -(-g.shape[1] // _LANES)
    squares = np.zeros((len(g), columns * _LANES))
    squares[:, : g.shape[1]] = wide * wide
    lanes = np.zeros((len(g), _LANES))
    for column in range(columns):
        lanes = lanes + squares[:, column * _LANES : (column + 1) * _LANES]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return np.asarray(lanes[:, 0] / g.shape[1], g.dtype)


def stale_decay(rate: float, step: int, last: Array) -> Array:
    """Return by what share of itself each row decays when it is touched.

    Args:
        rate: The learning rate times the decay by staleness.
        step: The number of this update, counted from 1.
        last: The step at which each row was touched last; 0: it never was.

    Examples:
        >>> stale_decay(0.01, 9, np.array([0, 8, 4])).tolist()
        [0.01, 0.01, 0.05]
    """
    rests = np.where(last == 0, 1, step - last)
    return np.clip(rate * rests, 0.0, MOST_DECAY)


def update(
    rule: Rule,
    lr: float,
    step: int,
    param: Array,
    grad: tuple[Any, Any],
    square_avg: Array,
    staleness_decay: float = 0.0,
    last: Array | None = None,
) -> None:
    """Update the rows of a parameter that have a gradient.

    Args:
        rule: What to compute; one of which `unfit_rule` has nothing to say.
        lr: The learning rate.
        step: The number of this update, counted from 1.
        param: The parameter, a table of real numbers in the working precision; changed in place.
        grad: The numbers of rows and their gradients, of the parameter's dtype.
        square_avg: One average per row; changed in place.
        staleness_decay: α, at least 0. Default 0: rows don't decay.
        last: The step at which each row was touched last, integers; changed in place. Default None: nobody counts.

    Examples:
        >>> theta, v = np.ones((3, 2)), np.zeros(3)
        >>> update(Rule(decay=0.5, eps=0.0), 0.1, 1, theta, (np.array([1]), np.array([[1.0, 7.0]])), v)
        >>> v, theta[1].round(2)
        (array([ 0. , 12.5,  0. ]), array([0.97, 0.8 ]))
    """
    rows, g = summed(*grad)
    decay = np.zeros(len(rows)) if last is None else stale_decay(lr * staleness_decay, step, last[rows])
    with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
        param[rows], square_avg[rows] = updated(rule, lr, step, param[rows], g, square_avg[rows], decay)
    if last is not None:
        last[rows] = step


def updated(
    rule: Rule, lr: float, step: int, p: Array, g: Array, square_avg: Array, decay: Array
) -> tuple[Array, Array]:
    """Return new rows and their new averages.

    Args:
        rule: What to compute.
        lr: The learning rate.
        step: The number of this update, counted from 1.
        p: The rows, in the working precision.
        g: Their gradients, likewise, already scaled and negated.
        square_avg: Their averages.
        decay: The share of itself that each row loses first.

    Examples:
        >>> p, v = updated(Rule(decay=0.75), 0.1, 1, np.ones((1, 1)), np.full((1, 1), 2.0), np.zeros(1), np.zeros(1))
        >>> p, v
        (array([[0.8]]), array([1.]))
    """
    gain, keep = rule.gains(step)
    v = reference.average(rule, square_avg, mean_squares(g), gain, keep, np)
    share = decay.astype(p.dtype)[:, None]
    kept = np.where(share == 0.0, p, p - share * p)
    root = np.sqrt(v + rule.eps) if rule.eps_inside_sqrt else np.sqrt(v) + rule.eps
    denominator = root[:, None]
    nothing = (g == 0.0) & (denominator == 0.0)  # 0/0 with ε = 0: no gradient so far asks for no step
    return kept - lr * (g / np.where(nothing, g.dtype.type(1), denominator)), v
