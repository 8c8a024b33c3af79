"""``python -m benchmarks.recorder``: what a `Recorder` adds to the cost of a training loop.

Two equal loops on one thread take turns, one of them recorded, and which one goes first alternates. The ratio is that
of the turns' processor time, pair by pair, so that other processes on the machine disturb little. The first tenth of a
second, which is free, is left out.
"""

from __future__ import annotations

import csv
import io
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import process_time

import click
import torch
from rich.console import Console
from rich.progress import track
from torch import nn
from torch.nn import functional as F

import rmsprop.torch
from benchmarks import environment
from rmsprop.files import write_atomically
from rmsprop.lab import Recorder

FOLDER = Path(__file__).with_name("results")
LIMIT = 0.02


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(2048, 64)


def convolutions() -> tuple[nn.Module, torch.Tensor]:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    for _ in range(6):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)), torch.randn(256, 3, 16, 16)


def wide() -> tuple[nn.Module, torch.Tensor]:
    layers = [nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1024, 10)), torch.randn(2048, 64)


MODELS = {"MLP 64-64-10": perceptron, "7 convolutions": convolutions, "MLP 64-1024-1024-1024-10": wide}
OPTIMIZERS = {"rmsprop.torch": rmsprop.torch.RMSprop, "torch.optim": torch.optim.RMSprop}


@dataclass(frozen=True)
class Turn:
    """Two turns, one after the other, in seconds."""

    model: str
    optimizer: str
    pair: int
    steps: int
    plain: float
    recorded: float


class Loop:
    """A person's loop: batches of 32 drawn from the rows, forward, backward, step."""

    def __init__(self, make: Callable, kind: Callable, path: Path | None) -> None:
        torch.manual_seed(0)
        self.model, self.x = make()
        self.y = torch.randint(10, (len(self.x),))
        self.optimizer = kind(self.model.parameters(), lr=1e-4)
        self.recorder = None if path is None else Recorder(self.optimizer, path, model=self.model)
        self.generator = torch.Generator().manual_seed(0)

    def run(self, steps: int) -> float:
        began = process_time()
        for _ in range(steps):
            rows = torch.randint(len(self.x), (32,), generator=self.generator)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(self.x[rows]), self.y[rows])
            if self.recorder is not None:
                self.recorder.loss(loss)
            loss.backward()
            self.optimizer.step()
        return process_time() - began


def measure(model: str, optimizer: str, pairs: int, seconds: float) -> list[Turn]:
    """Return the times of turns of two loops."""
    with tempfile.TemporaryDirectory() as folder:
        make, kind = MODELS[model], OPTIMIZERS[optimizer]
        plain, recorded = Loop(make, kind, None), Loop(make, kind, Path(folder) / "record.jsonl")
        recorded.run(20)  # what is free is spent
        while recorded.recorder is not None and recorded.recorder._budget._left > 0.0:
            recorded.run(200)
        steps = max(1, round(seconds / plain.run(20) * 20))
        turns = []
        for pair in track(range(pairs), f"{model}, {optimizer}", console=Console(stderr=True), transient=True):
            order = (plain, recorded) if pair % 2 else (recorded, plain)
            times = {loop: loop.run(steps) for loop in order}
            turns.append(Turn(model, optimizer, pair, steps, times[plain], times[recorded]))
        assert recorded.recorder is not None
        recorded.recorder.close()
    return turns


def summary(turns: list[Turn]) -> str:
    """Return the ratios as a table in Markdown."""
    lines = [
        "| model | optimizer | steps | µs per step | recorded / plain, median | quartiles |",
        "|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((turn.model, turn.optimizer) for turn in turns):
        chosen = [turn for turn in turns if (turn.model, turn.optimizer) == key]
        low, middle, high = statistics.quantiles([turn.recorded / turn.plain for turn in chosen], n=4)
        steps = sum(turn.steps for turn in chosen)
        each = 1e6 * statistics.median(turn.plain / turn.steps for turn in chosen)
        verdict = "" if middle < 1 + LIMIT else " **over the limit**"
        lines.append(
            f"| {key[0]} | {key[1]} | {steps} | {each:.0f} | {middle:.4f}{verdict} | {low:.4f} to {high:.4f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--pairs", default=60, help="Turns of each loop.")
@click.option("--seconds", default=0.3, help="Length of a turn.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(pairs: int, seconds: float, results: Path | None) -> None:
    """Measure what a Recorder adds to the cost of a training loop."""
    torch.set_num_threads(1)
    about = environment.describe()
    turns = [turn for model in MODELS for name in OPTIMIZERS for turn in measure(model, name, pairs, seconds)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "optimizer", "pair", "steps", "plain_seconds", "recorded_seconds"])
    writer.writerows([t.model, t.optimizer, t.pair, t.steps, t.plain, t.recorded] for t in turns)
    facts = "".join(f"- {name}: {value}\n" for name, value in (about | {"load after": environment.load()}).items())
    page = f"# What a Recorder adds to a loop\n\n{summary(turns)}\n{facts}"
    folder = results or FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{environment.machine()}-recorder"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "turns.csv", text.getvalue().encode())
    write_atomically(folder / "summary.md", page.encode())
    click.echo(page + f"\nwritten to {folder}")


if __name__ == "__main__":
    main()
