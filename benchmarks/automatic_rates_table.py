"""The tables of `benchmarks.automatic_rates`: how each candidate does on each problem, and whether it wins.

    python -m benchmarks.automatic_rates_table <folder>/runs.jsonl > <folder>/automatic_rates.txt

docs/automatic-learning-rates.md quotes what it prints.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from benchmarks import environment
from benchmarks.automatic_candidates import BASELINE, CANDIDATES, ON_DATA
from benchmarks.automatic_rates import GRID, Line, calibrated, loss, read, scores, with_data
from rmsprop.lab.compare.statistics import (
    Estimate,
    Floats,
    differences,
    estimate,
    interquartile_mean,
    resamples,
    simultaneous,
)
from rmsprop.lab.problems.defaults import PROBLEMS

Outcome = Literal["better", "same", "worse", "harm"]
AUTOMATIC = tuple(name for name in CANDIDATES if name not in (BASELINE, ON_DATA))
MARKS: dict[Outcome, str] = {"better": "+", "same": "=", "worse": "−", "harm": "✗"}
# Of a fixed rate's loss: what is above it by more does harm. And the share of the problems that a winner is better on.
MARGIN, SHARE = 1.1, 1 / 3


@dataclass(frozen=True)
class Verdict:
    """How a candidate does on a problem.

    Args:
        ratio: The interquartile mean of its losses, as a multiple of the fixed rate's.
        outcome: What the intervals say.
        lost: How many of its runs diverged or had no learning rate.
        runs: How many there are.
    """

    ratio: float
    outcome: Outcome
    lost: int
    runs: int

    @property
    def cell(self) -> str:
        """What a table shows."""
        return f"{times(self.ratio)} {MARKS[self.outcome]}"


def times(ratio: float) -> str:
    """Return a ratio in so many digits as a person reads: 0 where only the fixed rate diverged, 0.98, 12, 3e5, ∞."""
    if math.isinf(ratio) or ratio == 0.0:
        return "∞" if ratio else "0"
    if 1e-2 <= ratio < 1e3:
        return f"{ratio:#.2g}".rstrip(".") if ratio < 99.5 else f"{ratio:.0f}"
    return f"{ratio:.0e}".replace("e+0", "e").replace("e-0", "e-")


def losses(lines: Iterable[Line], problem: str, candidate: str, which: str) -> Floats:
    """Return the loss of each run, in the order of the seeds."""
    runs = [one for one in lines if (one["problem"], one["candidate"]) == (problem, candidate)]
    return np.array([loss(one, which) for one in sorted(runs, key=lambda one: one["seed"])])


def verdict(
    lines: Sequence[Line], problem: str, candidate: str, against: str = BASELINE, which: str = "best"
) -> Verdict:
    """Return how a candidate does on a problem, by the rule in `benchmarks.automatic_rates`.

    Args:
        lines: What was written.
        problem: The problem.
        candidate: A key of `CANDIDATES`.
        against: The fixed rate: one of them, too. Default the one that is calibrated on all problems.
        which: The loss of the ``"best"`` epoch or the ``"last"``. Default the best.
    """
    own, fixed = (losses(lines, problem, name, which) for name in (candidate, against))
    difference = interval(differences(own, fixed))
    outcome: Outcome = "same"
    if interval(differences(own, MARGIN * fixed)).low > 0.0:
        outcome = "harm"
    elif difference.decided:
        outcome = "worse" if difference.low > 0.0 else "better"
    return Verdict(_ratio(own, fixed), outcome, int(np.isinf(own).sum()), len(own))


def _ratio(own: Floats, fixed: Floats) -> float:
    """Return the ratio of two interquartile means; where both are infinite neither is better."""
    one, other = float(interquartile_mean(own)), float(interquartile_mean(fixed))
    return 1.0 if math.isinf(one) and math.isinf(other) else one / other


def interval(values: Floats) -> Estimate:
    """Return the interval of a paired difference: exact for one run, which is all where nothing is random."""
    level = simultaneous(len(AUTOMATIC))
    if len(values) == 1:
        return Estimate(values[0], values[0], values[0], level)
    return estimate(values, resamples([0] * len(values)), level=level)


@dataclass(frozen=True)
class Summary:
    """How a candidate does on all problems.

    Args:
        verdicts: By problem.
    """

    verdicts: dict[str, Verdict]

    def count(self, outcome: Outcome) -> int:
        """Return on how many problems the outcome is this."""
        return sum(one.outcome == outcome for one in self.verdicts.values())

    @property
    def median(self) -> float:
        """The median of the ratios."""
        return median(one.ratio for one in self.verdicts.values())

    @property
    def lost(self) -> int:
        """How many runs diverged or had no learning rate."""
        return sum(one.lost for one in self.verdicts.values())

    @property
    def wins(self) -> bool:
        """Whether the rule is met."""
        better, worse = self.count("better"), self.count("worse")
        return not self.count("harm") and better >= SHARE * len(self.verdicts) and better > worse


def summaries(lines: Sequence[Line], against: str = BASELINE, which: str = "best") -> dict[str, Summary]:
    """Return how each candidate does, on the problems that the fixed rate was calibrated on.

    Args:
        lines: What was written.
        against: As for `verdict`.
        which: As for `verdict`.
    """
    some = problems(lines, against)
    return {name: Summary({each: verdict(lines, each, name, against, which) for each in some}) for name in AUTOMATIC}


def problems(lines: Sequence[Line], against: str = BASELINE) -> list[str]:
    """Return those problems that a fixed rate was calibrated on of which every training is there, in their order."""
    done = {(one["problem"], one["candidate"]) for one in (with_data(lines) if against == ON_DATA else lines)}
    return [name for name in PROBLEMS if {(name, each) for each in CANDIDATES} <= done]


def calibration(lines: Sequence[Line]) -> list[str]:
    """Return the lines on the fixed learning rates: the scores, and what is chosen without one of the problems."""
    found = {"all problems": scores(lines), "those with data": scores(with_data(lines))}
    rows = [[what, *(f"{score:.2f}" for score in of.values())] for what, of in found.items()]
    return [
        _row(["decades above the best rate, mean of", *(f"{lr:g}" for lr in GRID)]),
        _ruler(1 + len(GRID)),
        *map(_row, rows),
        "",
        *(f"{what}: {_steadiness(some)}" for what, some in zip(found, (lines, with_data(lines)), strict=True)),
    ]


def _steadiness(lines: Sequence[Line]) -> str:
    chosen, names = calibrated(lines), dict.fromkeys(one["problem"] for one in lines)
    without = [calibrated([one for one in lines if one["problem"] != name]) for name in names]
    return f"{chosen:g}, and the same without any one problem in {without.count(chosen)} of {len(names)} cases"


def table(lines: Sequence[Line], against: str = BASELINE, which: str = "best") -> list[str]:
    """Return the table of problems and candidates.

    Args:
        lines: What was written.
        against: As for `verdict`.
        which: As for `verdict`.
    """
    found = summaries(lines, against, which)
    rows = [
        [f"`{each}`", f"{interquartile_mean(losses(lines, each, against, which)):.3g}"]
        + [found[name].verdicts[each].cell for name in AUTOMATIC]
        for each in problems(lines, against)
    ]
    return [_row(["problem", f"loss, {against}", *AUTOMATIC]), _ruler(2 + len(AUTOMATIC)), *map(_row, rows)]


def summary(lines: Sequence[Line], against: str = BASELINE, which: str = "best") -> list[str]:
    """Return the table of candidates, with what they cost.

    Args:
        lines: What was written.
        against: As for `verdict`.
        which: As for `verdict`.
    """
    head = [f"against {against}", *("better", "not distinguishable", "worse", "harm"), "lost", "median", "gradients"]
    rows = [
        [
            *(name, *(str(one.count(outcome)) for outcome in MARKS), str(one.lost)),
            *(times(one.median), f"{gradients(lines, name):.2f}", "yes" if one.wins else "no"),
        ]
        for name, one in summaries(lines, against, which).items()
    ]
    return [_row([*head, "wins"]), _ruler(len(head) + 1), *map(_row, rows)]


def _ruler(columns: int) -> str:
    return "| --- |" + " ---: |" * (columns - 1)


def gradients(lines: Sequence[Line], candidate: str) -> float:
    """Return the gradients that a candidate takes, as a multiple of the fixed rate's: a geometric mean of problems."""
    units = _by_unit(lines)
    taken = {key: sum(one["evaluations"] for one in runs) for key, runs in units.items()}
    ratios = [taken[problem, candidate] / taken[problem, BASELINE] for problem in problems(lines)]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def lost(lines: Iterable[Line]) -> list[str]:
    """Return a line per candidate and problem that lost runs: how many, and why."""
    found = []
    for (problem, candidate), runs in _by_unit(lines).items():
        gone = [one for one in runs if one["best"] is None]
        unknown = sum(one["lr"] is None for one in gone if CANDIDATES[candidate].rate == "range test")
        if gone:
            why = f"{len(gone) - unknown} diverged" if unknown < len(gone) else ""
            why += f"{' and ' if why and unknown else ''}{f'{unknown} had no suggestion' if unknown else ''}"
            found.append(f"{candidate} on {problem}: of {len(runs)} runs {why}")
    return found


def _by_unit(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    found: dict[tuple[str, str], list[Line]] = {}
    for one in lines:
        if one["candidate"] in CANDIDATES:
            found.setdefault((one["problem"], one["candidate"]), []).append(one)
    return found


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(path: Path) -> None:
    """Print the tables.

    Args:
        path: The file of `benchmarks.automatic_rates`.
    """
    lines = read(path)
    print("the fixed learning rates", *calibration(lines), "", sep="\n")
    for against in (BASELINE, ON_DATA):
        print(f"against {against}, by the best epoch", *summary(lines, against), "", sep="\n")
        print(*table(lines, against), "", sep="\n")
        print(f"against {against}, by the last epoch", *summary(lines, against, "last"), "", sep="\n")
    print("runs lost", *(lost(lines) or ["none"]), "", sep="\n")
    print(f"processor time of all trainings: {sum(one['seconds'] for one in lines) / 60:.0f} minutes\n")
    for name, value in environment.describe().items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
