"""What is judged: the losses of a run at points in time, of which the first is its beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rmsprop.lab.verdict.levels import beginning


@dataclass(frozen=True)
class Lost:
    """How a run was given up.

    Args:
        step: The step at which it was.
        loss: The loss of that step, perhaps not finite.
    """

    step: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Losses that aren't finite.

    Args:
        count: How many there are.
        of: Of how many losses.
        first: When the first was, a time of the run.
        value: What it was.
        recovered: When the loss was finite again, for good; None if it never was.
        lost: When the last stretch began of which it didn't recover; None if it did.
    """

    count: int
    of: int
    first: int
    value: float
    recovered: int | None
    lost: int | None


def gaps_of(times: Sequence[int], losses: Sequence[float]) -> Gaps | None:
    """Return which losses aren't finite.

    Args:
        times: When they were.
        losses: The losses.

    Returns:
        What is known of them; None if all are finite.

    Examples:
        >>> gaps_of([10, 20, 30], [1.0, math.nan, 0.5])
        Gaps(count=1, of=3, first=20, value=nan, recovered=30, lost=None)
        >>> gaps_of([10, 20, 30], [1.0, math.inf, math.nan]).lost
        20
    """
    broken = [n for n, loss in enumerate(losses) if not math.isfinite(loss)]
    if not broken:
        return None
    ends_well = broken[-1] < len(losses) - 1
    finite = [n for n, loss in enumerate(losses) if math.isfinite(loss)]
    lost = None if ends_well else times[finite[-1] + 1 if finite else 0]
    recovered = times[broken[-1] + 1] if ends_well else None
    return Gaps(
        count=len(broken),
        of=len(losses),
        first=times[broken[0]],
        value=losses[broken[0]],
        recovered=recovered,
        lost=lost,
    )


@dataclass(frozen=True, kw_only=True)
class LossCurves:
    """The losses of a run.

    Args:
        times: Steps or epochs that were done at each point, rising.
        train: The training loss at each point, finite.
        validation: The validation loss at the same points; empty if there is none, or none of other rows.
        worst: The largest loss of a batch since the point before, from the second point on; may be empty.
        worst_times: When each of these was. Default: not known, at the point.
        single: The training losses of which several make a point, each with its time. Default: there are none.
        rates: The learning rate at each of these points, NaN where it isn't known; may be empty.
        lr: The learning rate that was asked for. Default: not known.
        knows_start: Whether the first point is from before the first step, without noise. Default True.
        start_error: The standard error of the training loss at the first point, where that is of fewer batches than
            at the others. Default 0.
        constant: The training loss of the best constant answer. Default: not known.
        constant_validation: Its validation loss. Default: not known.
        lost: How the run was given up, if it was.
        gaps: The training losses that aren't finite and therefore aren't in the curve, if there are any.
        validation_gaps: The same of the validation losses.
        first_steps_largest: Whether the optimizer's first steps are its largest, as they are from v₀ = 0. Default
            False.
        patience: How many epochs or steps the run was stopped early after, because none of them had a lower validation
            loss. Default None: it wasn't.
        can_clip: Whether gradients can be clipped where it was trained: `rmsprop train` can't. Default False.
    """

    times: Sequence[int]
    train: Sequence[float]
    validation: Sequence[float] = ()
    worst: Sequence[float] = ()
    worst_times: Sequence[int] = ()
    single: Sequence[tuple[int, float]] = ()
    rates: Sequence[float] = ()
    lr: float = math.nan
    knows_start: bool = True
    start_error: float = 0.0
    constant: float = math.inf
    constant_validation: float = math.inf
    lost: Lost | None = None
    gaps: Gaps | None = None
    validation_gaps: Gaps | None = None
    first_steps_largest: bool = False
    patience: int | None = None
    can_clip: bool = False

    @property
    def judged(self) -> Sequence[float]:
        """The curve that the course is told of: validation, or training where nothing else is there."""
        return self.validation or self.train

    @property
    def initial(self) -> float:
        """The training loss to measure by."""
        return self.train[0] if self.knows_start else beginning(self.train)

    @property
    def initial_judged(self) -> float:
        """The same of the curve that is judged: what isn't trained yet does as badly on other rows."""
        if self.knows_start or not self.validation:
            return self.judged[0] if self.knows_start else self.initial
        return max(self.initial, beginning(self.validation))

    def length(self, time: int) -> int:
        """Return how long a run is that ends at a time: epochs that are counted from 0 are one more.

        Args:
            time: The time.

        Returns:
            The number of epochs or steps.
        """
        return time + (not self.knows_start and self.times[0] == 0)

    def scale(self, level: float) -> float:
        """Return what a change of the loss is a share of: the level that it has.

        Args:
            level: A level.

        Returns:
            Its size; where losses are below 0, which have no natural zero, how far the curves span.
        """
        values = [*self.train, *self.validation]
        if min(values) >= 0.0:
            return abs(level)
        return max(max(curve) - min(curve) for curve in (self.train, self.judged))
