"""What the tests of the lab share: short runs in memory, and a person's table."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from browser import chromium  # noqa: F401  # a fixture

from rmsprop.lab.problems import Problem, load
from rmsprop.lab.train.settings import resolve
from rmsprop.lab.train.training import Divergence, Training
from rmsprop.lab.verdict.curves import LossCurves


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The models are tiny: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def record() -> Callable[..., LossCurves]:
    """Runs a training without a folder and returns its curves."""

    def run(problem: Problem | str, **given: Any) -> LossCurves:
        name = problem if isinstance(problem, str) else "linear"
        settings = resolve({"problem": name, **given})
        what = load(name, model=settings.model, hidden=settings.hidden) if isinstance(problem, str) else problem
        training = Training(what, settings)
        epochs = []
        try:
            while training.epoch < settings.epochs:
                epochs.append(training.run_epoch())
        except Divergence as divergence:
            return training.curves(epochs, divergence)
        return training.curves(epochs, None)

    return run


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with a module `own` in it whose function returns a problem."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    path = tmp_path / "own.py"
    path.write_text(OWN)
    yield path
    for name in set(sys.modules) - before:
        del sys.modules[name]


OWN = """
import dataclasses
from rmsprop.lab.problems import Data, load

SHIFT = 0.0

def small():
    wine = load("wine")
    train = Data(wine.train.x + SHIFT, wine.train.y)
    return dataclasses.replace(wine, name="small", train=train, epochs=3, batch_size=50, dataset=None)

def broken():
    return dataclasses.replace(load("wine"), make_model=lambda: None)
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file with numbers, categories, truth values, dates and gaps in it."""
    random = np.random.default_rng(0)
    rows = 120
    age = [None if row % 10 == 0 else 20 + row % 40 for row in range(rows)]
    city = [("Rome", "Oslo", None, "New York")[row % 4] for row in range(rows)]
    frame = pl.DataFrame(
        {
            "age": age,
            "city": city,
            "member": [row % 3 == 0 for row in range(rows)],
            "since": [f"2024-{1 + row % 12:02}-{1 + row % 28:02}" for row in range(rows)],
            "price": random.normal(size=rows),
            "churn": [("no", "yes")[(row % 3 == 0) ^ (row % 17 == 0)] for row in range(rows)],
        }
    )
    path = tmp_path / "customers.csv"
    frame.write_csv(path)
    return path
