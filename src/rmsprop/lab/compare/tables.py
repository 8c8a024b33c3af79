"""The tables of a comparison, as words and numbers that any page, terminal or file can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis, Reached
from rmsprop.lab.compare.ranking import Ranking, Standing
from rmsprop.lab.compare.results import Track
from rmsprop.lab.compare.statistics import Estimate
from rmsprop.lab.compare.targets import LossTarget
from rmsprop.lab.format import percent

# Of an interval whose ends are the same: shown as a number twice it would look like certainty.
NO_WIDTH = "no width"
# Intervals of nearly equal width may still round to one digit more or less; beyond that, values differ so much in size
# that the same decimals would be none for one or noise for another.
_NEARLY_EQUAL = 2
# Beside the width of an interval, what is smaller than this is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Args:
        title: What it shows.
        headings: One per column; the first column names the row, the others are numbers unless ``words`` has them.
        rows: As many cells each.
        words: Columns that hold words.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)

    def without(self, heading: str) -> Table:
        """Return the same without a column.

        Args:
            heading: The column's.

        Returns:
            The other columns.

        Raises:
            ValueError: If there is no such column.
        """
        gone = self.headings.index(heading)
        headings, *rows = (row[:gone] + row[gone + 1 :] for row in (self.headings, *self.rows))
        words = tuple(index - (index > gone) for index in self.words if index != gone)
        return Table(self.title, headings, tuple(rows), words)


def summary(analysis: Analysis, track: Track) -> Table:
    """Return the table that says the most: a row per optimizer.

    Args:
        analysis: The analysis.
        track: Which runs.

    Returns:
        Its first measure against the reference, its metric, how often and when it reaches the target, and how many of
        its runs diverged if any did.
    """
    first, metric = analysis.by(track)[0], analysis.ranking(track, "metric")
    reached = {r.optimizer: r for r in analysis.reached(track, analysis.target)} if analysis.target else {}
    headings = ["optimizer", first.measure.name, "95 %", f"against {analysis.reference}", metric.measure.name]
    headings += ["reached", "steps"] if reached else []
    rows, some_lost = [], any(lost(analysis, track, name) for name in analysis.labels)
    for standing in first.standings:
        name = standing.optimizer
        row = [analysis.labels[name], value(first, standing), interval(first, standing.center)]
        row += [_outcome(standing), value(metric, metric.of(name))]
        row += _reached_cells(reached[name])[:2] if reached else []
        rows.append((*row, *([lost(analysis, track, name)] if some_lost else [])))
    headings += ["diverged"] if some_lost else []
    return Table(TRACK_TITLES[track], tuple(headings), tuple(rows), words=(0, 3))


def ranking_table(analysis: Analysis, ranking: Ranking) -> Table:
    """Return everything about one measure: averages, spread and paired differences.

    Args:
        analysis: The analysis.
        ranking: The measure in a track.

    Returns:
        The table.
    """
    reference = analysis.reference
    level = f"{100 * analysis.level:.3g} %"
    averages = ("optimizer", "verdict", "IQM", "95 %", "median", "quartiles")
    headings = (*averages, f"minus {reference}", level, f"beats {reference}", "95 %")
    rows = tuple(_ranking_row(analysis, ranking, standing) for standing in ranking.standings)
    title = f"{TRACK_TITLES[ranking.track]}, {ranking.measure.name}"
    return Table(title, headings, rows, words=(0, 1))


def _ranking_row(analysis: Analysis, ranking: Ranking, standing: Standing) -> tuple[str, ...]:
    shown, (low, middle, high) = ranking.measure.shown, standing.quartiles
    cells = [analysis.labels[standing.optimizer], _outcome(standing)]
    cells += [value(ranking, standing), interval(ranking, standing.center)]
    cells += [number(shown(middle), _decimals(low, high)), span(*sorted((shown(low), shown(high))))]
    if standing.difference is None or standing.improvement is None:
        return (*cells, "", "", "", "")
    chance = standing.improvement
    difference, decimals = standing.difference, _decimals(standing.difference.low, standing.difference.high)
    cells += [number(shown(difference.value), decimals, sign=True), interval(ranking, difference, sign=True)]
    cells += [percent(chance.value), f"{percent(chance.low)} to {percent(chance.high)}"]
    return tuple(cells)


def target_table(analysis: Analysis, track: Track, target: LossTarget) -> Table:
    """Return what it takes each optimizer to reach a target.

    Args:
        analysis: The analysis.
        track: Which runs.
        target: The target.

    Returns:
        The table.
    """
    rows = tuple(
        (analysis.labels[found.optimizer], *_reached_cells(found)[:2], count(found.evaluations), seconds(found.seconds))
        for found in analysis.reached(track, target)
    )
    headings = ("optimizer", "runs that reached it", "steps until half had", "gradient evaluations", "seconds")
    return Table(f"{TRACK_TITLES[track]}, {target_name(analysis, target)}", headings, rows)


def choices(analysis: Analysis) -> Table:
    """Return the settings of every reported run as calls that can be pasted, one row for those that share them."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for track in analysis.tracks:
        for name in analysis.comparison.optimizers:
            for run in analysis.runs(track, name):
                study = "" if run.study is None else f"{run.study + 1}"
                key = (analysis.labels[name], TRACK_TITLES[track].lower(), study, run.choice.call)
                rows.setdefault(key, []).append(run.seed)
    cells = tuple((*key, _seeds(seeds)) for key, seeds in rows.items())
    return Table("Settings", ("optimizer", "track", "study", "settings", "seeds"), cells, words=(0, 1, 2, 3, 4))


