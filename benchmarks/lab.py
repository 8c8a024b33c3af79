"""What the lab's comparison finds on digits: a table of optimizers, and a check of sanity.

    python -m benchmarks.lab > benchmarks/results/<date>-<machine>/lab.txt

The check is that of Choi et al., On Empirical Comparisons of Optimizers for Deep Learning, arXiv 1910.05446, 2019: an
optimizer that contains another one, tuned with a large budget, must not do worse. RMSProp with momentum contains
momentum: a large ε makes the denominator a constant.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare import Budget, compare
from rmsprop.lab.compare.analysis import analyse
from rmsprop.lab.compare.cache import default_folder
from rmsprop.lab.compare.results import best_validation
from rmsprop.lab.compare.sentences import headline
from rmsprop.lab.optimizers import choose, row
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.conventions import one_thread

COMPARED = ("rmsprop", "adam", "nesterov", "momentum", "sgd", "adagrad", "adadelta")
RATES, SEEDS, TUNING = 16, 20, 1_000_000
# Above 30 trials everything is searched: learning rate, decay, ε and momentum.
LARGE = Budget(name="large", trials=60, studies=5, seeds=SEEDS)


def table(problem: Problem) -> None:
    """Print each optimizer's test accuracy with the best of 16 learning rates, over 20 seeds."""
    print(f"{problem.name}: {RATES} learning rates each, tuned on one seed; test accuracy of {SEEDS} others")
    for name in COMPARED:
        rates = [row(name).space["lr"].at(i / (RATES - 1)) for i in range(RATES)]
        tried = train_together(problem, [Job(choice=choose(name, lr), seed=TUNING) for lr in rates])
        best = min(zip(tried, rates, strict=True), key=lambda pair: best_validation(pair[0]))[1]
        jobs = [Job(choice=choose(name, best), seed=seed) for seed in range(SEEDS)]
        print(f"{name:10} lr {best:<10.3g} {_spread(train_together(problem, jobs, test=True))}", flush=True)


def _spread(curves: Sequence[Curve]) -> str:
    values = [curve.test_metric for curve in curves]
    return f"{np.mean(values):.4f} ± {statistics.stdev(values):.4f} (mean and standard deviation)"


def inclusion(problem: Problem) -> None:
    """Print what RMSProp with momentum and momentum reach when both are tuned with a large budget."""
    names = ("rmsprop-momentum", "momentum")
    found = compare(problem, optimizers=names, budget=LARGE, cache=default_folder())
    runs = {n: [run for run in found.runs if (run.track, run.optimizer) == ("tuned", n)] for n in names}
    reached = {name: [best_validation(run.curve) for run in runs[name]] for name in names}
    print(f"{problem.name}: best validation objective, {LARGE.trials} trials, {LARGE.studies} studies, {SEEDS} seeds")
    for name in names:
        chosen = sorted({run.choice.settings for run in runs[name]})
        print(f"{name:17} median {np.median(reached[name]):.5f}; tuned to {'; '.join(chosen)}")
    differences = np.subtract(reached[names[0]], reached[names[1]])
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    print(f"paired difference {differences.mean():+.5f} ± {error:.5f} (mean and its standard error; below 0: RMSProp)")
    print(headline(analyse(found)))
    for note in found.notes:
        print(note)


if __name__ == "__main__":
    with one_thread():
        table(load("digits"))
        inclusion(load("digits"))
