"""All rules, in the order in which one explains another."""

from __future__ import annotations

from rmsprop.lab.verdict import course, outliers, stalls
from rmsprop.lab.verdict.curves import LossCurves
from rmsprop.lab.verdict.facts import Fact

# A loss that was lost again explains a validation loss that rises; one that nothing explains has converged.
_RULES = (
    stalls.lost_again,
    stalls.never_better_than_guessing,
    course.overfitting,
    stalls.unchanged,
    course.falling,
    stalls.guessing,
    stalls.unsteady,
)


def judge(curves: LossCurves) -> tuple[Fact, ...]:
    """Judge a run.

    Args:
        curves: Its losses, at least two unless the run was given up.

    Returns:
        The verdict; after it whatever else there is: an early stop, losses that weren't finite, and spikes.

    Examples:
        >>> judge(LossCurves(times=range(21), train=[1.0] + [0.2] * 20))[0].kind
        'converged'
    """
    lost = outliers.diverged(curves)
    if lost is not None:
        return (lost,)
    early = course.stopped_early(curves)
    found = next((fact for rule in _RULES if (fact := rule(curves))), None)
    main = [fact for fact in (found, early) if fact] or [course.converged(curves)]
    spikes = outliers.spikes(curves)
    return (*main, *outliers.not_finite(curves), *((spikes,) if spikes else ()))
