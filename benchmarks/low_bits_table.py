"""What the trainings of `benchmarks.low_bits` say, as a table per task.

    python -m benchmarks.low_bits_table benchmarks/results/<date>-<machine>-low-bits/runs.jsonl

prints it; kept in `convergence.txt` beside the runs. The measure of a difference is the standard error of float32's
mean: the standard deviation of its loss over seeds, divided by the root of their number. The differences are paired by
seed, and their own standard error stands beside them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import environment
from benchmarks.low_bits import SEEDS, STORAGES, TUNING_SEED, Training, best, by_training, missing, read, trainings

PLAIN = "float32"
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What one storage comes to.

    Args:
        losses: The loss of each seed.
        differences: Of each seed, what it is above float32's.
        unit: The standard error of float32's mean.
        still: The share of weights that the last quarter left where they were, the mean over seeds.
    """

    losses: Sequence[float]
    differences: Sequence[float]
    unit: float
    still: float

    @property
    def units(self) -> float:
        """The mean difference in standard errors of float32's mean."""
        return mean(self.differences) / self.unit


def rows(lines: Sequence[Line], task: str) -> dict[str, Row]:
    """Return what each storage comes to.

    Args:
        lines: What was written.
        task: Of which task.

    Raises:
        SystemExit: If a training is missing.
    """
    lrs, found = best(lines), by_training(lines)
    if left := missing(lines, trainings(task, lrs[task])):
        raise SystemExit(f"{len(left)} trainings on {task} are missing, such as {left[0]}")

    def of(storage: str, name: str) -> list[float]:
        return [found[Training(task, storage, seed, lrs[task])][name] for seed in SEEDS]

    plain = of(PLAIN, "loss")
    unit = stdev(plain) / math.sqrt(len(plain))
    return {
        storage: Row(
            of(storage, "loss"),
            [loss - other for loss, other in zip(of(storage, "loss"), plain, strict=True)],
            unit,
            mean(of(storage, "still")),
        )
        for storage in STORAGES
    }


def line(storage: str, row: Row) -> str:
    """Return a line of the table.

    Args:
        storage: A key of `STORAGES`.
        row: What it comes to.
    """
    loss = f"{mean(row.losses):.4f} ± {_error(row.losses):.4f}"
    if storage == PLAIN:
        return f"| {storage} | {loss} | | | {100 * row.still:.0f} % |"
    difference = f"{mean(row.differences):+.4f} ± {_error(row.differences):.4f}"
    return f"| {storage} | {loss} | {difference} | {row.units:+.2f} | {100 * row.still:.0f} % |"


def _error(values: Sequence[float]) -> float:
    """Return the standard error of a mean."""
    return stdev(values) / math.sqrt(len(values))


def table(lines: Sequence[Line], task: str) -> str:
    """Return the table of a task, and how its learning rate was chosen.

    Args:
        lines: What was written.
        task: A key of `benchmarks.low_bits_tasks.TASKS`.
    """
    tried = {one["lr"]: one["loss"] for one in lines if (one["task"], one["seed"]) == (task, TUNING_SEED)}
    words = ", ".join(f"{loss:.4f} at {lr:g}" for lr, loss in sorted(tried.items()))
    return "\n".join(
        [
            f"{task}: validation loss after the last step, {len(SEEDS)} seeds, learning rate {best(lines)[task]:g}",
            f"(float32 with another seed: {words})",
            "",
            "| weights and state | loss ± its error | above float32's ± its error | in errors of float32 | still |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(line(storage, row) for storage, row in rows(lines, task).items()),
        ]
    )


def main(path: Path) -> None:
    """Print the tables.

    Args:
        path: The file of `benchmarks.low_bits`.
    """
    lines = read(path)
    for task in best(lines):
        print(table(lines, task) + "\n", flush=True)
    print(f"processor time of all trainings: {sum(one['seconds'] for one in lines) / 60:.0f} minutes\n")
    for name, value in environment.describe().items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
