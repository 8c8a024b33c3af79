"""``python -m benchmarks.recorder``: what a `Recorder` adds to the cost of a training loop.

One loop on one thread takes turns of three kinds, in random order: recorded, plain, and plain again as a control, which
tells what the difference of two equal turns is. It is one loop, and not two, because where in memory a model lies
matters by some percent; for the recorder the time of the plain turns doesn't exist. The ratios are those of processor
time, pair by pair, so that other processes disturb little. The allocator is told to keep freed memory: giving gradients
back to the system and getting them again makes steps of large models differ by several percent from one to the next.
The first tenth of a second, which is free, is left out.
"""

from __future__ import annotations

import csv
import io
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

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
# So many seconds in, a run no longer writes each loss on its own.
SETTLED = 1.0


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(2048, 64)


def convolutions() -> tuple[nn.Module, torch.Tensor]:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    for _ in range(6):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)), torch.randn(256, 3, 16, 16)


def middling() -> tuple[nn.Module, torch.Tensor]:
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*layers), torch.randn(2048, 64)


def wide() -> tuple[nn.Module, torch.Tensor]:
    layers = [nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1024, 10)), torch.randn(2048, 64)


MODELS = {
    "MLP 64-64-10": perceptron,
    "MLP 64-256-256-10": middling,
    "7 convolutions": convolutions,
    "MLP 64-1024-1024-1024-10": wide,
}
OPTIMIZERS = {"rmsprop.torch": rmsprop.torch.RMSprop, "torch.optim": torch.optim.RMSprop}


KINDS = ("recorded", "plain", "control")
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**33)}


@dataclass(frozen=True)
class Turn:
    """A turn of each kind, in seconds."""

    model: str
    optimizer: str
    turn: int
    steps: int
    recorded: float
    plain: float
    control: float


class Loop:
    """A person's loop: batches of 32 drawn from the rows, forward, backward, step."""

    def __init__(self, make: Callable, kind: Callable, path: Path) -> None:
        torch.manual_seed(0)
        self.model, self.x = make()
        self.y = torch.randint(10, (len(self.x),))
        self.optimizer = kind(self.model.parameters(), lr=1e-4)
        self.recorder = Recorder(self.optimizer, path, model=self.model)
        self.generator = torch.Generator().manual_seed(0)

    def run(self, steps: int, recorder: Recorder | None) -> float:
        began = process_time()
        for _ in range(steps):
            rows = torch.randint(len(self.x), (32,), generator=self.generator)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(self.x[rows]), self.y[rows])
            if recorder is not None:
                recorder.loss(loss)
            loss.backward()
            self.optimizer.step()
        return process_time() - began

    def recorded(self, steps: int) -> float:
        """Run some steps recorded, and then until the recorder measures nothing, so that a plain turn may follow."""
        seconds = self.run(steps, self.recorder)
        while self.recorder._measures_next:
            self.run(1, self.recorder)
        return seconds

    def plain(self, steps: int) -> float:
        """Run some steps of which the recorder doesn't know: all its appointments are put off until after them."""
        recorder, began = self.recorder, perf_counter()
        recorder._after.remove()
        seconds = self.run(steps, None)
        recorder._after = self.optimizer.register_step_post_hook(recorder._after_step)
        away = perf_counter() - began
        recorder._budget._statistics_due += away
        recorder._budget._losses_due += away
        recorder._quiet = (recorder._quiet[0], recorder._quiet[1] + away)
        return seconds


def measure(model: str, optimizer: str, turns: int, seconds: float) -> list[Turn]:
    """Return the times of the turns of a loop."""
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(MODELS[model], OPTIMIZERS[optimizer], Path(folder) / "record.jsonl")
        loop.run(20, loop.recorder)
        per_step = loop.run(20, loop.recorder) / 20
        loop.run(50 + int(SETTLED / per_step), loop.recorder)
        loop.recorder._budget._left = 0.0  # what is free is spent within minutes only where steps are long
        steps = max(1, round(seconds / per_step))
        loop.recorded(steps)
        rows = []
        for turn in track(range(turns), f"{model}, {optimizer}", console=Console(stderr=True), transient=True):
            times = {
                kind: loop.recorded(steps) if kind == "recorded" else loop.plain(steps)
                for kind in order.sample(KINDS, len(KINDS))
            }
            rows.append(Turn(model, optimizer, turn, steps, **times))
        loop.recorder.close()
    return rows


def summary(turns: list[Turn]) -> str:
    """Return the ratios as a table in Markdown."""
    lines = [
        "| model | optimizer | µs per step | µs added | recorded / plain: sum | median | control: sum | median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((turn.model, turn.optimizer) for turn in turns):
        chosen = [turn for turn in turns if (turn.model, turn.optimizer) == key]
        ratios = [ratio for kind in ("recorded", "control") for ratio in _ratios(chosen, kind)]
        verdict = " **over the limit**" if max(ratios[:2]) >= 1 + LIMIT else ""
        each = 1e6 * statistics.median(turn.plain / turn.steps for turn in chosen)
        lines.append(
            f"| {key[0]} | {key[1]} | {each:.0f} | {each * (ratios[0] - 1):.1f} "
            f"| {ratios[0]:.4f}{verdict} | {ratios[1]:.4f} | {ratios[2]:.4f} | {ratios[3]:.4f} |"
        )
    return "\n".join(lines) + "\n"


def _ratios(turns: list[Turn], kind: str) -> tuple[float, float]:
    """Return the time of a kind of turns as a multiple of the plain ones': of all together, and the median one."""
    pairs = [(getattr(turn, kind), turn.plain) for turn in turns]
    together = sum(one for one, _ in pairs) / sum(plain for _, plain in pairs)
    return together, statistics.median(one / plain for one, plain in pairs)


@click.command()
@click.option("--turns", default=80, help="Turns of each kind.")
@click.option("--seconds", default=0.3, help="Length of a turn.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(turns: int, seconds: float, results: Path | None) -> None:
    """Measure what a Recorder adds to the cost of a training loop."""
    if not KEEP_MEMORY.items() <= os.environ.items():  # it is read when a process begins
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.recorder", *sys.argv[1:]], os.environ | KEEP_MEMORY
        )
    torch.set_num_threads(1)
    about = environment.describe()
    found = [turn for model in MODELS for name in OPTIMIZERS for turn in measure(model, name, turns, seconds)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Turn))
    writer.writerows(map(astuple, found))
    facts = "".join(f"- {name}: {value}\n" for name, value in (about | {"load after": environment.load()}).items())
    page = f"# What a Recorder adds to a loop\n\n{summary(found)}\n{facts}"
    folder = results or FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{environment.machine()}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "recorder.txt"
    write_atomically(log, f"{page}\n{text.getvalue()}".encode())
    click.echo(page + f"\nwritten to {log}")


if __name__ == "__main__":
    main()
