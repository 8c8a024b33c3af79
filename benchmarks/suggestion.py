"""How good the learning rate is that a range test suggests: runs at it, against the best of twelve learning rates.

    python -m benchmarks.suggestion > benchmarks/results/<date>-<machine>/suggestion.txt

docs/tune.md and `rmsprop.lab.tune.lr_range` quote what it prints.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.tune.lr_range import LrRange
from rmsprop.lab.tune.trials import Setting, Trials, best
from rmsprop.lab.tune.verification import sweep
from rmsprop.rule import Rule

PROBLEMS = ("digits", "breast-cancer", "wine", "diabetes", "linear")
MOMENTA, STARTS = (0.0, 0.9), (0.0, 1.0)
RATES = tuple(float(rate) for rate in np.geomspace(3e-5, 3.0, 12))
EPOCHS, SEEDS, TESTS, REPEATS = 30, 6, 6, 3
WAYS: Mapping[str, Callable[[LrRange], float]] = {
    "suggestion": lambda found: found.suggestion,
    "a tenth of the lowest": lambda found: found.lowest_loss_lr / 10,
}


def ratios(problem: Problem, rule: Rule) -> tuple[dict[str, list[float]], float]:
    """Return the loss at what each range test says, as a multiple of that at the best rate, and this rate."""
    trials, start = Trials(problem), Setting(dialect="torch", rule=rule, lr=1.0)
    found = [one for one in _tests(trials, start) if not one.problem]
    rates = [way(one) for way in WAYS.values() for one in found]
    settings = [start.with_(lr=rate) for rate in (*RATES, *rates)]
    tried = trials.run("", settings, range(1000, 1000 + SEEDS), EPOCHS)
    lowest = best(tried[: len(RATES)])
    losses = iter(tried[len(RATES) :])
    return {way: [next(losses).typical / lowest.typical for _ in found] for way in WAYS}, lowest.setting.lr


def _tests(trials: Trials, start: Setting) -> Iterator[LrRange]:
    """Give range tests of three repeats each, as `find_lr` makes them, with seeds that no run has."""
    found = sweep(trials, start, range(TESTS * REPEATS))
    for rows in np.split(found.losses, TESTS):
        yield LrRange(found.lrs, rows)


def _line(name: str, values: Sequence[float]) -> str:
    if not values:
        return f"{name}: none"
    mean = math.exp(np.mean(np.log(values))) if np.isfinite(values).all() else math.inf
    return f"{name}: {mean:.2f} times (geometric mean of {len(values)}), {max(values):.2f} at worst"


def main() -> None:
    """Print a line for each case, and all of them together."""
    print(f"loss after {EPOCHS} epochs as a multiple of that at the best of {len(RATES)} learning rates from")
    print(f"{RATES[0]:g} to {RATES[-1]:g}; in each case {TESTS} range tests of {REPEATS} repeats, and runs of {SEEDS}")
    print("other seeds")
    every: dict[str, list[float]] = {way: [] for way in WAYS}
    for name, momentum, start in itertools.product(PROBLEMS, MOMENTA, STARTS):
        problem = dataclasses.replace(load(name), epochs=EPOCHS)
        found, lr = ratios(problem, Rule.from_dialect("torch", momentum=momentum, initial_square_avg=start))
        print(f"{name}, momentum {momentum:g}, v₀ {start:g}, best at {lr:.2g}", end="; ")
        print("; ".join(_line(way, values) for way, values in found.items()), flush=True)
        for way, values in found.items():
            every[way] += values
    for way, values in every.items():
        print(_line(f"all: {way}", values))


if __name__ == "__main__":
    with one_thread():
        main()
