"""A joint search of learning rate, decay and ε, at the points of a quasi-random sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rmsprop.lab.tune.trials import Setting, Trials, Tried, rounded

# How far the search reaches: a decade of learning rate on either side, memories from 2 to 1000 steps, and ε from where
# it is nothing to where it leaves little of the adaptation (as wide as Choi et al., arXiv 1910.05446, search it).
_LR_REACH = 10.0
_FORGETTING = (1e-3, 0.5)
_EPSILONS = (1e-10, 1e-1)


def search(
    trials: Trials, centre: Setting, samples: int, fixed: Mapping[str, Any], seeds: Sequence[int], epochs: int
) -> tuple[Tried, ...]:
    """Try points of a Halton sequence around a setting, evenly in the logarithms of the rate, of 1 − ρ and of ε.

    Args:
        trials: Tries settings.
        centre: The setting in the middle of the learning rates.
        samples: How many points.
        fixed: Fields of the rule that a person has fixed: they stay. With both decay and ε there is nothing to search.
        seeds: The seeds of each point.
        epochs: Epochs of each run.

    Returns:
        What came of each point.

    Source: Halton, "On the efficiency of certain quasi-random sequences of points", Numerische Mathematik 2, 1960, as
    `scipy.stats.qmc.Halton` computes it.
    """
    from scipy.stats.qmc import Halton

    free = [name for name in ("decay", "eps") if name not in fixed]
    if not free:
        return ()
    sequence = Halton(1 + len(free), scramble=False).fast_forward(1)  # its first point is a corner
    settings = []
    for first, *others in sequence.random(samples):
        fields = {name: _at(name, share) for name, share in zip(free, others, strict=True)}
        lr = rounded(_between(centre.lr / _LR_REACH, centre.lr * _LR_REACH, first))
        settings.append(centre.with_(lr=lr, **fields))
    return tuple(trials.run("joint search", settings, seeds, epochs))


def _at(name: str, share: float) -> float:
    if name == "decay":
        return round(1.0 - rounded(_between(*_FORGETTING, share)), 6)
    return float(f"{_between(*_EPSILONS, share):.1g}")


def _between(low: float, high: float, share: float) -> float:
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
