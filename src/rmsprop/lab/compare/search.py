"""Which settings are tried: the same quasi-random points for every optimizer, each in its own declared space."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rmsprop.lab.optimizers import Choice, Range, choose, row

Points = npt.NDArray[np.float64]
# Hyperparameter -> its coordinate in the sequence, so that one point means the same for every optimizer.
COLUMNS: Mapping[str, int] = {
    "lr": 0,
    **dict.fromkeys(("alpha", "rho", "beta2"), 1),
    "eps": 2,
    **dict.fromkeys(("momentum", "beta1", "beta"), 3),
}
# From how many trials on each coordinate is searched. Few points in many dimensions miss the learning rate, which
# matters most: 10 points keep about three per decade of it, and 30 leave some for what matters least.
FROM_TRIALS = (1, 10, 30, 30)
# A best setting in this outer share of its range may have a better one beyond.
OUTER = 0.1


def points(study: int, count: int) -> Points:
    """Return the points that a study tries: the first ones of a scrambled Halton sequence of its own.

    Args:
        study: The study, which seeds the scrambling.
        count: How many points; the first are the same however many are asked for.

    Returns:
        An array of ``count`` by four numbers between 0 and 1.

    Examples:
        >>> bool((points(0, 3) == points(0, 5)[:3]).all())
        True

    Source: Owen, A randomized Halton algorithm in R, arXiv 1706.02808, 2017, as `scipy.stats.qmc.Halton` has it.
    """
    from scipy.stats import qmc

    return np.asarray(qmc.Halton(len(FROM_TRIALS), scramble=True, rng=study).random(count))


def searched(name: str, trials: int) -> dict[str, Range]:
    """Return what is searched for an optimizer: the learning rate, and with more trials the rest.

    Args:
        name: The optimizer.
        trials: Trials per study: from 10 on the decay is searched too, from 30 on ε and momentum.

    Returns:
        The range of each hyperparameter that is searched; the others keep their defaults.

    Examples:
        >>> list(searched("adam", 5)), list(searched("adam", 10))
        (['lr'], ['lr', 'beta2'])
    """
    return {key: where for key, where in row(name).space.items() if FROM_TRIALS[COLUMNS[key]] <= trials}


def settings(name: str, ranges: Mapping[str, Range], at: Points) -> list[Choice]:
    """Return the settings of an optimizer at some points.

    Args:
        name: The optimizer.
        ranges: The range of each hyperparameter that is searched.
        at: The points, one a row.

    Returns:
        A choice for each point.

    Examples:
        >>> [choice.lr for choice in settings("sgd", searched("sgd", 5), np.array([[0.25], [0.5]]))]
        [0.01, 0.1]
    """
    return [choose(name, **{key: where.at(point[COLUMNS[key]]) for key, where in ranges.items()}) for point in at]


def best(scores: Mapping[Choice, float]) -> Choice:
    """Return the choice with the least score; of equal ones, as when all diverged, that of the least learning rate.

    Args:
        scores: The score of each choice; infinite for a divergence.

    Returns:
        The best one.
    """
    return min(scores, key=lambda choice: (scores[choice], choice.lr))


def beyond(ranges: Mapping[str, Range], found: Choice, score: float) -> dict[str, Range]:
    """Return the ranges to go on searching in where the best setting lies in the outer tenth of one.

    Args:
        ranges: What was searched.
        found: The best setting.
        score: Its score. If that is infinite, everything diverged, and the learning rate must come down.

    Returns:
        For each hyperparameter at an end of its range the stretch beyond, for the others the range as it was. Empty if
        none is at an end that can be moved.

    Examples:
        >>> beyond(searched("sgd", 5), choose("sgd", lr=9.0), 0.2)["lr"].high
        1000.0
        >>> beyond(searched("sgd", 5), choose("sgd", lr=0.1), 0.2)
        {}
    """
    values = {"lr": found.lr, **dict(found.options)}
    at = {key: where.where(values[key]) for key, where in ranges.items()}
    if math.isinf(score):
        at = {"lr": 0.0}
    stretches = {key: ranges[key].beyond(u) for key, u in at.items() if not OUTER <= u <= 1 - OUTER}
    stretches = {key: where for key, where in stretches.items() if where.low < where.high}
    return {**ranges, **stretches} if stretches else {}
