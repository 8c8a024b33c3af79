"""Learning rates from gradients: where a run ends that starts from a learning rate 100 times too small or too large.

    python -m benchmarks.learning_rates > benchmarks/results/<date>-<machine>-learning-rates/learning_rates.txt

docs/learning-rates-from-gradients.md quotes what it prints. The best constant learning rate of half-decades is found on
seeds of its own. Every run is judged by its lowest objective on the validation rows, as `rmsprop compare` does, as a
multiple of what the best constant learning rate reaches on the same seeds.

MARTHE and RTHO fit their learning rates to a fifth of the training rows, on which they don't train; validation rows
only judge. They are shown beside the best constant learning rate on the rows that are left. A surface has one row,
which serves for everything. The settings are the defaults of the classes.

First it prints what they cost on one processor, in processor time, which a busy machine changes little.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import environment
from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems import Data, Problem, load
from rmsprop.lab.problems.conventions import is_lost, one_thread, row_order
from rmsprop.torch import HypergradientDescent, Marthe, RMSprop

PROBLEMS = ("bowl", "bowl-noisy", "digits-softmax", "digits", "digits-cnn", "cartpole", "english")
GRID = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-8, 1))
TUNING, REPORTED = range(2), range(10, 13)
STARTS = (0.01, 1.0, 100.0)
# What is shown -> mu, and what v starts from.
MARTHES: Mapping[str, tuple[float, float]] = {
    "MARTHE, mu = 0.9": (0.9, 0.0),
    "RTHO": (1.0, 0.0),
    "MARTHE, mu = 0.9, v0 = 1": (0.9, 1.0),
}
# Where the optimum is known: the share of the first gap that is left when a problem counts as solved.
SOLVED = 1e-6


def lowest(curve: Curve) -> float:
    """Return the lowest validation objective of a run; the one before training counts."""
    finite = curve.validation[np.isfinite(curve.validation)]
    return float(finite.min()) if len(finite) else math.inf


def reached(
    problem: Problem, name: str, lrs: Sequence[float], seeds: Sequence[int], **more: float
) -> dict[float, float]:
    """Return the median of the lowest validation objectives over seeds, for each learning rate to start from."""
    choices = [choose(name, lr=lr) for lr in lrs]
    choices = [replace(choice, options=(*choice.options, *more.items())) for choice in choices]
    jobs = [Job(choice=choice, seed=seed) for choice in choices for seed in seeds]
    curves = train_together(problem, jobs)
    of = {lr: [lowest(c) for c, job in zip(curves, jobs, strict=True) if job.choice.lr == lr] for lr in lrs}
    return {lr: median(values) for lr, values in of.items()}


def split(problem: Problem) -> tuple[Problem, Data]:
    """Return the problem on four fifths of its training rows, and the other fifth."""
    rows, data = len(problem.train), problem.train
    if rows < 10:
        return problem, data
    order = row_order(0, 0, rows)
    some, others = order[rows // 5 :], order[: rows // 5]
    return replace(problem, train=Data(data.x[some], data.y[some])), Data(data.x[others], data.y[others])


def with_marthe(
    problem: Problem, held_out: Data, lr: float, seed: int, mu: float, start: float
) -> tuple[float, float, float]:
    """Return the lowest validation objective of a run, the learning rate it ends with, and evaluations per step."""
    model = problem.model(seed)
    optimizer = RMSprop(model.parameters(), lr=lr, initial_square_avg=start)
    tuner = Marthe(optimizer, mu=mu)
    size, begun = min(problem.batch_size, len(held_out)), 0
    initial, _ = problem.evaluate(model, problem.train)
    best, _ = problem.evaluate(model, problem.validation)
    for epoch in range(1, problem.epochs + 1):
        for rows in torch.split(row_order(seed, epoch, len(problem.train)), problem.batch_size):
            others = (torch.arange(size) + begun) % len(held_out)
            begun += size
            loss, validation_loss = (
                problem.objective(model.parameters(), model(data.x[some]), data.y[some])
                for data, some in ((problem.train, rows), (held_out, others))
            )
            if is_lost(loss.item(), initial) or not math.isfinite(validation_loss.item()):
                return best, optimizer.param_groups[0]["lr"], tuner.evaluations / max(tuner.gradients, 1)
            tuner.step(loss, validation_loss)
        objective, _ = problem.evaluate(model, problem.validation)
        best = min(best, objective) if math.isfinite(objective) else best
    return best, optimizer.param_groups[0]["lr"], tuner.evaluations / tuner.gradients


def line(problem: Problem, what: str, found: Sequence[float], tuned: float, first: float, seconds: float) -> str:
    """Return a method's line: what each start reached, as a multiple of the tuned objective too, and if it is near."""
    near = [_is_near(problem, value, tuned, first) for value in found]
    cells = [_cell(value, tuned) + ("" if ok else "!") for value, ok in zip(found, near, strict=True)]
    return f"  {what:26} {' '.join(f'{cell:21}' for cell in cells)} {seconds:6.0f} s"


def _cell(value: float, tuned: float) -> str:
    return f"{value:9.4g} {value / tuned:8.3g}x" if tuned else f"{value:9.4g}         -"


