"""From a problem to a recommendation: range test, verification, maps, joint search, and a comparison with new seeds."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import rmsprop
from rmsprop.dialects import get_dialect
from rmsprop.lab.compare.cluster import cluster as workers_of
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.checks import check
from rmsprop.lab.problems.conventions import few_threads, one_thread
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.tune.budgets import BUDGETS, TuningBudget
from rmsprop.lab.tune.comparison import compare, good_lrs, recommended, winners
from rmsprop.lab.tune.lr_range import LrRange
from rmsprop.lab.tune.maps import draw_maps
from rmsprop.lab.tune.results import FRESH_SEEDS, Tuning
from rmsprop.lab.tune.trials import Setting, Trials, rounded
from rmsprop.lab.tune.verification import search, sweep, verify

# Where the verification starts if the range test finds nothing and the dialect has no default: Keras' default.
_FALLBACK_LR = 1e-3
# The last comparison has seeds of its own, from this one on.
_FINAL_SEEDS = 1000
# Median ends of runs need a few epochs.
_FEWEST_EPOCHS = 3


def tune(
    problem: Problem,
    *,
    dialect: str = "torch",
    budget: str = "standard",
    seeds: int | None = None,
    cluster: str | None = None,
    cache: Path | str | None = None,
    fresh: bool = False,
    on_progress: Callable[[str, int, int], object] | None = None,
    **rule: Any,
) -> Tuning:
    """Find a learning rate, a decay and an ε for a problem, from its training and validation rows alone.

    A range test over several seeds suggests a learning rate; short runs at a third, at it and at three times it verify
    it, and move on if a neighbour is better. Around it come maps and a joint search. Runs of full length, with seeds
    that no earlier stage has seen, verify the learning rate again and compare with it what was best in maps and search:
    another rule is recommended only if its loss is lower by more than 5 % and by more than chance. What comes of the
    recommended one is told from as many seeds more, with which nothing was chosen.

    A tuning that was interrupted goes on where it was if ``cache`` is the same, to the same result.

    Args:
        problem: The problem.
        dialect: Whose RMSProp: a key of `rmsprop.DIALECTS`. Default ``"torch"``.
        budget: How much is tried: a key of `rmsprop.lab.tune.budgets.BUDGETS`. Default ``"standard"``.
        seeds: Seeds of the last comparison, at least 2. Default: the budget's.
        cluster: The address of a Dask scheduler, such as ``"tcp://host:8786"``, on whose workers to train, with a
            ``cache`` that they share. The range test stays in this process. Every run then has one thread, as a small
            model's always has: the results are those of one thread here. Default: none.
        cache: The folder of runs that are done already; one that can't be written in is noted. Default: none is kept.
        fresh: Do all runs anew, and replace those in the cache. Default False.
        on_progress: Called with the stage, what is done and what there is to do. Default None.
        **rule: Fields of `rmsprop.Rule` that are fixed; the others start from the dialect's and may be changed.

    Returns:
        What was found.

    Raises:
        InputError: If a number is out of range, or the problem can't be trained on, or the cluster can't be used.
        LostWorkerError: If a cluster ends before its time; what was done is in the cache.
        ValueError: If the dialect or the budget is unknown or a field is out of range.
        TypeError: If a field is unknown or something of another type.

    Examples:
        >>> from rmsprop.lab.problems import load
        >>> found = tune(load("linear"), budget="quick", seeds=2, decay=0.9, eps=1e-8)
        >>> 0.003 < found.recommended.tried.setting.lr < 1
        True
    """
    rows, count = _checked(problem, budget, seeds)
    fixed = {name: value for name, value in rule.items() if value is not None}
    folder = None if cache is None else Path(cache)
    start = Setting(dialect=dialect, rule=get_dialect(dialect).rule_with(**fixed), lr=_FALLBACK_LR)
    short = min(problem.epochs, max(_FEWEST_EPOCHS, round(rows.short * problem.epochs)))
    final_seeds = tuple(range(_FINAL_SEEDS, _FINAL_SEEDS + count))
    threads = one_thread() if cluster else few_threads(problem.model(0), problem.batch_size)
    with threads, workers_of(cluster, problem, folder, fresh=fresh) as theirs:
        trials = Trials(problem, on_progress, folder, fresh, theirs)
        found = sweep(trials, start, range(rows.sweeps))
        verification = verify(trials, "verifying", start.with_(lr=_first_lr(found, dialect)), range(rows.seeds), short)
        centre = verification.best.setting
        map_seeds = range(rows.map_seeds)
        maps = draw_maps(trials, centre, rows, fixed, map_seeds, short)
        samples = search(trials, centre, rows.samples, fixed, map_seeds, short)
        ladder, contenders = compare(trials, centre, winners(centre, maps, samples), final_seeds)
        chosen = recommended(contenders)
        fresh_seeds = range(FRESH_SEEDS, FRESH_SEEDS + count)
        (told,) = trials.run("fresh seeds", [chosen.tried.setting], fresh_seeds, problem.epochs)
    return Tuning(
        problem=problem,
        dialect=dialect,
        rule=start.rule,
        choices=fixed,
        budget=budget,
        short_epochs=short,
        epochs=problem.epochs,
        seeds=final_seeds,
        range_test=found,
        verification=verification,
        maps=maps,
        samples=samples,
        ladder=ladder,
        contenders=contenders,
        recommended=chosen,
        fresh=told,
        untrained=trials.untrained(final_seeds),
        good_lrs=good_lrs(contenders),
        versions={"rmsprop": rmsprop.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
        runs=trials.runs,
        cached=trials.cached,
        notes=tuple(trials.notes),
    )


def _checked(problem: Problem, budget: str, seeds: int | None) -> tuple[TuningBudget, int]:
    """Return the budget and the number of seeds of the last comparison, if all can be used."""
    if not isinstance(problem, Problem):
        raise TypeError(
            f"problem is a {type(problem).__name__}: give a Problem, such as rmsprop.lab.problems.load gives"
        )
    if budget not in BUDGETS:
        raise ValueError(f"budget is {budget!r}: choose one of {', '.join(BUDGETS)}")
    count = BUDGETS[budget].final_seeds if seeds is None else seeds
    if not isinstance(count, int):
        raise TypeError(f"seeds is {count!r}: give a whole number")
    if count < 2:
        raise InputError(f"--seeds is {count}: at least 2 are needed to tell a difference from chance")
    check(problem)
    return BUDGETS[budget], count


def _first_lr(found: LrRange, dialect: str) -> float:
    if found.problem:
        return get_dialect(dialect).lr or _FALLBACK_LR
    return rounded(found.suggestion)
