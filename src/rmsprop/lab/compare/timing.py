"""How long one step of each optimizer takes on a single model, as a person would train it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from rmsprop.lab.optimizers import SWA, choose, make
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.problems.problem import Problem

# Rounds take turns, so that a disturbance meets all optimizers, and their median forgets it.
_ROUNDS = 7
_STEPS = 5
_MOST_SECONDS = 3.0


def seconds_per_step(problem: Problem, optimizers: Sequence[str], batch_size: int) -> dict[str, float]:
    """Measure one step of each optimizer with its defaults: gradient and update of one model.

    Args:
        problem: The problem.
        optimizers: Their names; averaging weights once per epoch costs nothing worth measuring.
        batch_size: Rows per step.

    Returns:
        The median over the rounds, in seconds, for each optimizer.
    """
    steps = {
        name: _stepper(problem, name, batch_size) for name in dict.fromkeys(n.removesuffix(SWA) for n in optimizers)
    }
    for step in steps.values():
        step()  # allocates state, warms up
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    deadline = time.perf_counter() + _MOST_SECONDS
    for round_number in range(_ROUNDS):
        if round_number and time.perf_counter() > deadline:
            break
        for name, step in steps.items():
            begin = time.perf_counter()
            for _ in range(_STEPS):
                step()
            seconds[name].append((time.perf_counter() - begin) / _STEPS)
    return {name: median(seconds[name.removesuffix(SWA)]) for name in optimizers}


def _stepper(problem: Problem, name: str, batch_size: int) -> Callable[[], None]:
    model = problem.model(0)
    optimizer = make(choose(name), model.parameters())
    rows = row_order(0, 1, len(problem.train))[:batch_size]
    x, y = problem.train.x[rows], problem.train.y[rows]

    def step() -> None:
        optimizer.zero_grad()
        problem.objective(model.parameters(), model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