def target_name(analysis: Analysis, target: LossTarget) -> str:
    """Return a target in words.

    Args:
        analysis: The analysis.
        target: The target.

    Returns:
        Such as "validation loss at most 0.0561 (Nesterov's)" or "f − f* at most 1e-4".
    """
    return target.name if target.setter is None else f"{target.name} ({analysis.labels[target.setter]}'s)"


def value(ranking: Ranking, standing: Standing) -> str:
    """Return the interquartile mean of a measure, as precise as its interval allows, or those of the others."""
    center = standing.center
    own = _decimals(center.low, center.high)
    every = [_decimals(other.center.low, other.center.high) for other in ranking.standings]
    known = [decimals for decimals in every if decimals is not None]
    alike = known and max(known) - min(known) <= _NEARLY_EQUAL
    return number(ranking.measure.shown(center.value), max(known) if alike else own)


def interval(ranking: Ranking, estimate: Estimate, *, sign: bool = False) -> str:
    """Return an interval in the units of a measure.

    Args:
        ranking: The ranking that the measure belongs to.
        estimate: The interval, in costs.
        sign: Write a plus before what is above 0. Default False.

    Returns:
        Such as "0.0548 to 0.0575", or "no width".
    """
    if math.isfinite(estimate.low) and math.isclose(estimate.low, estimate.high, rel_tol=1e-12):
        return NO_WIDTH
    low, high = sorted((ranking.measure.shown(estimate.low), ranking.measure.shown(estimate.high)))
    return span(low, high, sign=sign)


def span(low: float, high: float, *, sign: bool = False) -> str:
    """Return two numbers as "low to high", as precise as their distance allows.

    Args:
        low: The lower number.
        high: The higher number.
        sign: Write a plus before what is above 0. Default False.

    Returns:
        The words.

    Examples:
        >>> span(0.0684996, 0.0914722)
        '0.068 to 0.091'
    """
    return f"{_end(low, low, high, sign)} to {_end(high, low, high, sign)}"


def _end(value: float, low: float, high: float, sign: bool) -> str:
    """Return an end of an interval; one that isn't 0 isn't rounded to 0, which would hide on which side it is."""
    decimals = _decimals(low, high)
    if decimals is not None and abs(value) > _ROUNDING * (high - low):
        decimals = max(decimals, -math.floor(math.log10(abs(value))) if abs(value) < 0.5 * 10.0**-decimals else 0)
    return number(value, decimals, sign=sign)


def number(value: float, decimals: int | None, *, sign: bool = False) -> str:
    """Return a number with so many decimals, or with four digits if None.

    Args:
        value: The number, which may be infinite.
        decimals: How many; where they are more than nine, it is written with an exponent.
        sign: Write a plus before what is above 0. Default False.

    Returns:
        Its digits; what is 0 in so many has no sign.
    """
    if math.isinf(value):
        return f"{'−' if value < 0 else '+' if sign else ''}∞"
    plus = "+" if sign else ""
    digits = f"{value:{plus}.4g}" if decimals is None or decimals > 9 else f"{value:{plus}.{decimals}f}"
    return digits.replace("-", "−") if float(digits) else digits.lstrip("+-")


def _decimals(low: float, high: float) -> int | None:
    """Two digits of half the width of an interval; None if it is infinite or a point."""
    width = high - low
    if not math.isfinite(width) or width <= 0.0:
        return None
    return max(0, 1 - math.floor(math.log10(width / 2)))


def lost(analysis: Analysis, track: Track, name: str) -> str:
    """Return how many runs of an optimizer diverged, nothing for none."""
    runs = analysis.runs(track, name)
    diverged = sum(run.curve.diverged_at is not None for run in runs)
    return f"{diverged}/{len(runs)}" if diverged else ""


def count(value: float) -> str:
    """Return a whole number that may be infinite, "-" if it is."""
    return f"{value:.0f}" if math.isfinite(value) else "-"


def seconds(value: float) -> str:
    """Return seconds to two digits, "-" for infinity and for what wasn't measured.

    Args:
        value: Seconds.

    Returns:
        Digits without an exponent, no more than a measured time deserves.

    Examples:
        >>> seconds(0.0538), seconds(1234.6)
        ('0.054', '1235')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _outcome(standing: Standing) -> str:
    return standing.outcome or "the reference"


def _reached_cells(reached: Reached) -> list[str]:
    return [percent(reached.share), count(reached.half), seconds(reached.seconds)]


def _seeds(seeds: Sequence[int]) -> str:
    first, last = min(seeds), max(seeds)
    if len(seeds) == last - first + 1 > 2:
        return f"{first} to {last}"
    return ", ".join(map(str, sorted(seeds)))
