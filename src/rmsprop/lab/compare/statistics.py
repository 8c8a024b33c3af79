"""What a sample of runs says: robust averages, and how far they can be trusted.

Everything here takes costs, of which less is better. A run that diverged costs infinity; it is never left out. Medians
and quartiles of such samples are order statistics, and an average over the middle half is infinite as soon as one of
its runs is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

CONFIDENCE = 0.95
# At the levels that several comparisons need (99.3 % for eight optimizers), 5000 draws leave 18 beyond either end.
DRAWS = 5000
_SEED = 0
# A bootstrap can't reach beyond its sample. Where nothing differs, one of eight verdicts was wrong in 45 % of cases
# with 5 seeds, and in 8 % with Student's interval around it; from 10 seeds on in at most 6 %
# (`benchmarks/few_seeds.py`).
_FEW_RUNS = 10


@dataclass(frozen=True)
class Estimate:
    """A number and the interval it may lie in.

    Args:
        value: What the sample gives.
        low: The lower end of the interval.
        high: The upper end.
        level: The interval's confidence level, a share.
    """

    value: float
    low: float
    high: float
    level: float

    @property
    def decided(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0.0 or self.high < 0.0


def quantile(values: Floats, share: float) -> Floats:
    """Return a quantile over the last axis, linear between two values, and infinite if the upper one counts and is.

    Args:
        values: Costs; infinities of either sign are allowed.
        share: 0.5 for the median.

    Returns:
        The quantiles, without the last axis. Half-way between -inf and inf is 0: they cancel.

    Examples:
        >>> quantile(np.array([1.0, 2.0, np.inf, np.inf]), 0.5)
        array(inf)
        >>> quantile(np.array([1.0, 2.0, 3.0, np.inf]), 0.5)
        array(2.5)
    """
    ordered = np.sort(values, axis=-1)
    position = share * (ordered.shape[-1] - 1)
    below, weight = math.floor(position), position - math.floor(position)
    if weight == 0.0:
        return np.asarray(ordered[..., below])
    return _average(ordered[..., below : below + 2], np.array([1.0 - weight, weight]))


def interquartile_mean(values: Floats) -> Floats:
    """Return the mean of the middle half over the last axis.

    A quarter of the values, rounded down, is cut off at either end, as `scipy.stats.trim_mean` does it.

    Args:
        values: Costs; infinities of either sign are allowed.

    Returns:
        The means, without the last axis; infinite if a value in the middle half is, and 0 if there are both -inf and
        inf, as in differences of which some are won and some are lost by a divergence: they cancel.

    References:
        Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, NeurIPS 2021,
        arXiv:2108.13264, section 4.

    Examples:
        >>> interquartile_mean(np.array([1.0, 2.0, 4.0, np.inf]))
        array(3.)
    """
    ordered = np.sort(values, axis=-1)
    count = ordered.shape[-1]
    middle = ordered[..., count // 4 : count - count // 4]
    return _average(middle, np.ones(middle.shape[-1]))


def _average(values: Floats, weights: Floats) -> Floats:
    """Average over the last axis, with infinities as `quantile` and `interquartile_mean` say."""
    finite = (np.where(np.isfinite(values), values, 0.0) * weights).sum(axis=-1) / weights.sum()
    sign = (values == np.inf).any(axis=-1).astype(float) - (values == -np.inf).any(axis=-1)
    lost = np.isinf(values).any(axis=-1)
    return np.asarray(np.where(lost, np.where(sign == 0.0, 0.0, np.copysign(np.inf, sign)), finite))


def differences(costs: Floats, reference: Floats) -> Floats:
    """Return costs minus the reference's, run by run.

    Args:
        costs: One cost per run.
        reference: The reference's with the same seeds, in the same order.

    Returns:
        The differences: below 0 where the reference is worse. Where only one of the two diverged it is infinite, where
        both did it is 0: neither is better.

    Examples:
        >>> differences(np.array([1.0, np.inf, np.inf]), np.array([3.0, 1.0, np.inf]))
        array([-2., inf,  0.])
    """
    both = np.isinf(costs) & np.isinf(reference)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.0, costs - reference)


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of runs.

    Args:
        indices: Indices into the runs, draws by runs.
        units: How many independent units they are drawn from: tuning studies, or runs where there is one study.
    """

    indices: Indices
    units: int


