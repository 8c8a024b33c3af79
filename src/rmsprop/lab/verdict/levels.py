"""How high a curve of losses is, how it goes, and how much of it is noise, by medians and ranks: no outlier counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

# The end of a run is the median of its last fifth: short enough to be "now", long enough that one epoch doesn't decide.
TAIL = 5
# A median of n points has this standard error, in noise/√n; a median of absolute values is this much of the deviation.
_MEDIAN_ERROR, _MAD = 1.2533, 0.6745
# The level of the beginning is that of so many points, of one in so many, as long as they differ by noise alone.
_FIRST, _FIRST_SHARE, _SAME = 7, 8, 3.0
# That noise would be seen in a run that is lost in its first steps, too: no noise makes a loss ten times another one.
_APART = 10.0
# So few are a level too, if need be.
_FEW = 3
# Noise changes along a run, so it is seen in stretches of at least so many points; fewer than these show no trend.
_STRETCH, FEWEST_FOR_TREND = 12, 6
# A trend at the end is looked for in at least so many points, where that isn't more than half of them.
_ENOUGH = 8


@dataclass(frozen=True)
class Fall:
    """How the end of a curve lies below what was before it.

    Args:
        before: The level of the points before the end.
        now: The level of the end.
        points: The number of points in each of them.
        noise: The median change from one of these points to the next.
        sureness: How surely it is no noise, in standard deviations; infinite where there are too few points to tell.
        error: The standard error of the fall; 0 where there are too few points to tell noise from a bend.
    """

    before: float
    now: float
    points: int
    noise: float
    sureness: float
    error: float


def last_fall(losses: Sequence[float], parts: int = TAIL) -> Fall:
    """Return how the end of a curve lies below what was before it.

    Args:
        losses: The losses, at least two.
        parts: The end is the last one of so many parts of the curve. Default 5.

    Returns:
        The fall.

    Examples:
        >>> last_fall([4, 3, 2, 1, 0])
        Fall(before=1, now=0, points=1, noise=1, sureness=inf, error=0.0)
    """
    length = max(1, (len(losses) - 1) // parts)
    last = losses[-2 * length :]
    steps = median(abs(after - before) for before, after in pairwise(last))
    before, now = median(last[:-length]), median(last[-length:])
    wide = losses[-max(2 * length, min(_ENOUGH, (len(losses) + 1) // 2)) :]
    sureness = math.inf if before - now >= steps else 0.0
    if len(wide) >= FEWEST_FOR_TREND:
        sureness = -trend(wide)
    ends = (len(losses) - 2 * length, len(losses) - length)
    unsure = math.hypot(*(error(losses, at, length) for at in ends)) if length >= _FEW else 0.0
    return Fall(before, now, length, steps, sureness, unsure)


# How many standard deviations make a sign: one that another curve shares, one by itself, and one that is searched for
# along the whole curve. Of noise alone one curve in thirty has the first, one in a hundred the second.
SUPPORTED, ALONE, SURE = 1.8, 2.3, 3.0


def trend(losses: Sequence[float]) -> float:
    """Return how surely a curve rises, or falls: Mann and Kendall's statistic, in standard deviations.

    Args:
        losses: The losses, at least two.

    Returns:
        The statistic: above 0 for a rise; of pure noise beyond 2 in one of twenty curves.

    Examples:
        >>> round(trend([5, 4, 3, 2, 1, 0]), 1)
        -2.6
    """
    values = np.asarray(losses, dtype=float)
    n = len(values)
    concordant = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)].sum())
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return (concordant - math.copysign(1, concordant)) / deviation if concordant else 0.0


def noise(losses: Sequence[float]) -> float:
    """Return the standard deviation of what isn't the course of a curve, from its second differences.

    Args:
        losses: The losses.

    Returns:
        The deviation; 0 for fewer than five points, of which it can't be told.

    Examples:
        >>> noise([1, 2, 3, 4, 5]), round(noise([1, 2, 1, 2, 1, 2]), 2)
        (0.0, 1.21)
    """
    if len(losses) < 5:
        return 0.0
    return float(np.median(np.abs(np.diff(losses, n=2)))) / (_MAD * math.sqrt(6.0))


def error(losses: Sequence[float], start: int, length: int, least: float = 0.0) -> float:
    """Return the standard error of the median of a stretch of a curve.

    Args:
        losses: The losses.
        start: Where it begins.
        length: The number of its points.
        least: The least noise to reckon with. Default 0.

    Returns:
        The error.
    """
    return _MEDIAN_ERROR * max(noise_around(losses, start, length), least) / math.sqrt(length)


def noise_around(losses: Sequence[float], start: int, length: int) -> float:
    """Return the noise of a stretch of a curve, seen in enough points.

    Args:
        losses: The losses.
        start: Where it begins.
        length: The number of its points.

    Returns:
        The standard deviation.
    """
    margin = max(0, _STRETCH - length)
    first = max(0, min(start - margin // 2, len(losses) - length - margin))
    return noise(losses[first : first + length + margin])


def beginning(losses: Sequence[float], most: int | None = None) -> float:
    """Return the level at which a curve begins: of its first loss, and of those after it that only noise tells from it.

    Args:
        losses: The losses.
        most: How many may belong to the beginning. Default: an eighth of them, seven at most.

    Returns:
        The level.

    Examples:
        >>> beginning([2.0, 1.0, 0.5, 0.4, 0.3, 0.3]), beginning([2.0, 2.2, 1.9] * 8)
        (2.0, 2.0)
        >>> beginning([2.0, *[7e9, 9e9] * 12])
        2.0
    """
    length = beginning_length(losses, most)
    level, few = median(losses[:length]), median(losses[: min(length, _FEW)])
    # A fast fall at the very start looks like noise to a level of many points, and not to one of three.
    # What falls so fast seems to be noise among the first points, too, so that of all counts.
    sure = SURE * _MEDIAN_ERROR * noise(losses) / math.sqrt(_FEW)
    return few if few - level > sure else level


def beginning_error(losses: Sequence[float], most: int | None = None) -> float:
    """Return the standard error of the level at which a curve begins.

    Noise is taken for a share of the loss: its size there can't be seen in a run that is lost in its first steps.

    Args:
        losses: The losses.
        most: How many may belong to the beginning. Default: an eighth of them, seven at most.

    Returns:
        The error, 0 where losses aren't above 0.

    Examples:
        >>> beginning_error([2.0] * 8), round(beginning_error([2.0, 2.2, 1.9] * 8), 2)
        (0.0, 0.18)
    """
    if min(losses) <= 0.0:
        return 0.0
    share = noise(losses) / median(losses)
    return _MEDIAN_ERROR * share * beginning(losses, most) / math.sqrt(beginning_length(losses, most))


def beginning_length(losses: Sequence[float], most: int | None = None) -> int:
    """Return how many points the beginning of a curve has.

    Args:
        losses: The losses.
        most: How many there may be. Default: an eighth of them, seven at most.

    Returns:
        The number, at least 1.
    """
    if most is None:
        most = min(_FIRST, max(1, len(losses) // _FIRST_SHARE))
    spread = _SAME * math.sqrt(2.0) * _early_noise(losses)

    def ends(at: int) -> bool:
        level, after = median(losses[:at]), median(losses[at : at + _FEW])
        return abs(after - level) > spread or 0.0 < _APART * min(after, level) < max(after, level)

    return next(filter(ends, range(1, most)), most)


def _early_noise(losses: Sequence[float]) -> float:
    """Return the noise of the beginning; a few points may seem to have less than all have, by chance."""
    return max(noise(losses[: 2 * _STRETCH]), noise(losses))


def tail(losses: Sequence[float]) -> float:
    """Return where a curve ends: the median of its last fifth.

    Args:
        losses: The losses, the first of which is before the first step.

    Returns:
        The loss.
    """
    return median(losses[-tail_length(losses) :])


def tail_length(losses: Sequence[float]) -> int:
    """Return the number of points that make the end of a curve.

    Args:
        losses: The losses, the first of which is before the first step.

    Returns:
        The number, at least 1.
    """
    return max(1, (len(losses) - 1) // TAIL)


def smooth(losses: Sequence[float]) -> list[float]:
    """Return running medians over at most five points, so that one lucky epoch isn't taken for the lowest point.

    Args:
        losses: The losses.

    Returns:
        As many medians; of a short curve the losses themselves.
    """
    return running(losses, min(2, (len(losses) - 1) // 10))


def running(losses: Sequence[float], half: int) -> list[float]:
    """Return running medians.

    Args:
        losses: The losses.
        half: How many points before and after each one belong to it.

    Returns:
        As many medians.
    """
    return [median(losses[max(0, i - half) : i + half + 1]) for i in range(len(losses))]


def rises_to_end(losses: Sequence[float], start: int) -> float:
    """Return how surely a curve ends above the level that it had at a point, in standard errors.

    Args:
        losses: The losses.
        start: The point.

    Returns:
        The rise over its standard error, infinite where nothing is known of noise; below 0 for a fall.
    """
    length = tail_length(losses)
    half = length // 2
    first = max(0, min(start - half, len(losses) - length))
    values = [math.log(loss) for loss in losses] if min(losses) > 0.0 else losses  # noise is a share of the loss
    level, end = median(values[first : first + length]), tail(values)
    both = math.hypot(error(values, first, length), error(values, len(values) - length, length))
    return (end - level) / both if both > 0.0 else math.copysign(math.inf, end - level)
