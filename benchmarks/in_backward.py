"""What a step inside backward costs, beside a plain step and torch's one optimizer per parameter, by turns.

    python -m benchmarks.in_backward > benchmarks/results/<date>-<machine>-low-bits/in_backward.txt

The forward pass comes before each turn and is not timed. Times are medians of turns; with other programs beside it the
processor time tells more than the clock, and of that the median ratio to the plain step's within a turn. There is one
thread: the processor time of several is exact to a tick of the system only, and holds their waiting. The peak of memory
is that of a process of its own; it needs Linux's /proc.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import environment
from benchmarks.clipping import Turn, by_turns, line, timed
from rmsprop.torch import RMSprop, step_in_backward

WAYS = ("step", "in backward", "one optimizer per parameter")
ROUNDS = 40
# Whether glibc keeps the memory of gradients that are freed, or gives it back and has it anew, page by page. What it
# does without being told depends on sizes and on what else is in the heap.
ALLOCATORS = {
    "freed memory stays with the process": {"MALLOC_TRIM_THRESHOLD_": f"{2**32}", "MALLOC_MMAP_THRESHOLD_": f"{2**25}"},
    "freed memory goes back to the system": {"MALLOC_MMAP_THRESHOLD_": f"{2**16}"},
}
NO_THRESHOLDS: Mapping[str, str] = {}


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
    timed(turn)
    for param in model.parameters():
        param.grad = None
    ctypes.CDLL(None).malloc_trim(0)  # gradients that were freed are free again
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    for _ in range(3):
        timed(turn)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def times() -> None:
    """Print what each way takes in this process."""
    turns = {way: training_turn(way, transformer()) for way in WAYS}
    for way, numbers in by_turns(turns, ROUNDS).items():
        print(line(way, numbers), flush=True)


def main() -> None:
    """Print what each way takes."""
    about = environment.describe()
    print(f"transformer of {_millions():.1f} M, backward and step, one thread")
    for words, thresholds in ALLOCATORS.items():
        print(f"{words}: milliseconds, of processor time, times the plain step's")
        print(_apart("times", thresholds), end="", flush=True)
    print("MB at the peak of a step, beyond model and state")
    for way in WAYS:
        print(f"  {way:32}{int(_apart(way)) / 1e6:8.1f}", flush=True)
    print()
    for name, value in (about | {"load after": environment.load()}).items():
        print(f"{name}: {value}")


def _apart(what: str, thresholds: Mapping[str, str] = NO_THRESHOLDS) -> str:
    """Return what a process of its own prints."""
    command, root = [sys.executable, "-m", "benchmarks.in_backward", what], Path(__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=root, env=os.environ | thresholds, text=True)
    return done.stdout


def _millions() -> float:
    return sum(param.numel() for param in transformer().parameters()) / 1e6


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["times"]:
        times()
    elif sys.argv[1:]:
        print(peak(sys.argv[1]))
    else:
        main()