def _is_near(problem: Problem, value: float, tuned: float, first: float) -> bool:
    """Whether a run ends within 10 % of the tuned objective, or has solved a problem whose optimum is known."""
    if problem.optimum is not None and value - problem.optimum <= SOLVED * (first - problem.optimum):
        return True
    return value <= 1.1 * tuned


def from_zero(problem: Problem, starts: Sequence[float], tuned: float, first: float) -> None:
    """Print how hypergradient descent does."""
    begun = time.perf_counter()
    found = reached(problem, "rmsprop-hd", starts, REPORTED)
    print(line(problem, "HD", list(found.values()), tuned, first, time.perf_counter() - begun), flush=True)


def from_one(problem: Problem, starts: Sequence[float], tuned: float, first: float) -> None:
    """Print how it does where v starts from 1, as TensorFlow's does, and what that brings by itself."""
    for what, name in (("constant, v0 = 1", "rmsprop"), ("HD, v0 = 1", "rmsprop-hd")):
        begun = time.perf_counter()
        found = reached(problem, name, starts, REPORTED, initial_square_avg=1.0)
        print(line(problem, what, list(found.values()), tuned, first, time.perf_counter() - begun), flush=True)


def measure(name: str) -> None:
    """Print how the methods do on a problem."""
    problem = load(name)
    begun = time.perf_counter()
    scores = reached(problem, "rmsprop", GRID, TUNING)
    best = min(scores, key=lambda lr: scores[lr])
    starts = [best * factor for factor in STARTS]
    first, _ = problem.evaluate(problem.model(0), problem.validation)
    constant = reached(problem, "rmsprop", starts, REPORTED)
    tuned = constant[starts[1]]
    print(f"\n{name}: best constant learning rate {best:g}; starts from 1/100 of it, it, and 100 times it")
    print(line(problem, "constant", list(constant.values()), tuned, first, time.perf_counter() - begun), flush=True)
    from_zero(problem, starts, tuned, first)
    from_one(problem, starts, tuned, first)
    fewer, held_out = split(problem)
    if fewer is not problem:
        begun = time.perf_counter()
        constant = reached(fewer, "rmsprop", starts, REPORTED)
        tuned = constant[starts[1]]
        words = "constant, 4/5 of the rows"
        print(line(fewer, words, list(constant.values()), tuned, first, time.perf_counter() - begun), flush=True)
    for what, settings in MARTHES.items():
        begun = time.perf_counter()
        found = [[with_marthe(fewer, held_out, lr, seed, *settings) for seed in REPORTED] for lr in starts]
        values = [median(run[0] for run in runs) for runs in found]
        cost = median(run[2] for runs in found for run in runs)
        rates = ", ".join(f"{median(run[1] for run in runs):.2g}" for runs in found)
        text = line(fewer, what, values, tuned, first, time.perf_counter() - begun)
        print(f"{text}; {cost:.2f} evaluations a step; ends with learning rates {rates}", flush=True)


def costs() -> None:
    """Print how long steps take, and a gradient with and without a Hessian-vector product."""
    sizes = [(1000, 1000)] * 20
    plain, tuned, torchs = (_optimizer(make, sizes) for make in (RMSprop, RMSprop, torch.optim.RMSprop))
    HypergradientDescent(tuned)
    kernel, with_hd, foreach = (_least(optimizer.step) for optimizer in (plain, tuned, torchs))
    print(
        f"a step of 20 M parameters, one thread: {1e3 * kernel:.1f} ms, {1e3 * with_hd:.1f} ms with HD, "
        f"{1e3 * foreach:.1f} ms of torch.optim.RMSprop"
    )
    for name in ("digits", "digits-cnn", "english"):
        problem = load(name)
        model = problem.model(0)
        along = [torch.ones_like(p) for p in model.parameters()]
        x, y = problem.train.x[: problem.batch_size], problem.train.y[: problem.batch_size]

        def gradient(graph: bool, model: Any = model, problem: Problem = problem, x: Any = x, y: Any = y) -> Any:
            return torch.autograd.grad(problem.loss(model(x), y), list(model.parameters()), create_graph=graph)

        def product(model: Any = model, along: Any = along, gradient: Any = gradient) -> None:
            torch.autograd.grad(gradient(True), list(model.parameters()), along)

        ratio = _least(product) / _least(lambda gradient=gradient: gradient(False))
        print(
            f"{name}: a gradient with a Hessian-vector product takes {ratio:.1f} times as long as without", flush=True
        )


def _optimizer(make: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
    params = [torch.randn(shape, requires_grad=True) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    return make(params, lr=1e-3)


def _least(function: Callable[[], object]) -> float:
    """Return the least processor time of a call, in seconds."""
    seconds = []
    for _ in range(20):
        begun = time.process_time()
        function()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def main() -> None:
    """Print a table per problem: all of them, or those that are named."""
    about = environment.describe()
    with one_thread():
        costs()
        print("\nlowest validation objective, and as a multiple of the tuned one; ! is more than 10 % above it")
        for name in sys.argv[1:] or PROBLEMS:
            measure(name)
    print()
    for name, value in (about | {"load after": environment.load()}).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
