"""Gradients of some rows of a table, exactly: each row's averages are brought up to date when a gradient touches it.

A row without a gradient has a gradient of zeros. Where neither momentum nor weight decay moves it, all that happens to
it is that its averages decay, and what k steps make of them has a closed form. So a row remembers the step to which its
averages are up to date, and an update reads and writes the rows that it touches, no others:

1. gradients of one row are added up, in the order in which they are given;
2. the averages of the rows are brought up to the step before: with F, the product of the shares that those steps kept,
   v ← F·v; centered m ← F·m and d ← F·(d + (1 − F)·m²), which is v − m² of both (all terms are positive);
3. the ordinary update (`rmsprop.reference.apply`) on these rows.

F is computed in float64 from powers that are rounded once, by multiplications in a fixed order, and 1 − F beside it
without a difference. Each average is then rounded once, while the dense update would have rounded it at every step.
The C++ kernel gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from rmsprop import reference
from rmsprop.decays import Decays, Shares
from rmsprop.rule import Rule

Array = np.ndarray[Any, Any]

# The choices of a rule that leave a row without a gradient where it is. Whoever adds one that does adds it here.
_REST_WITH = {"decay", "eps", "eps_inside_sqrt", "initial_square_avg", "init_from_gradient", "delayed", "centered"}
_REST_WITH |= {"bias_correction", "weight_decay_mode", "lr_in_momentum"}
# Those that work element by element, so that some rows may be updated alone where nobody asks for the dense step.
_BY_ELEMENT = {*_REST_WITH, "momentum", "nesterov", "averaged_momentum", "weight_decay"}
_WORDS = {
    "momentum": "momentum moves rows that have no gradient",
    "weight_decay": "weight decay moves rows that have no gradient",
}


def moves_at_rest(rule: Rule) -> str | None:
    """Return why a rule moves rows that have no gradient, or None if it leaves them where they are.

    Args:
        rule: What to compute.

    Examples:
        >>> moves_at_rest(Rule(momentum=0.9))
        'momentum moves rows that have no gradient'
        >>> moves_at_rest(Rule(centered=True))
    """
    if (name := first_choice_outside(_REST_WITH, rule)) is None:
        return None
    return _WORDS.get(name, f"{name}={getattr(rule, name)!r} may move rows that have no gradient")


def needs_all_rows(rule: Rule) -> str | None:
    """Return why a rule can't update some rows without the others, whatever becomes of those, or None if it can.

    Args:
        rule: What to compute.

    Examples:
        >>> needs_all_rows(Rule(momentum=0.9, weight_decay=0.1))
    """
    name = first_choice_outside(_BY_ELEMENT, rule)
    return name and f"{name}={getattr(rule, name)!r} may need all rows"


def first_choice_outside(names: set[str], rule: Rule) -> str | None:
    """Return the first field in which a rule differs from the plain one and that isn't among some.

    Args:
        names: Names of fields.
        rule: What to compute.

    Examples:
        >>> first_choice_outside({"decay"}, Rule(decay=0.5, momentum=0.9))
        'momentum'
    """
    chosen = (field.name for field in fields(rule) if getattr(rule, field.name) != field.default)
    return next((name for name in chosen if name not in names), None)


def summed(rows: Any, values: Any) -> tuple[Array, Array]:
    """Return the gradients of rows, those of one row added up in the order in which they are given.

    Args:
        rows: The numbers of rows, a row of integers; some may occur several times.
        values: Their gradients, one row of numbers for each.

    Returns:
        The numbers of the rows that occur, ascending, and their gradients.

    Examples:
        >>> summed(np.array([7, 2, 7]), np.array([[1.0], [2.0], [3.0]]))
        (array([2, 7]), array([[2.],
               [4.]]))
    """
    found, place = np.unique(rows, return_inverse=True)
    sums = np.zeros((len(found), *values.shape[1:]), values.dtype)
    first = np.full(len(found), len(place))
    np.minimum.at(first, place, np.arange(len(place)))
    sums[:] = values[first]  # not added to 0, which would lose the sign of −0
    is_later = np.ones(len(place), bool)
    is_later[first] = False
    with np.errstate(all="ignore"):
        np.add.at(sums, place[is_later], values[is_later])
    return found, sums


def up_to_date(state: Mapping[str, Any], shares: Shares) -> dict[str, Any]:
    """Return averages after steps without a gradient.

    Args:
        state: Arrays named as `Rule.state_names`.
        shares: What is left of each number, arrays that can be multiplied with them.

    Returns:
        The averages. An infinite one stays infinite, as in the update.

    Examples:
        >>> up_to_date({"square_avg": np.array([4.0, np.inf])}, Shares(0.25, 0.75))
        {'square_avg': array([ 1., inf])}
    """
    found = dict(state)
    with np.errstate(all="ignore"):
        if "grad_var" in state:
            mean = state["grad_avg"].astype(np.float64)
            squares = np.where(np.equal(shares.lost, 0.0), 0.0, mean * mean)  # 0 times an infinite one is no number
            sums = state["grad_var"].astype(np.float64) + shares.lost * squares
            found["grad_var"] = _kept(shares, sums, state["grad_var"].dtype)
            found["grad_avg"] = _kept(shares, mean, state["grad_avg"].dtype)
        else:
            average = state["square_avg"]
            found["square_avg"] = _kept(shares, average.astype(np.float64), average.dtype)
    return found


def _kept(shares: Shares, average: Array, dtype: Any) -> Array:
    return np.asarray(np.where(np.isinf(average), average, shares.kept * average), dtype)


def update(
    rule: Rule,
    lr: float,
    step: int,
    param: Array,
    grad: tuple[Any, Any],
    state: Mapping[str, Array],
    last: Array,
    decays: Decays,
) -> None:
    """Update the rows of a parameter that have a gradient.

    Args:
        rule: What to compute; one that leaves rows without a gradient where they are (`moves_at_rest`).
        lr: The learning rate.
        step: The number t of this update, counted from 1.
        param: The parameter, of real numbers in the working precision, a table or more; changed in place.
        grad: The numbers of rows, along the first axis of ``param``, and their gradients, of the parameter's dtype.
        state: What `rmsprop.reference.init` returned, but for the rows' steps; changed in place.
        last: The step to which the averages of each row are up to date; changed in place.
        decays: What the steps before did to the averages; this step is added.

    Examples:
        >>> rule, theta = Rule(decay=0.75), np.ones((3, 1))
        >>> state, last, decays = reference.init(rule, theta), np.zeros(3, int), Decays("float64")
        >>> update(rule, 0.1, 1, theta, (np.array([1]), np.full((1, 1), 2.0)), state, last, decays)
        >>> theta.ravel(), last
        (array([1. , 0.8, 1. ]), array([0, 1, 0]))
    """
    decays.record(rule, step)
    rows, g = summed(*grad)
    shape = (-1, *(1 for _ in param.shape[1:]))
    shares = Shares(*(share.reshape(shape) for share in decays.shares(last[rows], step - 1)))
    kept = up_to_date({name: array[rows] for name, array in state.items()}, shares)
    with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
        param[rows], new = reference.apply(rule, lr, step, param[rows], g, kept, np)
    for name, array in new.items():
        state[name][rows] = array
    last[rows] = step
