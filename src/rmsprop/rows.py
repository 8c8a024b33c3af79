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
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rmsprop import reference
from rmsprop.rule import Rule

Array = np.ndarray[Any, Any]

BITS = 31  # of a number of steps
MOST_SEGMENTS = 1024  # stretches of equal decay that are remembered before all rows are brought up to date
# The choices of a rule that leave a row without a gradient where it is. Whoever adds one that does adds it here.
_REST_WITH = {"decay", "eps", "eps_inside_sqrt", "initial_square_avg", "init_from_gradient", "delayed", "centered"}
_REST_WITH |= {"bias_correction", "weight_decay_mode", "lr_in_momentum"}
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
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.name not in _REST_WITH and value != field.default:
            return _WORDS.get(field.name, f"{field.name}={value!r} may move rows that have no gradient")
    return None


class Shares(NamedTuple):
    """What is left of averages after some steps without a gradient, and what is not; they sum to 1.

    Args:
        kept: F, a float64 or an array of them.
        lost: 1 − F, likewise.
    """

    kept: Any
    lost: Any

    def then(self, later: Shares) -> Shares:
        """Return what is left after later steps too."""
        return Shares(self.kept * later.kept, self.lost + self.kept * later.lost)


NOTHING_HAPPENED = Shares(1.0, 0.0)


@lru_cache(maxsize=64)
def powers(kept: float) -> tuple[Array, Array]:
    """Return what is left, and what is not, after 1, 2, 4, … 2³⁰ steps that keep a share each.

    Args:
        kept: The share, from 0 to 1.

    Returns:
        Two arrays of float64, each number rounded once.

    Examples:
        >>> [float(share[2]) for share in powers(0.5)]
        [0.0625, 0.9375]
    """
    context = Context(prec=60)
    power, found = Decimal(kept), []
    for _ in range(BITS):
        found.append((float(power), float(context.subtract(Decimal(1), power))))
        power = context.multiply(power, power)
    left, gone = np.array(found).T
    return np.ascontiguousarray(left), np.ascontiguousarray(gone)


def after(kept: float, steps: Array) -> Shares:
    """Return what is left after some steps that keep a share each.

    Args:
        kept: The share, from 0 to 1.
        steps: How many, an array of integers at least 0.

    Returns:
        Arrays of the same shape.

    Examples:
        >>> after(0.5, np.array([0, 3])).kept
        array([1.   , 0.125])
    """
    found = Shares(np.ones(steps.shape), np.zeros(steps.shape))
    for bit, (left, gone) in enumerate(zip(*powers(kept), strict=True)):
        if not (steps >> bit).any():
            break
        longer = found.then(Shares(left, gone))
        is_set = (steps >> bit) & 1 == 1
        found = Shares(np.where(is_set, longer.kept, found.kept), np.where(is_set, longer.lost, found.lost))
    return found


class Segment(NamedTuple):
    """Steps that follow each other and decay averages alike.

    Args:
        begin: The step before the first of them.
        kept: The share that each keeps, as an update in the working precision rounds it.
        is_corrected: Whether the averages are bias-corrected, so that step t keeps ρ·(1 − ρᵗ⁻¹)/(1 − ρᵗ) of them.
    """

    begin: int
    kept: float
    is_corrected: bool

    def shares(self, begin: Array, end: int) -> Shares:
        """Return what is left after the steps from one, not counted, to another one, counted.

        Args:
            begin: The first, an array of integers, none of them above ``end``.
            end: The last.

        Returns:
            Arrays of the shape of ``begin``. With bias correction the product telescopes: F is ρᵏ·(1 − ρᵃ)/(1 − ρᵉ)
            and 1 − F is (1 − ρᵏ)/(1 − ρᵉ), with k = e − a.
        """
        found = after(self.kept, end - begin)
        if not self.is_corrected:
            return found
        gone, gone_at_end = after(self.kept, begin).lost, after(self.kept, np.array(end)).lost
        rests = begin == end
        corrected = found.kept * (gone / gone_at_end), found.lost / gone_at_end
        return Shares(np.where(rests, 1.0, corrected[0]), np.where(rests, 0.0, corrected[1]))


class Decays:
    """What the steps so far did to averages of rows without a gradient, as long as some row has to be told.

    Args:
        working: The precision in which updates work, ``"float32"`` or ``"float64"``.

    Examples:
        >>> decays = Decays("float64")
        >>> decays.record(Rule(decay=0.5), 1)
        >>> decays.record(Rule(decay=0.25), 3)
        >>> decays.shares(np.array([0, 1, 3]), 3).kept
        array([0.0625, 0.125 , 1.    ])
    """

    def __init__(self, working: str) -> None:
        self._type = np.dtype(working).type
        self.segments: list[Segment] = []

    @property
    def is_full(self) -> bool:
        """Whether all rows should be brought up to date, so that this can begin anew."""
        return len(self.segments) >= MOST_SEGMENTS

    def record(self, rule: Rule, step: int) -> None:
        """Take note of what a step does, and forget what was noted of this step and later ones, which didn't happen.

        Args:
            rule: The rule of the step.
            step: Its number, counted from 1.
        """
        while self.segments and self.segments[-1].begin >= step - 1:
            self.segments.pop()
        # As the update has it: the smaller of ρ and 1 − ρ is rounded to the working precision.
        rounded = float(self._type(rule.decay if rule.decay < 0.5 else 1.0 - rule.decay))
        kept = rounded if rule.decay < 0.5 else 1.0 - rounded
        made = Segment(step - 1, kept, rule.bias_correction)
        if not self.segments or self.segments[-1][1:] != made[1:]:
            self.segments.append(made)

    def shares(self, last: Array, now: int) -> Shares:
        """Return what is left of the averages of rows.

        Args:
            last: The steps to which they are up to date, an array of integers.
            now: The step to which they are to be brought. What is ahead of it stays as it is.

        Returns:
            Arrays of the shape of ``last``.
        """
        found = Shares(np.ones(last.shape), np.zeros(last.shape))
        for segment, end, later in self.with_later(now):
            inside = (last < end) & ((last >= segment.begin) | (segment is self.segments[0]))
            own = segment.shares(np.minimum(last, end), end).then(later)
            found = Shares(np.where(inside, own.kept, found.kept), np.where(inside, own.lost, found.lost))
        return found

    def with_later(self, now: int) -> list[tuple[Segment, int, Shares]]:
        """Return each segment with its last step and with what is left after all later ones.

        Args:
            now: The last step that counts.
        """
        found: list[tuple[Segment, int, Shares]] = []
        end, later = now, NOTHING_HAPPENED
        for segment in reversed(self.segments):
            if segment.begin < now:
                found.append((segment, end, later))
                own = segment.shares(np.array(segment.begin), end)
                end, later = segment.begin, Shares(float(own.kept), float(own.lost)).then(later)
        return found[::-1]


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
