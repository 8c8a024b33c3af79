"""What steps without a gradient leave of averages: F, and 1 − F beside it, without a difference.

In float64, from powers that are rounded once, by multiplications in a fixed order: the C++ kernel has the same bits.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rmsprop.rule import Rule

Array = np.ndarray[Any, Any]

BITS = 31  # of a number of steps
LAST_STEP = 2**BITS - 1  # that a row can remember
MOST_SEGMENTS = 1024  # stretches of equal decay that are remembered before all rows are brought up to date


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
def powers(kept: float) -> Shares:
    """Return what is left, and what is not, after 1, 2, 4, … 2³⁰ steps that keep a share each.

    Args:
        kept: The share, from 0 to 1.

    Returns:
        Rows of float64, each number rounded once.

    Examples:
        >>> [float(share[2]) for share in powers(0.5)]
        [0.0625, 0.9375]
    """
    context = Context(prec=60)
    power, found = Decimal(kept), []
    for _ in range(BITS):
        found.append((float(power), float(context.subtract(Decimal(1), power))))
        power = context.multiply(power, power)
    return Shares(*np.array(found).T)


def after(of_powers: Shares, steps: Any) -> Shares:
    """Return what is left after some steps that keep a share each.

    Args:
        of_powers: What `powers` returns for that share, or arrays with such rows, one for each number of steps.
        steps: How many, an array of integers at least 0.

    Returns:
        Arrays of the shape of ``steps``.

    Examples:
        >>> after(powers(0.5), np.array([0, 3])).kept
        array([1.   , 0.125])
    """
    steps = np.asarray(steps)
    found = Shares(np.ones(steps.shape), np.zeros(steps.shape))
    for bit in range(int(steps.max(initial=0)).bit_length()):
        longer = found.then(Shares(of_powers.kept[..., bit], of_powers.lost[..., bit]))
        is_set = (steps >> bit) & 1 == 1
        found = Shares(np.where(is_set, longer.kept, found.kept), np.where(is_set, longer.lost, found.lost))
    return found


class Segments(NamedTuple):
    """Stretches of steps that decay averages alike, in their order: a row of arrays.

    Args:
        begins: The step before the first of each; the first step counted is the next.
        corrected: Whether the averages are bias-corrected, so that step t keeps ρ·(1 − ρᵗ⁻¹)/(1 − ρᵗ) of them; int32.
        powers: Per segment a row of `powers` of the share that a step keeps.
        later: What all later segments leave.
    """

    begins: Array
    corrected: Array
    powers: Shares
    later: Shares

    def shares(self, which: Array, begin: Array, end: Array) -> Shares:
        """Return what is left after some steps of one segment.

        Args:
            which: The number of the segment.
            begin: The step after which they begin.
            end: The last of them.

        Returns:
            Arrays of the shape of ``which``. With bias correction the product telescopes: F is ρᵏ·(1 − ρᵃ)/(1 − ρᵉ) and
            1 − F is (1 − ρᵏ)/(1 − ρᵉ), with k = e − a.
        """
        rows = Shares(self.powers.kept[which], self.powers.lost[which])
        plain = after(rows, end - begin)
        is_corrected = (self.corrected[which] != 0) & (begin < end)
        gone_at_end = np.where(is_corrected, after(rows, end).lost, 1.0)
        kept = plain.kept * (after(rows, begin).lost / gone_at_end)
        return Shares(np.where(is_corrected, kept, plain.kept), plain.lost / gone_at_end)


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
        self._alike: list[tuple[float, bool]] = []  # of each segment the share that a step keeps, and if it's corrected
        self._begins, self._corrected = np.empty(1, np.int64), np.empty(1, np.int32)
        self._powers = Shares(np.empty((1, BITS)), np.empty((1, BITS)))
        self._whole = Shares(np.empty(1), np.empty(1))  # what each segment leaves that has ended
        self._rule: Rule | None = None  # of the last step, and what it has alike with others
        self._like: tuple[float, bool] = 0.0, False
        self._only: Segments | None = None  # that of all steps, as long as they are alike

    @property
    def is_full(self) -> bool:
        """Whether all rows should be brought up to date, so that this can begin anew."""
        return len(self._alike) >= MOST_SEGMENTS

    def record(self, rule: Rule, step: int) -> None:
        """Take note of what a step does, and forget what was noted of this step and later ones, which didn't happen.

        Args:
            rule: The rule of the step.
            step: Its number, counted from 1.
        """
        while self._alike and self._begins[len(self._alike) - 1] >= step - 1:
            self._only = None
            self._alike.pop()
        if rule is not self._rule:
            self._like, self._rule = self._likeness(rule), rule
        if not self._alike or self._alike[-1] != self._like:
            self._begin(*self._like, step - 1)

    def _likeness(self, rule: Rule) -> tuple[float, bool]:
        # As the update has it: the smaller of ρ and 1 − ρ is rounded to the working precision.
        rounded = float(self._type(rule.decay if rule.decay < 0.5 else 1.0 - rule.decay))
        return (rounded if rule.decay < 0.5 else 1.0 - rounded), rule.bias_correction

    def _begin(self, kept: float, is_corrected: bool, begin: int) -> None:
        count, self._only = len(self._alike), None
        if count == len(self._begins):
            self._double()
        self._begins[count], self._corrected[count] = begin, is_corrected
        self._powers.kept[count], self._powers.lost[count] = powers(kept)
        if count:
            last = self._up_to(count).shares(np.array(count - 1), self._begins[count - 1], np.array(begin))
            self._whole.kept[count - 1], self._whole.lost[count - 1] = last
        self._alike.append((kept, is_corrected))

    def _double(self) -> None:
        """Make room for as many segments again: in all arrays or, should a Ctrl-C come in between, in none."""
        begins, corrected = _doubled(self._begins), _doubled(self._corrected)
        of_powers, whole = (Shares(*map(_doubled, each)) for each in (self._powers, self._whole))
        self._begins, self._corrected, self._powers, self._whole = begins, corrected, of_powers, whole

    def _up_to(self, count: int) -> Segments:
        of_powers = Shares(self._powers.kept[:count], self._powers.lost[:count])
        return Segments(self._begins[:count], self._corrected[:count], of_powers, NOTHING_HAPPENED)

    def segments(self, now: int) -> Segments:
        """Return the segments as far as they have come.

        Args:
            now: The last step that counts.

        Returns:
            The same object as before, where there is one segment and nothing of it has changed.
        """
        if self._only is not None and self._only.begins[0] < now:
            return self._only
        count = int(np.searchsorted(self._begins[: len(self._alike)], now))
        found = self._up_to(count)
        if count == 1:  # nearly always
            found = found._replace(later=Shares(np.ones(1), np.zeros(1)))
            self._only = found if len(self._alike) == 1 else None
            return found
        kept, lost = self._whole.kept[:count].copy(), self._whole.lost[:count].copy()
        if count:
            kept[-1], lost[-1] = found.shares(np.array(count - 1), found.begins[-1], np.array(now))
        # 1 − F is what each segment takes and later ones leave: the sum of that, without a difference.
        later_kept = np.append(kept[1:], 1.0)[::-1].cumprod()[::-1]
        later_lost = np.append((lost * later_kept)[1:], 0.0)[::-1].cumsum()[::-1]
        return found._replace(later=Shares(later_kept[:count].copy(), later_lost[:count].copy()))

    def shares(self, last: Array, now: int) -> Shares:
        """Return what is left of the averages of rows.

        Args:
            last: The steps to which they are up to date, an array of integers.
            now: The step to which they are to be brought. What is ahead of it stays as it is.

        Returns:
            Arrays of the shape of ``last``.
        """
        found, last = self.segments(now), np.asarray(last, np.int64)
        if not len(found.begins):
            return Shares(np.ones(last.shape), np.zeros(last.shape))
        which = np.maximum(np.searchsorted(found.begins, last, side="right") - 1, 0)
        end, is_behind = np.append(found.begins[1:], now)[which], last < now
        own = found.shares(which, np.minimum(last, end), end)
        all_ = own.then(Shares(found.later.kept[which], found.later.lost[which]))
        return Shares(np.where(is_behind, all_.kept, 1.0), np.where(is_behind, all_.lost, 0.0))


def _doubled(array: Array) -> Array:
    return np.concatenate([array, np.empty_like(array)])
