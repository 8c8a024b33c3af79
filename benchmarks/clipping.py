"""What clipping costs in the step, beside what a loop does otherwise, by turns.

``python -m benchmarks.clipping`` prints the tables. Times are medians of turns; with other programs beside it the
processor time tells more than the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from statistics import median
from time import perf_counter, process_time

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from benchmarks.cases.shapes import resnet50
from benchmarks.entry import THREADS
from rmsprop.torch import RMSprop

ROUNDS, MAX_NORM = 25, 1.0
SHAPES = {"one tensor of 8 M": ((8_000_000,),), "161 tensors of a ResNet-50, 8.6 M": resnet50(36)}
Step = Callable[[], object]
Times = dict[str, list[tuple[float, float]]]  # seconds of each turn by the clock, and of processor time


@dataclass(frozen=True)
class Turn:
    """What is timed.

    Args:
        step: That.
        between: Called before it, outside the timing. Default: nothing.
    """

    step: Step
    between: Step = lambda: None


def by_turns(turns: Mapping[str, Turn], rounds: int = ROUNDS) -> dict[str, tuple[float, float, float]]:
    """Return the median milliseconds of each by the clock, and of processor time, and how many times the first's."""
    for turn in 2 * [*turns.values()]:
        timed(turn)
    took: Times = {name: [] for name in turns}
    shuffled = Random(0)
    for _ in range(rounds):
        for name in shuffled.sample(list(turns), len(turns)):
            took[name].append(timed(turns[name]))
    return medians(took)


def alone(turns: Mapping[str, Turn], rounds: int = ROUNDS) -> dict[str, tuple[float, float, float]]:
    """Return the same, where each has its turns one after the other, with what these leave in the caches."""
    return medians({name: [timed(turn) for _ in range(2 + rounds)][2:] for name, turn in turns.items()})


def medians(took: Times) -> dict[str, tuple[float, float, float]]:
    """Return the median milliseconds of each by the clock, and of processor time, and how many times the first's."""
    first = next(iter(took.values()))
    return {
        name: (
            1e3 * median(wall for wall, _ in each),
            1e3 * median(processor for _, processor in each),
            median(one / other for (_, one), (_, other) in zip(each, first, strict=True)),
        )
        for name, each in took.items()
    }


def timed(turn: Turn) -> tuple[float, float]:
    """Return the seconds of a turn by the clock, and of processor time."""
    turn.between()
    wall, processor = perf_counter(), process_time()
    turn.step()
    return perf_counter() - wall, process_time() - processor


def clipping_steps(shapes: tuple[tuple[int, ...], ...]) -> dict[str, Turn]:
    """Return the ways to clip and step, each with tensors of its own."""

    def params() -> list[Tensor]:
        made = [torch.randn(shape, requires_grad=True) for shape in shapes]
        for param in made:
            param.grad = torch.randn_like(param)
        return made

    def with_torchs(optimizer: torch.optim.Optimizer) -> Step:
        of_optimizer = optimizer.param_groups[0]["params"]
        return lambda: (clip_grad_norm_(of_optimizer, MAX_NORM), optimizer.step())

    steps = {
        "max_grad_norm in the step": RMSprop(params(), max_grad_norm=MAX_NORM).step,
        "clip_grad_norm_, rmsprop": with_torchs(RMSprop(params())),
        "clip_grad_norm_, torch foreach": with_torchs(torch.optim.RMSprop(params(), foreach=True)),
        "no clipping": RMSprop(params()).step,
        "max_grad_value in the step": RMSprop(params(), max_grad_value=MAX_NORM).step,
        "max_update_rms in the step": RMSprop(params(), max_update_rms=MAX_NORM).step,
    }
    return {name: Turn(step) for name, step in steps.items()}


def main() -> None:
    """Print a table for one tensor, and one for many."""
    torch.set_num_threads(THREADS)
    for title, shapes in SHAPES.items():
        print(f"\n{title}: milliseconds, of processor time, times the first's")
        for name, numbers in by_turns(clipping_steps(shapes)).items():
            print(line(name, numbers), flush=True)


def line(name: str, numbers: tuple[float, float, float]) -> str:
    """Return a line of a table."""
    return f"  {name:32}{numbers[0]:8.2f}{numbers[1]:8.2f}{numbers[2]:8.2f}"


if __name__ == "__main__":
    main()
