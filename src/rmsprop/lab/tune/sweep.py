"""The range test of a problem, over several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from rmsprop.lab.optimizers import make
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.tune.range_test import find_lr
from rmsprop.lab.tune.reading import LrRange
from rmsprop.lab.tune.trials import Setting, Trials

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
