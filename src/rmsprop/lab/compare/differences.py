"""The figure of the paired differences, in which nothing infinite looks like a number."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis
from rmsprop.lab.compare.ranking import Measure, Outcome, Ranking, Standing
from rmsprop.lab.drawing import BLUE, DARK, GREY, ORANGE
from rmsprop.lab.format import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS: dict[Outcome, tuple[str, str]] = {
    "better": (BLUE, "P"),
    "worse": (ORANGE, "X"),
    "not distinguishable": (GREY, "o"),
}
# Differences of which the largest is so many times the usual one are drawn on an axis that is logarithmic away from 0.
_WIDE = 15.0
# Beside the largest difference, what is smaller than this is rounding.
_ROUNDING = 1e-9
# Where infinity stands on an axis without logarithms, as a multiple of the largest difference, and where the axis ends.
_INFINITY_AT, _END_AT = 1.5, 1.7
# The same with logarithms: how much longer half of the axis becomes for each.
_INFINITY_AFTER, _END_AFTER = 0.35, 0.45
# The last number on the axis needs room beside infinity: it is at most this share of the largest difference.
_BELOW_INFINITY = 0.75
# So many letters of the line below the panels fit.
_LETTERS = 74


def paired_differences(rankings: Sequence[Ranking], analysis: Analysis, figure: Figure) -> None:
    """Paint each optimizer's paired difference from the reference with its interval, a panel per track.

    Args:
        rankings: The rankings by one measure.
        analysis: The analysis.
        figure: Where to paint.
    """
    panels = figure.subplots(1, len(rankings), sharey=True, squeeze=False)[0]
    endless = False
    for axes, ranking in zip(panels, rankings, strict=True):
        others = [standing for standing in ranking.standings if standing.difference is not None]
        if _only_infinite(others):
            _tell_counts(axes, ranking, others, analysis)
        else:
            endless |= _forest(axes, ranking.measure, others)
        axes.set_title(TRACK_TITLES[ranking.track], fontsize=10, loc="left")
        axes.set_yticks(range(len(others)), [analysis.labels[s.optimizer] for s in others])
        axes.set_ylim(len(others) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    figure.supxlabel(_below(rankings[0].measure, analysis, endless), fontsize=11)


def _below(measure: Measure, analysis: Analysis, endless: bool) -> str:
    facts = analysis.comparison.facts
    unit = {"steps": "", "metric": facts.metric_unit}.get(measure.key, facts.loss_name)
    text = textwrap.fill(f"{measure.name} minus {analysis.reference}'s{f': {unit}' if unit else ''}", _LETTERS)
    return f"{text}\n∞ and arrows: from runs that {why_infinite(measure)}" if endless else text


def why_infinite(measure: Measure) -> str:
    """Return what runs did that have no number.

    Args:
        measure: What is compared.

    Returns:
        Words that go on from "runs" or "runs that".
    """
    return "never reached the target" if measure.key == "steps" else "diverged"


def _ends(others: Sequence[Standing]) -> list[float]:
    found = (standing.difference for standing in others)
    return [end for difference in found if difference for end in (difference.low, difference.value, difference.high)]


def _sizes(others: Sequence[Standing]) -> list[float]:
    """The differences and the ends of their intervals that are numbers other than 0, without their signs."""
    sizes = [abs(end) for end in _ends(others) if math.isfinite(end)]
    return [size for size in sizes if size > _ROUNDING * max(sizes)]


def _only_infinite(others: Sequence[Standing]) -> bool:
    """Whether there is no difference to draw: all are infinite, or 0 because both are."""
    return not _sizes(others) and any(np.isinf(standing.costs).any() for standing in others)


def _tell_counts(axes: Axes, ranking: Ranking, others: Sequence[Standing], analysis: Analysis) -> None:
    """Say in words what no axis can show: how many runs there is a number of."""
    for place, standing in enumerate(others):
        if standing.outcome is not None:
            colour, mark = _MARKS[standing.outcome]
            axes.plot([0.06], [place], mark, color=colour, markersize=10, markeredgewidth=0)
        axes.text(0.14, place, _count(ranking.measure, standing), va="center", fontsize=10)
    own = _count(ranking.measure, ranking.of(analysis.comparison.reference))
    axes.set_xlabel(f"no finite differences;\n{analysis.reference}: {own}", fontsize=9)
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks([])


def _count(measure: Measure, standing: Standing) -> str:
    count, ended = len(standing.costs), int(np.isfinite(standing.costs).sum())
    if measure.key == "steps":
        return f"reached by {ended} of {count} runs" if ended else "never reached"
    return f"{count - ended} of {count} runs diverged"


def _forest(axes: Axes, measure: Measure, others: Sequence[Standing]) -> bool:
    """Paint the intervals, and return whether one of them has no end."""
    signs = {math.copysign(1.0, measure.shown(end)) for end in _ends(others) if math.isinf(end)}
    infinity = _scale(axes, _sizes(others), sorted(signs))
    for place, standing in enumerate(others):
        if standing.difference is None or standing.outcome is None:
            continue
        found, (colour, mark) = standing.difference, _MARKS[standing.outcome]
        low, value, high = (
            np.clip(measure.shown(end), -infinity, infinity) for end in (found.low, found.value, found.high)
        )
        axes.plot([low, high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        for end in (low, high):
            if abs(end) == infinity and end != value:
                axes.plot([end], [place], ">" if end > 0 else "<", color=colour, markersize=9, clip_on=False)
        axes.plot([value], [place], mark, color=colour, markersize=10, markeredgewidth=0, clip_on=False)
    axes.axvline(0, color=DARK, linewidth=1)
    return bool(signs)


def _scale(axes: Axes, sizes: Sequence[float], signs: Sequence[float]) -> float:
    """Make room for differences of these sizes and for infinities of these signs, and return where infinity stands."""
    largest, usual = max(sizes, default=1.0), float(np.median(sizes or [1.0]))
    at = [_round_below(_BELOW_INFINITY * largest if signs else largest)] if sizes else []
    if largest <= _WIDE * usual:
        infinity, end, fontsize = _INFINITY_AT * largest, _END_AT * largest, 11
    else:
        threshold, infinity, end = _logarithmic(axes, largest, usual)
        at, fontsize = [threshold, *at], 9
    if not signs:
        end = infinity
    marked = [0.0, *(sign * tick for tick in at for sign in (-1.0, 1.0))]
    axes.set_xticks(
        [*marked, *(sign * infinity for sign in signs)],
        [*map(_digits, marked), *("∞" if sign > 0 else "−∞" for sign in signs)],
        fontsize=fontsize,
    )
    axes.set_xlim(-end, end)
    return infinity if signs else math.inf


def _logarithmic(axes: Axes, largest: float, usual: float) -> tuple[float, float, float]:
    """Make the axis logarithmic away from 0, say so, and return where that begins, infinity stands and it ends."""
    first = math.floor(math.log10(usual))
    threshold, decades = 10.0**first, math.log10(largest) - first
    linear = max(1.0, decades / 2)  # else the threshold's number would meet the 0
    axes.set_xscale("symlog", linthresh=threshold, linscale=linear, subs=range(2, 10))
    axes.set_xlabel(f"logarithmic beyond ±{_digits(threshold)}", fontsize=9)
    infinity, end = (largest * 10 ** (longer * (linear + decades)) for longer in (_INFINITY_AFTER, _END_AFTER))
    return threshold, infinity, end


def _round_below(largest: float) -> float:
    """Return a number rounded down to its first digit."""
    power = math.floor(math.log10(largest))
    return float(f"{math.floor(largest / 10.0**power)}e{power}")


def _digits(value: float) -> str:
    return short(value, 4).replace("-", "−")
