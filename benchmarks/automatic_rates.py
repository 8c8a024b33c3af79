"""Whether a learning rate that nobody chooses is as good as a fixed one: the trainings, on all problems of the lab.

    python -m benchmarks.automatic_rates benchmarks/results/<date>-<machine>-automatic-rates/runs.jsonl

`benchmarks.automatic_candidates` says what is compared, and `python -m benchmarks.automatic_rates_table` what comes of
it. The protocol is that of `rmsprop compare`: `rmsprop.lab.batched` trains, so that the split, the initial weights, the
order of the rows and what counts as diverged are its own; epochs and batch size are the problem's; the seeds that
choose the fixed learning rate are none of those that are reported; every run counts. 10 seeds are reported, and one on
a surface without noise, where nothing is random.

The fixed learning rate is one for all problems, with a warm-up over a twentieth of the steps and a cosine to 0. Of
nine, half a decade apart, it is the one of the least score: the mean over problems of the common logarithm of how many
times the loss at the best of the nine its loss is, at most 10 times on any problem. Both are medians of the tuning
seeds. So the candidates are held against a rate that knows these problems, but none of them in particular.

The surfaces want far larger rates than most problems with data, and a rate for both is a weak opponent on the latter.
So the candidates are also held against a second fixed rate, calibrated in the same way on the 11 problems with data
alone, and on these only. It was added when the calibration had shown that, before any candidate was compared.

The loss of a run is the lowest objective on the validation rows after an epoch, minus the least possible where that is
known. A run that has closed all but 1e-6 of the first gap counts as having closed just so much: smaller losses on
noiseless surfaces are no one's concern. A run that diverged, and one without a suggestion by the range test, has an
infinite loss.

What "wins" means was written down before the first run. Per problem, all intervals hold together at 95 % (Bonferroni
over the candidates), of interquartile means of differences seed by seed, as in `rmsprop.lab.compare.statistics`; where
every seed gives the same run, the difference is exact. A candidate

1. does harm on a problem if the interval of its loss minus 1.1 times the fixed rate's lies above 0: it is
   distinguishably worse, and by more than a tenth;
2. is better on a problem (worse) if the interval of its loss minus the fixed rate's lies below 0 (above 0).

It wins if it does harm on no problem, is better on at least a third of them (6 of 18; 4 of 11), and is better on more
than it is worse on. Only then is it worth a name, ``lr="auto"``: who sets it gives up a rate that is known to work.

A line is appended for each run, and those that are there are not done again: a stop loses at most the problems at work,
and of those that take long only a candidate.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from torch import Tensor

from benchmarks.automatic_candidates import BASELINE, CANDIDATES, Candidate, Rate, Vmapped, suggestion
from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare.protocol import tuning_seed
from rmsprop.lab.compare.results import best_validation
from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.problems.defaults import PROBLEMS

Line = Mapping[str, Any]
GRID = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-8, 1))
TUNING, REPORTED = tuple(map(tuning_seed, range(3))), tuple(range(10))
# What takes nine tenths of all the time.
SLOW = ("digits-cnn", "english", "cartpole")
# The least objectives that are known: those of surfaces, of which none is below 0, and the others'.
OPTIMA = {"logistic": 0.05982947188180511, "least-squares": 0.48225157777964983}
CALIBRATION = "calibration"
PROCESSES = 4
# The most that a problem counts in the score of a learning rate, in decades.
WORST = 1.0
# The share of the first gap to a known optimum that doesn't count any more.
CLOSED = 1e-6


class Training(NamedTuple):
    """One training.

    Args:
        candidate: A key of `CANDIDATES`, or `CALIBRATION`.
        seed: Gives the initial weights and the order of the rows.
        lr: The learning rate; not a number if the candidate finds its own, or has no suggestion.
        before: How many gradients it took to find that.
    """

    candidate: str
    seed: int
    lr: float = math.nan
    before: int = 0

    @property
    def way(self) -> Candidate:
        """How it is trained."""
        return CANDIDATES[BASELINE if self.candidate == CALIBRATION else self.candidate]


class Unit(NamedTuple):
    """Trainings on a problem that are done together.

    Args:
        problem: The name of the problem.
        candidates: Keys of `CANDIDATES`, or `CALIBRATION` alone.
        lrs: The calibrated learning rates, for those that take one.
    """

    problem: str
    candidates: tuple[str, ...]
    lrs: Mapping[Rate, float] = {}


class Steppers:
    """What moves models of several candidates, each its own.

    Args:
        trainings: Of each model.
        steps: How many steps there will be.
        flat: The parameters, one model a row.
        gradient: Their gradient.
    """

    def __init__(self, trainings: Sequence[Training], steps: int, flat: Tensor, gradient: Tensor) -> None:
        """See the class."""
        self._each, low = [], 0
        for _, group in groupby(trainings, key=lambda one: one.candidate):
            members = list(group)
            rows, low = slice(low, low + len(members)), low + len(members)
            lrs = np.array([one.lr for one in members])
            self._each.append(Vmapped(members[0].way.make, lrs, steps, flat[rows], gradient[rows]))

    def step(self) -> None:
        """Take a step."""
        for each in self._each:
            each.step()


def train(unit: Unit) -> list[Line]:
    """Train.

    Args:
        unit: What.

    Returns:
        A line per training.
    """
    begun, problem = time.process_time(), load(unit.problem)
    with one_thread():
        trainings = [one for candidate in unit.candidates for one in trainings_of(problem, candidate, unit.lrs)]
        curves = curves_of(problem, trainings)
    seconds = (time.process_time() - begun) / len(trainings)
    return [
        {
            "problem": unit.problem,
            "candidate": one.candidate,
            "seed": one.seed,
            "lr": one.lr if math.isfinite(one.lr) else None,
            **numbers(curve),
            "evaluations": curve.epochs * curve.steps_per_epoch + one.before,
            "seconds": round(seconds, 3),
        }
        for one, curve in zip(trainings, curves, strict=True)
    ]


def trainings_of(problem: Problem, candidate: str, lrs: Mapping[Rate, float]) -> list[Training]:
    """Return the trainings of a candidate: those with one seed where nothing is random, as on a noiseless surface.

    Args:
        problem: What is to be learnt.
        candidate: A key of `CANDIDATES`, or `CALIBRATION`.
        lrs: The calibrated learning rates.
    """
    seeds = (TUNING if candidate == CALIBRATION else REPORTED)[: None if len(problem.train) > 1 else 1]
    if candidate == CALIBRATION:
        return [Training(candidate, seed, lr) for lr in GRID for seed in seeds]
    rate = CANDIDATES[candidate].rate
    if rate == "range test":
        return [Training(candidate, seed, *suggestion(problem, seed)) for seed in seeds]
    return [Training(candidate, seed, math.nan if rate == "own" else lrs[rate]) for seed in seeds]


def curves_of(problem: Problem, trainings: Sequence[Training]) -> list[Curve]:
    """Return what comes of some trainings.

    Args:
        problem: What is to be learnt.
        trainings: What to do, those of a candidate side by side.
    """
    choices = {averaged: choose("rmsprop+ema" if averaged else "rmsprop") for averaged in (False, True)}
    jobs = [Job(choice=choices[one.way.averaged], seed=one.seed) for one in trainings]
    steps = problem.epochs * math.ceil(len(problem.train) / problem.batch_size)
    with jax.enable_x64(next(problem.model(0).parameters()).dtype == torch.float64):
        return train_together(problem, jobs, test=True, stepper=partial(Steppers, trainings, steps))


def numbers(curve: Curve) -> dict[str, float | int | None]:
    """Return what is kept of a run; what is infinite is None."""
    kept = {
        "first": float(curve.validation[0]),
        "best": best_validation(curve),
        "last": float(curve.validation[-1]),
        "test": curve.test,
        "test_metric": curve.test_metric,
    }
    return {name: value if math.isfinite(value) else None for name, value in kept.items()} | {
        "diverged_at": curve.diverged_at
    }


def loss(line: Line, which: str = "best") -> float:
    """Return the loss of a run, as the module says.

    Args:
        line: The run.
        which: ``"best"`` of all epochs, or ``"last"``. Default the best.
    """
    if line[which] is None:
        return math.inf
    least = OPTIMA.get(line["problem"], 0.0)
    return float(max(line[which] - least, CLOSED * (line["first"] - least)))


def scores(lines: Iterable[Line]) -> dict[float, float]:
    """Return the score of each learning rate: the mean over problems of the decades above the best one, at most one.

    Args:
        lines: What was written.
    """
    medians: dict[str, dict[float, float]] = {}
    tried = [one for one in lines if one["candidate"] == CALIBRATION]
    for problem in dict.fromkeys(one["problem"] for one in tried):
        of = {lr: [loss(one) for one in tried if (one["problem"], one["lr"]) == (problem, lr)] for lr in GRID}
        medians[problem] = {lr: median(losses) for lr, losses in of.items()}
    return {lr: sum(_decades(losses, lr) for losses in medians.values()) / len(medians) for lr in GRID}


def _decades(losses: Mapping[float, float], lr: float) -> float:
    best = min(losses.values())
    return min(WORST, math.log10(losses[lr] / best)) if math.isfinite(losses[lr]) else WORST


def calibrated(lines: Iterable[Line]) -> float:
    """Return the learning rate of the least score.

    Args:
        lines: What was written.
    """
    found = scores(lines)
    return min(found, key=found.__getitem__)


def with_data(lines: Iterable[Line]) -> list[Line]:
    """Return the lines of the problems that are no surfaces.

    Args:
        lines: What was written.
    """
    return [one for one in lines if one["problem"] not in {*SURFACES, "bowl-noisy"}]


def read(path: Path) -> list[dict[str, Any]]:
    """Return what was written to a file, which need not be there.

    Args:
        path: The file.
    """
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def units(problem: str, candidates: Sequence[str], lrs: Mapping[Rate, float] = {}) -> list[Unit]:
    """Return the trainings of some candidates on a problem: all together, or each alone where they take long."""
    return [Unit(problem, some, lrs) for some in (zip(candidates) if problem in SLOW else [tuple(candidates)])]


def finish(path: Path, wanted: Iterable[Unit]) -> None:
    """Do what is missing of some units, and append it.

    Args:
        path: The file that holds what was done.
        wanted: The units.
    """
    done = {(one["problem"], one["candidate"]) for one in read(path)}
    left = [
        unit._replace(candidates=tuple(one for one in unit.candidates if (unit.problem, one) not in done))
        for unit in wanted
    ]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(train, unit) for unit in left if unit.candidates]):
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in finished.result()))


def main(path: Path) -> None:
    """Choose the fixed learning rate, and train; what takes long comes last.

    Args:
        path: The file that holds what was done.
    """
    names = sorted(PROBLEMS, key=SLOW.__contains__)
    free = [name for name, candidate in CANDIDATES.items() if candidate.rate in ("own", "range test")]
    finish(path, [unit for some in ([CALIBRATION], free) for problem in names for unit in units(problem, some)])
    lines = read(path)
    lrs: dict[Rate, float] = {"all problems": calibrated(lines), "data": calibrated(with_data(lines))}
    finish(path, [unit for problem in names for unit in units(problem, tuple(CANDIDATES), lrs)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
