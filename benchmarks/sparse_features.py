"""Is RMSProp good or bad at sparse features? Eight optimizers on two problems whose parameters are embeddings.

    out=benchmarks/results/<date>-<machine>-sparse-features
    python -m benchmarks.sparse_features ratings >> $out/runs.jsonl
    python -m benchmarks.sparse_features words >> $out/runs.jsonl

With names behind the problem, of these alone. Every run is a line with its curves; docs/sparse-features.md is computed
from them. The protocol, as it was decided before the first run (a look with seed 1 had shown where learning rates begin
to work):

- A run is a plain PyTorch loop at a constant learning rate, with the problem's epochs and batch size. Gradients are
  the rows that a batch touched, except for "rmsprop" and "adam", where they are dense.
- Each optimizer is tuned alike, by the learning rate alone: `START` divided by 2, itself, and times 2; then on by
  factors of 2 while the best is at an end. A rate is judged by the best validation loss, mean of two seeds that aren't
  reported. Other settings are the defaults; "rmsprop-sparse" takes the rate of "rmsprop", of which it should be a copy.
- Reported are ten other seeds. What counts is the test loss at the epoch of the best validation loss (of ratings the
  squared error without the penalty, of words the negative-sampling loss), and its paired difference from RMSProp.
- The test rows are split into thirds of about equal size by how often their id is among the training rows: the item's
  of a rating, the first word's of a pair.
- Nothing is left out: problems, sizes and epochs are as committed with this text.

Expected: dense and rows give RMSProp the same curve. A row that wasn't touched for k steps has v decayed by 0.99^k, so
that the next step is up to ten times the learning rate, however often it was touched: rare ids never settle, and
RMSProp is behind AdaGrad on the rarest third and little elsewhere. Lazy rows divide by what the row itself has seen,
and come nearer to AdaGrad. Adam moves a rare row for many steps after its one gradient, and does no better; SparseAdam
is better than Adam there. SGD doesn't scale the steps of rare ids up: behind everyone on words, near them on ratings.
Rows are no faster than dense gradients with so small tables.

"rmsprop-rowwise" (one average per row, FBGEMM's) was added when the others had been seen, under the same protocol.
Expected of it: between lazy rows and the exact ones, as it decays at visits alone, and no better than either.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rmsprop.lab.embeddings import give_rows
from rmsprop.lab.optimizers import choose, make
from rmsprop.lab.problems import Data, Problem, load
from rmsprop.lab.problems.conventions import is_lost, one_thread, row_order
from rmsprop.lab.problems.problem import predict

PROBLEMS = ("ratings", "words")
# Optimizer -> the learning rate in the middle of the first three, for ratings and for words.
START: Mapping[str, tuple[float, float]] = {
    "rmsprop": (0.005, 0.005),
    "rmsprop-lazy": (0.01, 0.01),
    "rmsprop-rowwise": (0.01, 0.01),
    "adagrad": (0.1, 0.1),
    "adam": (0.005, 0.005),
    "sparse-adam": (0.01, 0.01),
    "sgd": (1.0, 4.0),
}
DENSE = ("rmsprop", "adam")
COPY = "rmsprop-sparse"
SEEDS, TUNING_SEEDS = tuple(range(10)), (1000, 1001)
# The place of the id in a row by which test rows are split.
_ID = {"ratings": 1, "words": 0}
THIRDS = ("rare", "between", "frequent")


def trained(problem: Problem, name: str, lr: float, seed: int) -> dict[str, Any]:
    """Train once.

    Returns:
        What defines the run; the validation loss and the test losses of all rows and of each third, before the first
        step and after each epoch, infinite once it is lost; and the processor time of the epochs.
    """
    model = problem.model(seed)
    give_rows(model, rows=name not in DENSE)
    optimizer = make(choose(name, lr=lr), model.parameters())
    parts = {"test": problem.test, **thirds(problem)}
    first = problem.evaluate(model, problem.train)[0]
    curves: dict[str, list[float]] = {"validation": [], **{part: [] for part in parts}}
    lost = judge(problem, model, parts, curves, first)
    begin, judging = time.process_time(), 0.0
    for epoch in range(1, problem.epochs + 1):
        if not lost:
            descend(problem, model, optimizer, row_order(seed, epoch, len(problem.train)))
        before = time.process_time()
        lost = judge(problem, model, parts, curves, first) or lost
        judging += time.process_time() - before
    seconds = (time.process_time() - begin - judging) / problem.epochs
    return {"problem": problem.name, "optimizer": name, "lr": lr, "seed": seed, **curves, "seconds": round(seconds, 5)}


def descend(problem: Problem, model: nn.Module, optimizer: torch.optim.Optimizer, order: Tensor) -> None:
    """Go through the training rows once."""
    for rows in order.split(problem.batch_size):
        optimizer.zero_grad()
        loss = problem.objective(model.parameters(), model(problem.train.x[rows]), problem.train.y[rows])
        loss.backward()
        optimizer.step()


def judge(
    problem: Problem, model: nn.Module, parts: Mapping[str, Data], curves: dict[str, list[float]], first: float
) -> bool:
    """Add the losses to the curves, and tell whether the run is lost."""
    lost = is_lost(problem.evaluate(model, problem.validation)[0], first)
    for name, data in {"validation": problem.validation, **parts}.items():
        loss = np.inf if lost else judged(problem, model, data, penalty=name == "validation")
        curves[name].append(float(f"{loss:.6g}"))
    return lost


def judged(problem: Problem, model: nn.Module, data: Data, *, penalty: bool) -> float:
    """Return the loss on some rows, with or without the penalty that that of ratings has."""
    outputs = predict(model, data.x)
    if problem.name == "ratings" and not penalty:
        return (outputs[:, 0] - data.y).square().mean().item()
    return problem.loss(outputs, data.y).item()


def thirds(problem: Problem) -> dict[str, Data]:
    """Return the test rows by how often their id is among the training rows; equal counts stay together."""
    place, test = _ID[problem.name], problem.test
    ids = int(torch.cat([part.x[:, place] for part in problem.parts.values()]).max()) + 1
    often = problem.train.x[:, place].bincount(minlength=ids)[test.x[:, place]]
    low, high = (often.sort().values[len(often) * third // 3] for third in (1, 2))
    masks = (often < low, (often >= low) & (often < high), often >= high)
    return {name: Data(test.x[mask], test.y[mask]) for name, mask in zip(THIRDS, masks, strict=True)}


def score(runs: list[dict[str, Any]]) -> float:
    """Return the mean over runs of the best validation loss after the first epoch."""
    return float(np.mean([min(run["validation"][1:]) for run in runs]))


def tuned(problem: Problem, name: str) -> float:
    """Return the best learning rate, and print the runs that tried others."""
    middle, scores = START[name][PROBLEMS.index(problem.name)], {}

    def tried(lr: float) -> float:
        if lr not in scores:
            runs = [trained(problem, name, lr, seed) for seed in TUNING_SEEDS]
            scores[lr] = score(runs)
            for run in runs:
                say(run)
        return scores[lr]

    rates = [middle / 2, middle, middle * 2]
    while True:
        best = min(rates, key=tried)
        if best == rates[0]:
            rates.insert(0, best / 2)
        elif best == rates[-1]:
            rates.append(best * 2)
        else:
            return best


def say(run: Mapping[str, Any]) -> None:
    """Print a run as a line."""
    print(json.dumps(run), flush=True)


def main(name: str, *optimizers: str) -> None:
    """Tune and report optimizers on a problem, all of them if none is named."""
    problem, rates = load(name), {}
    with one_thread():
        for optimizer in optimizers or START:
            rates[optimizer] = tuned(problem, optimizer)
        if "rmsprop" in rates:
            rates[COPY] = rates["rmsprop"]
        for seed in SEEDS:  # by turns, so that a disturbance of the clock meets all
            for optimizer, lr in rates.items():
                say(trained(problem, optimizer, lr, seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
