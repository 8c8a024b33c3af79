"""What clipping costs in the step, and a step inside backward: beside what a loop does otherwise, by turns.

    python -m benchmarks.clipping > benchmarks/results/<date>-<machine>-low-bits/in_backward.txt

prints both tables. Times are medians of turns; with other programs beside it the processor time tells more than the
clock, and of processor time the median ratio to the first row within a turn. The processor time of several threads is
exact to a tick of the system only, so that the transformer is measured with one thread too. The peak of memory is that
of a process of its own; it needs Linux's /proc.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from benchmarks import environment
from benchmarks.cases.shapes import resnet50
from benchmarks.entry import THREADS
from rmsprop.torch import RMSprop, step_in_backward

ROUNDS, MAX_NORM = 25, 1.0
SHAPES = {"one tensor of 8 M": ((8_000_000,),), "161 tensors of a ResNet-50, 8.6 M": resnet50(36)}
WAYS = ("step", "in backward", "one optimizer per parameter")
Step = Callable[[], object]


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
        _timed(turn)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    shuffled = Random(0)
    for _ in range(rounds):
        for name in shuffled.sample(list(turns), len(turns)):
            took[name].append(_timed(turns[name]))
    first = next(iter(took.values()))
    return {
        name: (
            1e3 * median(wall for wall, _ in each),
            1e3 * median(processor for _, processor in each),
            median(one / other for (_, one), (_, other) in zip(each, first, strict=True)),
        )
        for name, each in took.items()
    }


def _timed(turn: Turn) -> tuple[float, float]:
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


def transformer(width: int = 320, blocks: int = 8) -> torch.nn.Module:
    """Return a model of about 10 million parameters."""
    layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True)
    return torch.nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)


def training_turn(way: str, model: torch.nn.Module) -> Turn:
    """Return what backward and the step take, after a forward pass: one of `WAYS`, which says who steps."""
    x = torch.randn(1, 8, 320)
    losses: list[Tensor] = []

    def forward() -> None:
        losses.append(model(x).square().mean())

    def backward() -> None:
        losses.pop().backward()

    if way == "one optimizer per parameter":
        _one_each(model)
        return Turn(backward, forward)
    optimizer = RMSprop(model.parameters(), lr=1e-5)
    if way == "in backward":
        step_in_backward(optimizer)
        return Turn(backward, forward)

    def step() -> None:
        backward()
        optimizer.step()
        optimizer.zero_grad()

    return Turn(step, forward)


def _one_each(model: torch.nn.Module) -> None:
    """Give each parameter an optimizer of its own that backward calls, as torch's tutorial does."""
    each = {param: torch.optim.RMSprop([param], lr=1e-5, foreach=True) for param in model.parameters()}

    def alone(param: Tensor) -> None:
        each[param].step()
        each[param].zero_grad()

    for param in each:
        param.register_post_accumulate_grad_hook(alone)


def peak(way: str) -> int:
    """Return the bytes that three steps of training need at their peak beyond model and state."""
    model = transformer()
    turn = training_turn(way, model)
    _timed(turn)
    for param in model.parameters():
        param.grad = None
    ctypes.CDLL(None).malloc_trim(0)  # gradients that were freed are free again
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    for _ in range(3):
        _timed(turn)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _report() -> None:
    about = environment.describe()
    for title, shapes in SHAPES.items():
        print(f"\n{title}: milliseconds, of processor time, times the first's")
        for name, numbers in by_turns(clipping_steps(shapes)).items():
            print(_line(name, numbers), flush=True)
    for threads in (1, THREADS):
        torch.set_num_threads(threads)
        turns = {way: training_turn(way, transformer()) for way in WAYS}
        print(f"\ntransformer of {_millions():.1f} M, backward and step, {threads} threads: the same")
        for way, numbers in by_turns(turns, 40).items():
            print(_line(way, numbers), flush=True)
    print(f"\ntransformer of {_millions():.1f} M: MB at the peak of a step, beyond model and state")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.clipping", way]
        beyond = int(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1]).stdout)
        print(f"  {way:32}{beyond / 1e6:8.1f}", flush=True)
    print()
    for name, value in (about | {"load after": environment.load()}).items():
        print(f"{name}: {value}")


def _line(name: str, numbers: tuple[float, float, float]) -> str:
    return f"  {name:32}{numbers[0]:8.2f}{numbers[1]:8.2f}{numbers[2]:8.2f}"


def _millions() -> float:
    return sum(param.numel() for param in transformer().parameters()) / 1e6


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:]:
        print(peak(sys.argv[1]))
    else:
        _report()