def resamples(studies: Sequence[int], draws: int = DRAWS) -> Draws:
    """Draw runs as often as an interval needs: first tuning studies, then runs of each study that was drawn.

    Agarwal et al. draw runs within fixed strata. Strata that are tuning studies vary themselves: if tuning noise is as
    large as the seeds', 95 % intervals with fixed studies hold the true value in 58 % of cases (20 seeds in 3 studies)
    or 48 % (50 in 5), with studies drawn in 96 % and 97 % (measured by ``benchmarks/intervals.py``). With one study, as
    of default settings, this is the ordinary bootstrap.

    Args:
        studies: The study of each run.
        draws: How often to draw. Default 5000.

    Returns:
        The draws: the same for the same arguments.
    """
    rng = np.random.default_rng(_SEED)
    members = [np.flatnonzero(np.asarray(studies) == study) for study in sorted(set(studies))]
    sizes = np.array([len(runs) for runs in members])
    table = np.zeros((len(members), sizes.max()), dtype=np.intp)
    for row, runs in zip(table, members, strict=True):
        row[: len(runs)] = runs
    slots = np.concatenate([np.full(size, slot) for slot, size in enumerate(sizes)])
    drawn = rng.integers(len(members), size=(draws, len(members)))[:, slots]
    indices = table[drawn, (rng.random(drawn.shape) * sizes[drawn]).astype(np.intp)]
    return Draws(indices, len(members) if len(members) > 1 else len(studies))


def estimate(
    values: Floats,
    drawn: Draws,
    *,
    level: float = CONFIDENCE,
    statistic: Callable[[Floats], Floats] = interquartile_mean,
) -> Estimate:
    """Return a statistic of a sample with its bootstrap interval.

    The interval is the expanded percentile interval, whose ends lie further out the fewer independent units there are,
    as those of Student's t do. With up to four studies or runs they are the extremes of the draws; one run says
    nothing, and its interval is endless.

    Args:
        values: One per run.
        drawn: What `resamples` gave for these runs.
        level: The confidence level. Default 0.95.
        statistic: Reduces the last axis. Default the interquartile mean.

    Returns:
        The estimate.

    References:
        Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69(4), 2015, section 5.3.

    Examples:
        >>> runs = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, np.inf])
        >>> estimate(runs, resamples([0] * 8)).value
        4.5
    """
    value = float(statistic(values))
    if len(values) < 2:
        return Estimate(value, -math.inf, math.inf, level)
    low, high = _ends(statistic(values[drawn.indices]), drawn.units, level)
    return Estimate(value, low, high, level)


def widened(found: Estimate, values: Floats) -> Estimate:
    """Return an estimate whose interval holds Student's, too, if it stands on few independent runs.

    Args:
        found: What `estimate` gave.
        values: The runs, each independent of the others.

    Returns:
        The same from 10 runs on, and where a value is infinite.

    Examples:
        >>> values = np.array([0.1, 0.2])
        >>> estimate(values, resamples([0, 0])).decided, widened(estimate(values, resamples([0, 0])), values).decided
        (True, False)
    """
    if not 2 <= len(values) < _FEW_RUNS or not np.isfinite(values).all():
        return found
    low, high = _students(values, found.level)
    return replace(found, low=min(found.low, low), high=max(found.high, high))


def possible(found: Estimate, span: float) -> Estimate:
    """Cut an interval to what a difference can be: Student's reaches beyond. It covers the true one as often as before.

    Args:
        found: A difference.
        span: How far two values can be apart; infinite if there is no bound.

    Returns:
        The same with finite ends from −span to span. An endless interval stays so: it says that nothing is known.

    Examples:
        >>> possible(Estimate(0.1, -3.2, 3.4, 0.95), 1.0)
        Estimate(value=0.1, low=-1.0, high=1.0, level=0.95)
    """
    low, high = (max(-span, min(span, end)) if math.isfinite(end) else end for end in (found.low, found.high))
    return replace(found, low=low, high=high)


