"""The tables of a survey: a row per optimizer, a column per problem, and a sign for what is told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rmsprop.lab.compare import tables
from rmsprop.lab.compare.ranking import Outcome, Ranking, Standing
from rmsprop.lab.compare.results import Track
from rmsprop.lab.compare.survey.costs import EVALUATIONS, ProblemCosts
from rmsprop.lab.compare.tables import Table
from rmsprop.lab.compare.targets import until_half
from rmsprop.lab.format import short

# What stands behind a number, in the place of a word, for which six columns have no room. Spaces that don't break keep
# the digits of a column below each other.
_NONE = "\N{NO-BREAK SPACE}" * 2
SIGNS: dict[Outcome | None, str] = {"better": " +", "worse": " −", "not distinguishable": _NONE, None: _NONE}
# What measures are found by, in the order in which they are told: the first measure of a problem is a loss (the
# validation loss, or the distance to the least one), the second its metric.
LOSS, METRIC = 0, 1
KINDS: tuple[int | str, ...] = (LOSS, METRIC, EVALUATIONS)


def kinds(problems: Sequence[ProblemCosts]) -> list[int | str]:
    """Return those of `KINDS` by which some runs are judged.

    Args:
        problems: The problems.
    """
    return [kind for kind in KINDS if any(problem.kind(kind) for problem in problems)]


def title(problems: Sequence[ProblemCosts], kind: int | str) -> str:
    """Return what runs of some problems are judged by.

    Args:
        problems: The problems.
        kind: One of `KINDS`.

    Returns:
        Such as "test accuracy"; several names where the problems differ.
    """
    names = dict.fromkeys(ranking.name for problem in problems if (ranking := problem.kind(kind)))
    return " or ".join(names)


def standings(
    problems: Sequence[ProblemCosts], track: Track, kind: int | str, names: Sequence[str], reference: str
) -> Table:
    """Return how optimizers do on every problem by one kind of measure.

    Args:
        problems: What was found.
        track: Which runs.
        kind: One of `KINDS`.
        names: The optimizers; those that weren't compared are left out.
        reference: The one that the others are told apart from.

    Returns:
        Interquartile means, or the gradient evaluations after which half of the runs had reached the target; behind
        each " +" if it is better than the reference, " −" if worse, and nothing if they can't be told apart.
    """
    rankings = [problem.judged(track, kind, names, reference) for problem in problems]
    labels = {name: label for problem in problems for name, label in problem.labels.items() if name in names}
    rows = tuple(
        (label, *(_cell(ranking, name, kind) for ranking in rankings))
        for name, label in sorted(labels.items(), key=lambda item: list(names).index(item[0]))
    )
    return Table(title(problems, kind), ("optimizer", *(problem.problem for problem in problems)), rows)


def _cell(ranking: Ranking | None, name: str, kind: int | str) -> str:
    if ranking is None:
        return ""
    standing = ranking.of(name)
    return f"{_value(ranking, standing, kind)}{SIGNS[standing.outcome]}"


def _value(ranking: Ranking, standing: Standing, kind: int | str) -> str:
    if kind == EVALUATIONS:
        return tables.count(until_half(standing.costs.tolist()))
    value = ranking.measure.shown(standing.center.value)
    return short(value) if math.isfinite(value) else tables.number(value, None)


def intervals(problem: ProblemCosts, track: Track, kind: int | str, names: Sequence[str], reference: str) -> Table:
    """Return the intervals of one problem: the mean of each optimizer, and its paired difference from another.

    Args:
        problem: What was found.
        track: Which runs.
        kind: One of `kinds` of this problem.
        names: The optimizers; those that weren't compared are left out.
        reference: The one that the others are compared with.

    Returns:
        The table.
    """
    ranking = problem.judged(track, kind, names, reference)
    assert ranking is not None, "runs of the problem are judged by this"
    rows = tuple(
        (
            problem.labels[standing.optimizer],
            standing.outcome or "the reference",
            tables.value(ranking, standing),
            tables.interval(ranking, standing.center),
            "" if standing.difference is None else tables.interval(ranking, standing.difference, sign=True),
        )
        for standing in ranking.standings
    )
    headings = ("optimizer", "verdict", "IQM", "95 %", f"minus {problem.labels[reference]}")
    return Table(f"{problem.problem}, {ranking.measure.name}", headings, rows, words=(0, 1))
