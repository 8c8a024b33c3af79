"""Whether few bits train as float32 does: weights in bfloat16, state in 8 bits, steps in backward.

    python -m benchmarks.low_bits benchmarks/results/<date>-<machine>-low-bits/runs.jsonl

A line is appended for each training, and those that are there are not done again. Weights and state are kept as a row
says; everything else is equal: a seed gives the same initial weights, rounded to bfloat16 where weights are kept so,
and the same batches. The matrices are multiplied in the dtype of the problem whatever the weights are kept in, and the
loss is that of all validation rows after the last step, in float32. `python -m benchmarks.low_bits_table` tells what
the lines say.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.entry import THREADS
from benchmarks.low_bits_tasks import TASKS, training_loss
from rmsprop.torch import RMSprop, step_in_backward

SEEDS = range(10)
TUNING_SEED = 100


@dataclass(frozen=True)
class Storage:
    """How weights and state are kept.

    Args:
        dtype: The dtype of the weights. Default float32.
        options: The optimizer's options that say the rest.
        in_backward: Whether backward takes the steps. Default False.
    """

    dtype: torch.dtype = torch.float32
    options: Mapping[str, Any] = field(default_factory=dict)
    in_backward: bool = False


_STOCHASTIC = {"rounding": "stochastic"}
_SMALLEST = _STOCHASTIC | {"state_dtype": "8bit"}
STORAGES = {
    "float32": Storage(),
    "bfloat16 to the nearest": Storage(torch.bfloat16),
    "bfloat16, stochastic": Storage(torch.bfloat16, _STOCHASTIC),
    "bfloat16, Kahan": Storage(torch.bfloat16, {"rounding": "kahan"}),
    "float32, 8-bit state": Storage(options={"state_dtype": "8bit"}),
    "bfloat16, stochastic, 8-bit state": Storage(torch.bfloat16, _SMALLEST),
    "bfloat16, stochastic, 8-bit state, step in backward": Storage(torch.bfloat16, _SMALLEST, in_backward=True),
}


class Training(NamedTuple):
    """One training.

    Args:
        task: A key of `TASKS`.
        storage: A key of `STORAGES`.
        seed: Gives the initial weights and the batches.
        lr: The peak of the learning rate.
    """

    task: str
    storage: str
    seed: int
    lr: float


def train(training: Training) -> dict[str, Any]:
    """Train.

    Args:
        training: What.

    Returns:
        What is written: the loss, the share of weights that the last quarter left where they were, a digest of the
        weights, and the seconds of processor time.
    """
    torch.set_num_threads(1)  # the trainings themselves are side by side
    begun, task, kept = process_time(), TASKS[training.task](), STORAGES[training.storage]
    torch.manual_seed(training.seed)
    model = task.make().to(kept.dtype)
    optimizer = RMSprop(model.parameters(), lr=training.lr, seed=training.seed, **kept.options)
    if kept.in_backward:
        step_in_backward(optimizer)
    batches = task.batches(torch.Generator().manual_seed(training.seed))
    quarter: list[Tensor] = []
    for step in range(task.steps):
        if step == 3 * task.steps // 4:
            quarter = [param.detach().clone() for param in model.parameters()]
        optimizer.param_groups[0]["lr"] = training.lr * rate(step, task.warm_up, task.steps)
        training_loss(model, *next(batches), task.compute).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {
        **training._asdict(),
        "loss": _validation(model, *task.validation),
        "still": _still(quarter, list(model.parameters())),
        "weights": _digest(model),
        "seconds": process_time() - begun,
    }


def rate(step: int, warm_up: int, steps: int) -> float:
    """Return the share of the peak that the learning rate has at a step, from 0: a rise, then a cosine."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step + 1 - warm_up) / (steps + 1 - warm_up))


@torch.no_grad()
def _validation(model: nn.Module, x: Tensor, y: Tensor) -> float:
    parts = zip(x.split(32), y.split(32), strict=True)
    return sum(len(b) * training_loss(model, a, b, torch.float32).item() for a, b in parts) / len(y)


def _still(before: list[Tensor], after: list[Tensor]) -> float:
    same = sum(int((old == new).sum()) for old, new in zip(before, after, strict=True))
    return same / sum(param.numel() for param in after)


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for param in model.parameters():
        digest.update(param.detach().float().numpy())
    return digest.hexdigest()[:16]


def tunings(task: str) -> list[Training]:
    """Return the trainings that choose the learning rate of a task.

    Args:
        task: A key of `TASKS`.
    """
    return [Training(task, "float32", TUNING_SEED, lr) for lr in TASKS[task]().lrs]


def trainings(task: str, lr: float) -> list[Training]:
    """Return the trainings of a task that are compared; last those in backward, whose bits should be known by then.

    Args:
        task: A key of `TASKS`.
        lr: The learning rate.
    """
    every = [Training(task, storage, seed, lr) for seed in SEEDS for storage in STORAGES]
    return sorted(every, key=lambda one: STORAGES[one.storage].in_backward)


def best(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the learning rate of each task: that of the lowest loss while it was chosen.

    Args:
        lines: What was written.
    """
    chosen = sorted((one for one in lines if one["seed"] == TUNING_SEED), key=lambda one: -one["loss"])
    return {one["task"]: one["lr"] for one in chosen}  # the last of a task is the lowest


def read(path: Path) -> list[dict[str, Any]]:
    """Return what was written to a file, which need not be there.

    Args:
        path: The file.
    """
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def missing(lines: Iterable[Mapping[str, Any]], wanted: Iterable[Training]) -> list[Training]:
    """Return which trainings are still to be done.

    Args:
        lines: What was written.
        wanted: The trainings.
    """
    done = by_training(lines)
    return [each for each in wanted if each not in done]


def by_training(lines: Iterable[Mapping[str, Any]]) -> dict[Training, Mapping[str, Any]]:
    """Return what was written of each training.

    Args:
        lines: What was written.
    """
    return {Training(*(one[name] for name in Training._fields)): one for one in lines}


def finish(path: Path, wanted: Iterable[Training]) -> None:
    """Do what is missing of some trainings, and append it.

    Args:
        path: The file that holds what was done.
        wanted: The trainings.
    """
    with ProcessPoolExecutor(THREADS, mp_context=get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(train, each) for each in missing(read(path), wanted)]):
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finished.result()) + "\n")


def main(path: Path) -> None:
    """Choose the learning rates, and train.

    Args:
        path: The file that holds what was done.
    """
    for task in TASKS:
        finish(path, tunings(task))
        finish(path, trainings(task, best(read(path))[task]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
