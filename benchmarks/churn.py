"""A churn table from CSV to predictions, against scikit-learn's MLPClassifier on the same rows and inputs.

    python -m benchmarks.churn > benchmarks/results/<date>-<machine>-churn/churn.txt

The commands are those of docs/churn.md, which quotes what is printed here. Trainings are repeated with other seeds.
scikit-learn gets the inputs as the command prepared them, the same split, the same hidden layer and seeds.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.neural_network import MLPClassifier

from benchmarks import customers, environment
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.defaults import TABLE

SEEDS = range(5)
SCORES = ("loss", "auc", "balanced_accuracy", "f1")
THRESHOLDS = (0.5, 0.3, 0.2, 0.1)
PAGE = Path(__file__).parents[1] / "docs" / "churn.md"
Scores = Mapping[str, float]
Train = Callable[[int, Path], tuple[Scores, float]]


def command(line: str, folder: Path) -> tuple[str, float]:
    """Run a command of the package and return what it prints, notes first, and its seconds of processor time."""
    module = [sys.executable, "-m", *shlex.split(line)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(module, cwd=folder, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{line} ended with {done.returncode}: {done.stderr}")
    return done.stderr + done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def with_rmsprop(options: str) -> Train:
    """Return what trains with the command and returns the scores of the test rows, and seconds."""

    def scored(seed: int, folder: Path) -> tuple[Scores, float]:
        line = f"rmsprop train customers.csv --target churn --seed {seed} --out runs/again --force {options}"
        seconds = command(line, folder)[1]
        found = json.loads((folder / "runs" / "again" / "result.json").read_text(encoding="utf-8"))
        return {name: found["scores"]["test"][name] for name in SCORES}, seconds

    return scored


def with_sklearn(fit: Callable[[Problem, int], Any], *, weighted: bool = False) -> Train:
    """Return what fits a classifier to the same rows and returns the scores of the test rows, and seconds."""

    def scored(seed: int, folder: Path) -> tuple[Scores, float]:
        problem = load(folder / "customers.csv", target=customers.TARGET)
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # that it stops after 200 epochs is its default
            model = fit(problem, seed)
        seconds = time.process_time() - begun
        truth = problem.test.y.numpy()
        weights = _weights(problem)[truth] if weighted else np.ones(len(truth))
        return _scores(truth, model.predict_proba(problem.test.x.numpy())[:, 1], weights), seconds

    return scored


def _weights(problem: Problem) -> np.ndarray:
    """Return what each class weighs, as `--class-weights balanced` has it."""
    y = problem.train.y.numpy()
    return len(y) / 2 / np.bincount(y)


def _scores(truth: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> Scores:
    said = shares > 0.5
    return {
        "loss": float(np.mean(weights * -np.log(np.where(truth == 1, shares, 1.0 - shares)))),
        "auc": roc_auc_score(truth, shares),
        "balanced_accuracy": balanced_accuracy_score(truth, said),
        "f1": f1_score(truth, said),
    }


def _fitted(make: Callable[[int], Any], problem: Problem, seed: int) -> Any:
    return make(seed).fit(problem.train.x.numpy(), problem.train.y.numpy())


def _perceptron(seed: int, **options: Any) -> MLPClassifier:
    return MLPClassifier(TABLE.hidden, random_state=seed, **options)


def _best_epoch(weighted: bool, problem: Problem, seed: int) -> MLPClassifier:
    """Return scikit-learn's perceptron after its best epoch of 200, told by the validation rows as the command does.

    Its own `early_stopping` would hold out some of the training rows, and trains on fewer.
    """
    x, y, held_out = problem.train.x.numpy(), problem.train.y.numpy(), problem.validation.x.numpy()
    truth, model, lowest = problem.validation.y.numpy(), _perceptron(seed), np.inf
    of_class = _weights(problem) if weighted else np.ones(2)
    for _ in range(model.max_iter):
        model.partial_fit(x, y, sample_weight=of_class[y], classes=[0, 1])
        if (loss := log_loss(truth, model.predict_proba(held_out), sample_weight=of_class[truth])) < lowest:
            lowest, best = loss, deepcopy(model)
    return best


def _trainers() -> Mapping[str, Train]:
    return {
        "`rmsprop train`": with_rmsprop(""),
        "`rmsprop train --keep last`": with_rmsprop("--keep last"),
        "`MLPClassifier()`": with_sklearn(lambda *given: _fitted(_perceptron, *given)),
        "`MLPClassifier(early_stopping=True)`": with_sklearn(
            lambda *given: _fitted(lambda seed: _perceptron(seed, early_stopping=True), *given)
        ),
        "`MLPClassifier`, best epoch": with_sklearn(lambda *given: _best_epoch(False, *given)),
        "`LogisticRegression()`": with_sklearn(
            lambda *given: _fitted(lambda seed: LogisticRegression(random_state=seed), *given)
        ),
        "`rmsprop train --class-weights balanced`": with_rmsprop("--class-weights balanced"),
        "`MLPClassifier`, best epoch, weighted": with_sklearn(lambda *given: _best_epoch(True, *given), weighted=True),
    }


def row(name: str, found: Sequence[tuple[Scores, float]]) -> str:
    """Return a trainer's line: means and standard deviations over seeds."""
    cells = [_spread([scores[score] for scores, _ in found]) for score in SCORES]
    seconds = mean(seconds for _, seconds in found)
    return f"| {name} | {' | '.join(cells)} | {seconds:.1f} s |"


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def thresholds(known: Path, answers: Path) -> list[str]:
    """Return what answering yes from a threshold on would have found, lines of a table."""
    truth = (pl.read_csv(known)[customers.TARGET] == "yes").to_numpy()
    shares = pl.read_csv(answers)["probability_yes"].to_numpy()
    lines = ["| threshold | called | of them leave | of those who leave |", "| ---: | ---: | ---: | ---: |"]
    for threshold in THRESHOLDS:
        called = shares > threshold
        right, found = precision_score(truth, called), recall_score(truth, called)
        lines.append(f"| {threshold} | {called.sum()} | {100 * right:.0f} % | {100 * found:.0f} % |")
    return [*lines, "", f"mean probability {shares.mean():.3f}, share who leave {truth.mean():.3f}"]


def commands(page: str) -> list[str]:
    """Return the commands of the package that a page shows."""
    blocks = page.split("```sh\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines() if line.startswith("rmsprop ")]


def main() -> None:
    """Print what the page's commands print, and the tables."""
    about = environment.describe()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        customers.write(folder)
        for line in commands(PAGE.read_text(encoding="utf-8")):
            print(f"$ {line}\n{command(line, folder)[0]}", flush=True)
        print("\n".join(thresholds(folder / "known.csv", folder / "later.csv")), flush=True)
        print(f"\n| test rows, {len(SEEDS)} seeds | loss | AUC | balanced accuracy | F1 | CPU time |")
        print("| --- |" + " ---: |" * (len(SCORES) + 1))
        for name, train in _trainers().items():
            print(row(name, [train(seed, folder) for seed in SEEDS]), flush=True)
    print()
    for name, value in (about | {"load after": environment.load()}).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "100")
    main()
