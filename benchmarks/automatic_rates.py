"""Whether a learning rate that nobody chooses is as good as a fixed one: the trainings, on all problems of the lab.

    python -m benchmarks.automatic_rates benchmarks/results/<date>-<machine>-automatic-rates/runs.jsonl

`benchmarks.automatic_candidates` says what is compared, and `python -m benchmarks.automatic_rates_table` what comes of
it. The protocol is that of `rmsprop compare`: `rmsprop.lab.batched` trains, so that the split, the initial weights, the
order of the rows and what counts as diverged are its own; epochs and batch size are the problem's; the seeds that
choose the fixed learning rate are none of those that are reported; every run counts. 20 seeds are reported, 10 on the
three problems that take the most time, and one on a surface without noise, where nothing is random.

The fixed learning rate is one for all problems, with a warm-up over a twentieth of the steps and a cosine to 0. Of
nine, half a decade apart, it is the one of the least score: the mean over problems of the common logarithm of how many
times the loss at the best of the nine its loss is, at most 10 times on any problem. Both are medians of the tuning
seeds. So the candidates are held against a rate that knows these problems, but none of them in particular.

The loss of a run is the lowest objective on the validation rows after an epoch, minus the least possible where that is
known. There, a run that has closed all but 1e-6 of the first gap counts as having closed just so much: smaller losses
on noiseless surfaces are no one's concern. A run that diverged, and one without a suggestion by the range test, has an
infinite loss.

What "wins" means was written down before the first run. Per problem, all intervals hold together at 95 % (Bonferroni
over the candidates), of interquartile means of differences seed by seed, as in `rmsprop.lab.compare.statistics`; where
every seed gives the same run, the difference is exact. A candidate

1. does harm on a problem if the interval of its loss minus 1.1 times the fixed rate's lies above 0: it is
   distinguishably worse, and by more than a tenth;
2. is better on a problem (worse) if the interval of its loss minus the fixed rate's lies below 0 (above 0).

It wins if it does harm on no problem, is better on at least a third of them (6 of 18), and is better on more than it is
worse on. Only then is it worth a name, ``lr="auto"``: who sets it gives up a rate that is known to work.

A line is appended for each run, and those that are there are not done again: a stop loses at most the candidate of a
problem that is at work.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from benchmarks.automatic_candidates import BASELINE, CANDIDATES, Candidate, Vmapped, suggestion
from benchmarks.entry import THREADS
from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare.protocol import tuning_seed
from rmsprop.lab.compare.results import best_validation
from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.problems.defaults import PROBLEMS

Line = Mapping[str, Any]
GRID = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-8, 1))
TUNING, REPORTED = tuple(map(tuning_seed, range(3))), tuple(range(20))
# Half of the seeds serve where the trainings take nine tenths of all the time.
SLOW = ("digits-cnn", "english", "cartpole")
CALIBRATION = "calibration"
# The most that a problem counts in the score of a learning rate, in decades.
WORST = 1.0
# The share of the first gap to a known optimum that doesn't count any more.
CLOSED = 1e-6


class Unit(NamedTuple):
    """The runs of a candidate on a problem, which are trained together.

    Args:
        problem: The name of the problem.
        candidate: A key of `CANDIDATES`, or `CALIBRATION`.
        lr: The calibrated learning rate; not a number while it is not known.
    """

    problem: str
    candidate: str
    lr: float = math.nan


def train(unit: Unit) -> list[Line]:
    """Train.

    Args:
        unit: What.

    Returns:
        A line per run.
    """
    begun, problem = time.process_time(), load(unit.problem)
    seeds = seeds_of(problem, TUNING if unit.candidate == CALIBRATION else REPORTED)
    if unit.candidate == CALIBRATION:
        runs = [(seed, lr, 0) for lr in GRID for seed in seeds]
    elif CANDIDATES[unit.candidate].rate == "range test":
        with one_thread():
            runs = [(seed, *suggestion(problem, seed)) for seed in seeds]
    else:
        runs = [(seed, unit.lr, 0) for seed in seeds]
    candidate = CANDIDATES[BASELINE if unit.candidate == CALIBRATION else unit.candidate]
    curves = curves_of(problem, candidate, [run[0] for run in runs], [run[1] for run in runs])
    seconds = (time.process_time() - begun) / len(runs)
    return [
        {
            "problem": unit.problem,
            "candidate": unit.candidate,
            "seed": seed,
            "lr": lr if math.isfinite(lr) and candidate.rate != "own" else None,
            **numbers(curve),
            "evaluations": curve.epochs * curve.steps_per_epoch + before,
            "seconds": round(seconds, 3),
        }
        for (seed, lr, before), curve in zip(runs, curves, strict=True)
    ]


def seeds_of(problem: Problem, seeds: Sequence[int]) -> Sequence[int]:
    """Return those of some seeds that serve: one where nothing is random, as on a surface without noise."""
    if len(problem.train) == 1:
        return seeds[:1]
    return seeds[: len(REPORTED) // 2] if problem.name in SLOW else seeds


def curves_of(problem: Problem, candidate: Candidate, seeds: Sequence[int], lrs: Sequence[float]) -> list[Curve]:
    """Return what comes of a candidate's runs.

    Args:
        problem: What is to be learnt.
        candidate: How.
        seeds: The seed of each run.
        lrs: The learning rate of each run, for those that don't find their own.
    """
    choice = choose("rmsprop+ema" if candidate.averaged else "rmsprop")
    steps = problem.epochs * math.ceil(len(problem.train) / problem.batch_size)
    stepper = partial(Vmapped, candidate.make, np.array(lrs), steps)
    with one_thread(), jax.enable_x64(next(problem.model(0).parameters()).dtype == torch.float64):
        return train_together(problem, [Job(choice=choice, seed=seed) for seed in seeds], test=True, stepper=stepper)


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
    value, optimum = line[which], optimum_of(line["problem"])
    if value is None:
        return math.inf
    return float(value) if optimum is None else max(value - optimum, CLOSED * (line["first"] - optimum))


OPTIMA: dict[str, float | None] = {}


def optimum_of(problem: str) -> float | None:
    """Return the least objective of a problem, where it is known."""
    if problem not in OPTIMA:
        OPTIMA[problem] = load(problem).optimum
    return OPTIMA[problem]


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


def read(path: Path) -> list[dict[str, Any]]:
    """Return what was written to a file, which need not be there.

    Args:
        path: The file.
    """
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def finish(path: Path, wanted: Iterable[Unit]) -> None:
    """Do what is missing of some units, and append it.

    Args:
        path: The file that holds what was done.
        wanted: The units.
    """
    done = {(one["problem"], one["candidate"]) for one in read(path)}
    missing = [unit for unit in wanted if unit[:2] not in done]
    with ProcessPoolExecutor(THREADS, mp_context=get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(train, unit) for unit in missing]):
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in finished.result()))


def main(path: Path) -> None:
    """Choose the fixed learning rate, and train.

    Args:
        path: The file that holds what was done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    finish(path, [Unit(problem, CALIBRATION) for problem in PROBLEMS])
    lr = calibrated(read(path))
    finish(path, [Unit(problem, candidate, lr) for problem in PROBLEMS for candidate in CANDIDATES])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
