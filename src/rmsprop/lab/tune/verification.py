"""A learning rate verified: runs at a third, at it and at three times it, moved until the best is in the middle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rmsprop.lab.optimizers import make
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.tune.lr_finder import find_lr
from rmsprop.lab.tune.lr_range import LrRange
from rmsprop.lab.tune.trials import Setting, Trials, Tried, best, rounded

# Neighbouring learning rates differ by this factor, as in the rule "try a third and three times of it".
FACTOR = 3.0
# A suggestion that is 3⁸ = 6561 times off isn't one; a loss that falls at every rate has no best.
_MOST_MOVES = 8
# Rates whose loss is at most so much above the best are called as good.
AS_GOOD = 0.05


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The runs around a suggested learning rate.

    Args:
        suggested: The learning rate that was to be verified.
        tried: What came of each rate, rising.
        bracketed: Whether the best lies between two that are worse.
    """

    suggested: float
    tried: tuple[Tried, ...]
    bracketed: bool

    @property
    def best(self) -> Tried:
        """The rate with the lowest loss."""
        return best(self.tried)

    @property
    def moved(self) -> bool:
        """Whether another rate than the suggested one was best."""
        return self.best.setting.lr != self.suggested

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, lists and strings, for JSON."""
        return {
            "suggested": self.suggested,
            "best": self.best.setting.lr,
            "moved": self.moved,
            "bracketed": self.bracketed,
            "tried": [one.as_dict() for one in self.tried],
        }


def verify(trials: Trials, stage: str, setting: Setting, seeds: Sequence[int], epochs: int) -> Verification:
    """Run at lr/3, lr and 3·lr, and further on the side that is better, until neither neighbour of the best is better.

    Args:
        trials: Tries settings.
        stage: What to call it while it runs.
        setting: The setting with the suggested learning rate.
        seeds: The seeds, the same at each rate.
        epochs: Epochs of each run.

    Returns:
        The verification.
    """
    rates = {shift: rounded(setting.lr * FACTOR**shift) for shift in (-1, 0, 1)}
    tried: dict[int, Tried] = {}
    for _ in range(_MOST_MOVES):
        new = [shift for shift in rates if shift not in tried]
        found = trials.run(stage, [setting.with_(lr=rates[shift]) for shift in new], seeds, epochs)
        tried |= dict(zip(new, found, strict=True))
        winner = best(list(tried.values()))
        place = next(shift for shift, one in tried.items() if one is winner)
        missing = [shift for shift in (place - 1, place + 1) if shift not in tried]
        if not missing:
            break
        rates |= {shift: rounded(setting.lr * FACTOR**shift) for shift in missing}
    ordered = tuple(tried[shift] for shift in sorted(tried))
    return Verification(suggested=rates[0], tried=ordered, bracketed=not missing)


def as_good(tried: Sequence[Tried], share: float = AS_GOOD) -> tuple[float, float]:
    """Return the range of learning rates whose loss is at most a little above the best.

    Between two rates that were tried the loss is taken to be a straight line over the logarithm of the rate.

    Args:
        tried: Rates that differ in nothing else, rising; at least one that didn't diverge.
        share: How much above the best, as a share of its size. Default 0.05.

    Returns:
        The lowest and the highest such rate. An end that wasn't reached is the last rate that was tried.
    """
    rates = [one.setting.lr for one in tried]
    losses = [one.typical for one in tried]
    lowest = min(losses)
    bound = lowest + share * abs(lowest)
    place = losses.index(lowest)
    left, right = place, place
    while left > 0 and losses[left - 1] <= bound:
        left -= 1
    while right < len(rates) - 1 and losses[right + 1] <= bound:
        right += 1
    low = _crossing(rates, losses, left, left - 1, bound) if left else rates[0]
    high = _crossing(rates, losses, right, right + 1, bound) if right < len(rates) - 1 else rates[-1]
    return low, high


def _crossing(rates: list[float], losses: list[float], inside: int, outside: int, bound: float) -> float:
    if math.isinf(losses[outside]):
        return rates[inside]
    share = (bound - losses[inside]) / (losses[outside] - losses[inside])
    return float(f"{rates[inside] * (rates[outside] / rates[inside]) ** share:.2g}")


# How far the search reaches: a decade of learning rate on either side, memories from 2 to 1000 steps, and ε from where
# it is nothing to where it leaves little of the adaptation (as wide as Choi et al., arXiv 1910.05446, search it).
_LR_REACH = 10.0
_FORGETTING = (1e-3, 0.5)
_EPSILONS = (1e-10, 1e-1)


def search(
    trials: Trials, centre: Setting, samples: int, fixed: Mapping[str, Any], seeds: Sequence[int], epochs: int
) -> tuple[Tried, ...]:
    """Try points of a Halton sequence around a setting, evenly in the logarithms of the rate, of 1 − ρ and of ε.

    Args:
        trials: Tries settings.
        centre: The setting in the middle of the learning rates.
        samples: How many points.
        fixed: Fields of the rule that a person has fixed: they stay. With both decay and ε there is nothing to search.
        seeds: The seeds of each point.
        epochs: Epochs of each run.

    Returns:
        What came of each point.

    Source: Halton, "On the efficiency of certain quasi-random sequences of points", Numerische Mathematik 2, 1960, as
    `scipy.stats.qmc.Halton` computes it.
    """
    free = [name for name in ("decay", "eps") if name not in fixed]
    if not free:
        return ()
    trials.report("joint search", 0, epochs)
    from scipy.stats.qmc import Halton  # takes a second

    sequence = Halton(1 + len(free), scramble=False).fast_forward(1)  # its first point is a corner
    settings = []
    for first, *others in sequence.random(samples):
        fields = {name: _at(name, share) for name, share in zip(free, others, strict=True)}
        lr = rounded(_between(centre.lr / _LR_REACH, centre.lr * _LR_REACH, first))
        settings.append(centre.with_(lr=lr, **fields))
    return tuple(trials.run("joint search", settings, seeds, epochs))


def _at(name: str, share: float) -> float:
    if name == "decay":
        return round(1.0 - rounded(_between(*_FORGETTING, share)), 6)
    return float(f"{_between(*_EPSILONS, share):.1g}")


def _between(low: float, high: float, share: float) -> float:
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))


# As many as `find_lr` takes by default.
STEPS = 100


def sweep(trials: Trials, setting: Setting, seeds: Sequence[int]) -> LrRange:
    """Run a range test with a model and an order of rows of its own for each seed.

    Args:
        trials: Tries settings.
        setting: The rule to test.
        seeds: The seeds.

    Returns:
        The range test, with a repeat per seed.
    """
    problem = trials.problem
    losses = []
    for done, seed in enumerate(seeds):
        model = problem.model(seed)
        found = find_lr(
            model,
            partial(_objective, problem),
            _Rows(problem, seed),
            optimizer=make(setting.choice, model.parameters()),
            steps=STEPS,
            repeats=1,
            loss_takes="model",
        )
        losses.append(found.losses[0])
        trials.report("range test", done + 1, len(seeds))
    return LrRange(found.lrs, np.array(losses))


class _Rows:
    """The training rows in batches, in the same orders as any run's with this seed.

    Args:
        problem: The problem.
        seed: The seed.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed, self.epoch = problem, seed, 0

    def __iter__(self) -> Iterator[Tensor]:
        """Give the indices of each batch of the next epoch."""
        self.epoch += 1
        return iter(torch.split(row_order(self.seed, self.epoch, len(self.problem.train)), self.problem.batch_size))


def _objective(problem: Problem, model: nn.Module, rows: Tensor) -> Tensor:
    outputs = model(problem.train.x[rows])
    return problem.objective(model.parameters(), outputs, problem.train.y[rows])
