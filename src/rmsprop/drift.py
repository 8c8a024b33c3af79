"""What steps without a gradient do to rows that momentum or decoupled weight decay moves.

A step without a gradient takes θ to a·θ − c·b and the momentum buffer b to m·b, the same numbers for all elements: m
what the buffer keeps, c = lr·m (times μ with Nesterov's momentum; without lr where it stands in the buffer), and
a = 1 − lr·λ. So any number of such steps, with whatever learning rates, is one map of that kind:

    θ ← kept·θ − taken·b,    b ← left·b

Weight decay that is added to the gradient is none: it makes the gradient λθ, which goes through √v.

The numbers are those that the update rounds to the working precision, put together in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rmsprop.rows import first_choice_outside, moves_at_rest
from rmsprop.rule import Rule
from rmsprop.update_numbers import numbers_of

Array = np.ndarray[Any, Any]

MOST_STEPS = 4096  # that are remembered before all rows are brought up to date

# The choices of a rule with which a row without a gradient moves by such a map.
_LINEAR = {"decay", "eps", "eps_inside_sqrt", "initial_square_avg", "init_from_gradient", "delayed", "centered"}
_LINEAR |= {"bias_correction", "weight_decay_mode", "lr_in_momentum", "weight_decay_max_lr"}
_LINEAR |= {"momentum", "nesterov", "averaged_momentum", "weight_decay"}


def drifts(rule: Rule) -> bool:
    """Whether a rule moves rows without a gradient, and by nothing but such a map.

    Args:
        rule: What to compute.

    Examples:
        >>> drifts(Rule(momentum=0.9)), drifts(Rule(weight_decay=0.1, weight_decay_mode="decoupled"))
        (True, True)
        >>> drifts(Rule(weight_decay=0.1)), drifts(Rule())
        (False, False)
    """
    is_linear = first_choice_outside(_LINEAR, rule) is None and not (rule.weight_decay and not _decouples(rule))
    return is_linear and moves_at_rest(rule) is not None


def _decouples(rule: Rule) -> bool:
    return rule.decays_weights("decoupled")


class DriftShares(NamedTuple):
    """What steps without a gradient make of a parameter and its momentum: kept·θ − taken·b, and left·b.

    Args:
        kept: A float64 or an array of them.
        taken: Likewise.
        left: Likewise.
    """

    kept: Any
    taken: Any
    left: Any


def of_a_step(rule: Rule, lr: float, step: int, working: str) -> DriftShares:
    """Return what one step without a gradient does.

    Args:
        rule: The rule of the step.
        lr: Its learning rate.
        step: Its number, counted from 1.
        working: The precision in which updates work.

    Examples:
        >>> of_a_step(Rule(momentum=0.5), 0.25, 1, "float64")
        DriftShares(kept=1.0, taken=0.125, left=0.5)
    """
    numbers, rounded = numbers_of(rule, lr, step), np.dtype(working).type
    kept = 1.0 - float(rounded(numbers["weight_decay"])) if _decouples(rule) else 1.0
    if not rule.has_momentum:
        return DriftShares(kept, 0.0, 1.0)
    momentum, loss = float(rounded(numbers["momentum"])), float(rounded(numbers["momentum_loss"]))
    left = momentum if numbers["short_momentum"] else 1.0 - loss
    taken = (1.0 if numbers["lr_in_momentum"] else float(rounded(lr))) * left
    return DriftShares(kept, taken * momentum if rule.nesterov else taken, left)


# What has happened since the last step: nothing.
_ONE, _ZERO = np.ones(1), np.zeros(1)


class Drift:
    """What the steps so far did to rows without a gradient, from each of the last steps on.

    Args:
        working: The precision in which updates work, ``"float32"`` or ``"float64"``.
        now: The number of the last step before the first that counts.

    Examples:
        >>> drift = Drift("float64", 0)
        >>> drift.record(Rule(momentum=0.5), 1.0, 1)
        >>> drift.record(Rule(momentum=0.5), 2.0, 2)
        >>> drift.shares(np.array([0, 1, 2]), 2).taken
        array([1., 1., 0.])
    """

    def __init__(self, working: str, now: int) -> None:
        self._working, self._begin = working, now
        self._arrays = DriftShares(_ONE, _ZERO, _ONE)
        self._next: tuple[int, DriftShares] | None = None

    @property
    def is_full(self) -> bool:
        """Whether all rows should be brought up to date, so that this can begin anew."""
        return len(self._arrays.kept) > MOST_STEPS

    def record(self, rule: Rule, lr: float, step: int) -> None:
        """Take note of a step that is about to be taken; it counts once a later one is asked for.

        Args:
            rule: The rule of the step.
            lr: Its learning rate.
            step: Its number, counted from 1.
        """
        self._catch_up(step - 1)
        self._next = step, of_a_step(rule, lr, step, self._working)

    def _catch_up(self, now: int) -> None:
        """Take over the step that was noted if it has been taken; wholly or, should a Ctrl-C come in between, not."""
        if self._next is None or self._next[0] > now:
            self._next = None
            return
        of_step, (kept, taken, left) = self._next[1], self._arrays
        arrays = DriftShares(
            np.concatenate([kept * of_step.kept, _ONE]),
            np.concatenate([taken * of_step.kept + of_step.taken * left, _ZERO]),
            np.concatenate([left * of_step.left, _ONE]),
        )
        self._arrays, self._next = arrays, None

    def tables(self, now: int) -> tuple[int, DriftShares]:
        """Return what happened since each step.

        Args:
            now: The last step that counts.

        Returns:
            The first of these steps, and an array with an entry for it and each later one up to ``now``.
        """
        self._catch_up(now)
        return self._begin, self._arrays

    def shares(self, last: Array, now: int) -> DriftShares:
        """Return what happened to rows.

        Args:
            last: The steps to which they are up to date, integers.
            now: The step to which they are to be brought.
        """
        begin, tables = self.tables(now)
        return DriftShares(*(array[last - begin] for array in tables))


def drifted(p: Array, b: Array | None, shares: DriftShares) -> tuple[Array, Array | None]:
    """Return parameters and momentum after steps without a gradient.

    Args:
        p: Parameters, in the working precision.
        b: Their momentum buffer, likewise, or None.
        shares: What happened, arrays that can be multiplied with them.

    Returns:
        The new ones, each computed in float64 and rounded once. An infinite buffer stays infinite, as in the update.

    Examples:
        >>> drifted(np.array([1.0]), np.array([4.0]), DriftShares(1.0, 0.125, 0.5))
        (array([0.5]), array([2.]))
    """
    with np.errstate(all="ignore"):  # infinities and NaN follow IEEE rules, silently
        kept = shares.kept * p.astype(np.float64)
        if b is None:
            return np.asarray(kept, p.dtype), None
        wide = b.astype(np.float64)
        left = np.where(np.isinf(wide), wide, shares.left * wide)
        return np.asarray(kept - shares.taken * wide, p.dtype), np.asarray(left, b.dtype)
