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
from typing import Literal

import numpy as np

from benchmarks import environment
from benchmarks.automatic_candidates import BASELINE, CANDIDATES
from benchmarks.automatic_rates import CALIBRATION, Line, calibrated, loss, read, scores
from rmsprop.lab.compare.statistics import (
    Estimate,
    Floats,
    differences,
    estimate,
    interquartile_mean,
    resamples,
    simultaneous,
)

Outcome = Literal["better", "same", "worse", "harm"]
OTHERS = tuple(name for name in CANDIDATES if name != BASELINE)
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
    """Return a ratio in so many digits as a person reads: 0.98, 12, 3e5, and ∞."""
    if math.isinf(ratio):
        return "∞"
    if 1e-2 <= ratio < 1e3:
        return f"{ratio:#.2g}".rstrip(".") if ratio < 99.5 else f"{ratio:.0f}"
    return f"{ratio:.0e}".replace("e+0", "e").replace("e-0", "e-")


def losses(lines: Iterable[Line], problem: str, candidate: str, which: str) -> Floats:
    """Return the loss of each run, in the order of the seeds."""
    runs = [one for one in lines if (one["problem"], one["candidate"]) == (problem, candidate)]
    return np.array([loss(one, which) for one in sorted(runs, key=lambda one: one["seed"])])


def verdict(lines: Sequence[Line], problem: str, candidate: str, which: str = "best") -> Verdict:
    """Return how a candidate does on a problem, by the rule in `benchmarks.automatic_rates`.

    Args:
        lines: What was written.
        problem: The problem.
        candidate: A key of `CANDIDATES`.
        which: The loss of the ``"best"`` epoch or the ``"last"``. Default the best.
    """
    own, fixed = (losses(lines, problem, name, which) for name in (candidate, BASELINE))
    difference = interval(differences(own, fixed))
    outcome: Outcome = "same"
    if interval(differences(own, MARGIN * fixed)).low > 0.0:
        outcome = "harm"
    elif difference.decided:
        outcome = "worse" if difference.low > 0.0 else "better"
    ratio = float(interquartile_mean(own) / interquartile_mean(fixed))
    return Verdict(ratio, outcome, int(np.isinf(own).sum()), len(own))


def interval(values: Floats) -> Estimate:
    """Return the interval of a paired difference: exact for one run, which is all where nothing is random."""
    level = simultaneous(len(OTHERS))
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
    def mean(self) -> float:
        """The geometric mean of the ratios, infinite if one of them is."""
        return math.exp(sum(math.log(one.ratio) for one in self.verdicts.values()) / len(self.verdicts))

    @property
    def lost(self) -> int:
        """How many runs diverged or had no learning rate."""
        return sum(one.lost for one in self.verdicts.values())

    @property
    def wins(self) -> bool:
        """Whether the rule is met."""
        better, worse = self.count("better"), self.count("worse")
        return not self.count("harm") and better >= SHARE * len(self.verdicts) and better > worse


def summaries(lines: Sequence[Line], which: str = "best") -> dict[str, Summary]:
    """Return how each candidate does.

    Args:
        lines: What was written.
        which: As for `verdict`.
    """
    return {name: Summary({each: verdict(lines, each, name, which) for each in problems(lines)}) for name in OTHERS}


def problems(lines: Iterable[Line]) -> list[str]:
    """Return the problems in their order."""
    return list(dict.fromkeys(one["problem"] for one in lines if one["candidate"] == CALIBRATION))


def calibration(lines: Sequence[Line]) -> list[str]:
    """Return the lines on the fixed learning rate: the score of each, and what the problems say without one of them."""
    chosen = calibrated(lines)
    without = [calibrated([one for one in lines if one["problem"] != problem]) for problem in problems(lines)]
    return [
        "| learning rate | " + " | ".join(f"{lr:g}" for lr in scores(lines)) + " |",
        "| --- |" + " ---: |" * len(scores(lines)),
        "| decades above the best | " + " | ".join(f"{score:.2f}" for score in scores(lines).values()) + " |",
        "",
        f"chosen: {chosen:g}; without any one problem, the others choose the same in {without.count(chosen)} of "
        f"{len(without)} cases",
    ]


def table(lines: Sequence[Line], which: str = "best") -> list[str]:
    """Return the table of all problems and candidates.

    Args:
        lines: What was written.
        which: As for `verdict`.
    """
    found = summaries(lines, which)
    rows = [
        [f"`{each}`", f"{interquartile_mean(losses(lines, each, BASELINE, which)):.3g}"]
        + [found[name].verdicts[each].cell for name in OTHERS]
        for each in problems(lines)
    ]
    return [_row(["problem", "loss, fixed", *OTHERS]), "| --- |" + " ---: |" * (1 + len(OTHERS)), *map(_row, rows)]


def summary(lines: Sequence[Line], which: str = "best") -> list[str]:
    """Return the table of all candidates, with what they cost.

    Args:
        lines: What was written.
        which: As for `verdict`.
    """
    head = [
        "candidate",
        "better",
        "not distinguishable",
        "worse",
        "harm",
        "lost",
        "mean",
        "gradients",
        "wins",
    ]
    rows = [
        [
            name,
            *(str(one.count(outcome)) for outcome in MARKS),
            str(one.lost),
            times(one.mean),
            f"{gradients(lines, name):.2f}",
            "yes" if one.wins else "no",
        ]
        for name, one in summaries(lines, which).items()
    ]
    return [_row(head), "| --- |" + " ---: |" * (len(head) - 1), *map(_row, rows)]


def gradients(lines: Iterable[Line], candidate: str) -> float:
    """Return the gradients that a candidate takes, as a multiple of the fixed rate's: a geometric mean of problems."""
    units = _by_unit(lines)
    taken = {key: sum(one["evaluations"] for one in runs) for key, runs in units.items()}
    ratios = [taken[problem, name] / taken[problem, BASELINE] for problem, name in units if name == candidate]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def lost(lines: Iterable[Line]) -> list[str]:
    """Return a line per candidate and problem that lost runs: how many, and why."""
    found = []
    for (problem, candidate), runs in _by_unit(lines).items():
        gone = [one for one in runs if one["best"] is None]
        unknown = sum(one["lr"] is None for one in gone if CANDIDATES[candidate].rate != "own")
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
    print("the fixed learning rate", *calibration(lines), "", sep="\n")
    print("all candidates, by the best epoch", *summary(lines), "", sep="\n")
    print("all problems, by the best epoch", *table(lines), "", sep="\n")
    print("all candidates, by the last epoch", *summary(lines, "last"), "", sep="\n")
    print("runs lost", *(lost(lines) or ["none"]), "", sep="\n")
    print(f"processor time of all trainings: {sum(one['seconds'] for one in lines) / 60:.0f} minutes\n")
    for name, value in environment.describe().items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