def _students(values: Floats, level: float) -> tuple[float, float]:
    from scipy.stats import t

    mean = float(values.mean())
    half = float(t.ppf((1.0 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean - half, mean + half


def of_studies(values: Floats, studies: Sequence[int], level: float) -> Estimate:
    """Return the average of runs that are equal within each study, with Student's interval.

    Such runs are worth one per study. The bootstrap of two values is their range, which misses the true one in half of
    all cases; Student's t takes their number into account.

    Args:
        values: One per run, equal within a study.
        studies: The study of each run.
        level: The confidence level.

    Returns:
        The estimate, whose interval is endless if there is one study, or an infinite value.

    Examples:
        >>> found = of_studies(np.array([1.0, 2.0, 1.0, 2.0]), [0, 1, 0, 1], 0.95)
        >>> found.value, round(found.low, 2), round(found.high, 2)
        (1.5, -4.85, 7.85)
    """
    value = float(interquartile_mean(values))
    own = np.array([values[list(studies).index(study)] for study in sorted(set(studies))])
    if len(own) < 2 or not np.isfinite(own).all():
        return Estimate(value, -math.inf, math.inf, level)
    low, high = _students(own, level)
    return Estimate(value, min(low, value), max(high, value), level)


def improvement(costs: Floats, reference: Floats, drawn: Draws) -> Estimate:
    """Return how probable it is that a run is better than a run of the reference.

    Args:
        costs: One cost per run.
        reference: The reference's with the same seeds.
        drawn: What `resamples` gave for these runs.

    Returns:
        The share of all pairs of runs in which the reference is worse, ties counting half, with its 95 % interval.

    References:
        Agarwal et al. 2021, section 4.3: the statistic of Mann and Whitney.

    Examples:
        >>> improvement(np.array([1.0, 2.0]), np.array([2.0, 3.0]), resamples([0, 0])).value
        0.875
    """
    wins = (costs[:, None] < reference) + 0.5 * (costs[:, None] == reference)
    counts = (drawn.indices[:, :, None] == np.arange(len(costs))).sum(axis=1) / len(costs)
    if len(costs) < 2:
        return Estimate(float(wins.mean()), 0.0, 1.0, CONFIDENCE)
    low, high = _ends(np.einsum("di,ij,dj->d", counts, wins, counts, optimize=True), drawn.units, CONFIDENCE)
    return Estimate(float(wins.mean()), low, high, CONFIDENCE)


def _ends(replicates: Floats, units: int, level: float) -> tuple[float, float]:
    from scipy.stats import norm, t

    tail = norm.cdf(math.sqrt(units / (units - 1)) * t.ppf((1.0 - level) / 2, units - 1))
    return float(quantile(replicates, tail)), float(quantile(replicates, 1.0 - tail))


def simultaneous(comparisons: int) -> float:
    """Return the level of each of several intervals that makes all of them hold together at 95 %, by Bonferroni.

    Args:
        comparisons: How many there are.

    Returns:
        The level, a share.

    Examples:
        >>> simultaneous(7)
        0.9928571428571429
    """
    return 1.0 - (1.0 - CONFIDENCE) / max(comparisons, 1)


def best_of(scores: Floats, shares: Sequence[float]) -> Floats:
    """Return quantiles of the best of k trials, for k from 1 to all of them.

    As Dodge et al. do, k trials are drawn at random from those there are. They take the mean of the best; a trial that
    diverged would make it infinite, so these are quantiles.

    Args:
        scores: The score of each trial, infinity if it diverged.
        shares: Which quantiles, such as 0.5 for the median.

    Returns:
        Quantiles by k.

    References:
        Dodge et al., Show Your Work: Improved Reporting of Experimental Results, EMNLP 2019, section 3.1.

    Examples:
        >>> best_of(np.array([3.0, np.inf, 2.0, 1.0]), [0.5])
        array([[2., 2., 1., 1.]])
    """
    ordered, count = np.sort(scores), len(scores)
    k = np.arange(1, count + 1)
    at_most = 1.0 - (1.0 - k[:, None] / count) ** k  # [i, k]: the best of k is among the i best
    rows = [ordered[(at_most >= share - 1e-12).argmax(axis=0)] for share in shares]
    return np.array(rows)
