"""How long one step of each optimizer takes on a single model, as a person would train it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rmsprop.lab.embeddings import prepare
from rmsprop.lab.held_out import HeldOut, follow
from rmsprop.lab.optimizers import average_of, bare, choose, make, row
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.problems.problem import Problem
from rmsprop.torch import ScheduleFreeRMSprop

# One step of each in turn, so that a disturbance meets all optimizers, and the median of many forgets it: on two busy
# cores medians of 35 steps, five at a time, differed by a factor of up to 5 between calls.
_ROUNDS = 200
_MOST_SECONDS = 5.0
_WARM_UP = 3


def seconds_per_step(
    problem: Problem,
    optimizers: Sequence[str],
    batch_size: int,
    on_round: Callable[[float], object] = lambda share: None,
) -> dict[str, float]:
    """Measure one step of each optimizer with its defaults: gradient and update of one model.

    Args:
        problem: The problem.
        optimizers: Their names; an EMA is part of the step, and SWA, once per epoch, costs nothing worth
            measuring.
        batch_size: Rows per step.
        on_round: Called with the share of the work that is done, above 0 and at last 1. Default: nothing is.

    Returns:
        The median over the rounds, in seconds, for each optimizer.
    """
    steps = {name: _stepper(problem, name, batch_size) for name in dict.fromkeys(map(_timed, optimizers))}
    for step in steps.values():
        for _ in range(_WARM_UP):  # also allocates state
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    begin = time.perf_counter()
    done = 0.0
    while done < 1.0:
        for name, step in steps.items():
            before = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - before)
        rounds = len(next(iter(seconds.values())))
        done = min(1.0, max(rounds / _ROUNDS, (time.perf_counter() - begin) / _MOST_SECONDS))
        on_round(done)
    return {name: median(seconds[_timed(name)]) for name in optimizers}


def _timed(name: str) -> str:
    """Return the name of the optimizer whose step costs as much."""
    return bare(name) if average_of(name) == "swa" else name


def _stepper(problem: Problem, name: str, batch_size: int) -> Callable[[], None]:
    model = problem.model(0)
    prepare(model, problem, name)
    optimizer: Any = make(choose(name), model.parameters())
    if isinstance(optimizer, ScheduleFreeRMSprop):
        optimizer.train()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn()) if average_of(name) == "ema" else None
    rows = row_order(0, 1, len(problem.train))[:batch_size]
    x, y = problem.train.x[rows], problem.train.y[rows]
    held_out = HeldOut(len(problem.train), batch_size).of(rows, 0) if row(name).holds_out else None

    def objective(some: Tensor) -> Tensor:
        return problem.objective(model.parameters(), model(problem.train.x[some]), problem.train.y[some])

    def step() -> None:
        if held_out:
            follow(optimizer.tuner, objective, *held_out)
        else:
            optimizer.zero_grad()
            problem.objective(model.parameters(), model(x), y).backward()
            optimizer.step()
        if averaged is not None:
            averaged.update_parameters(model)

    return step
