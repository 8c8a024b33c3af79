"""What clipping costs in the step, and a step inside backward: beside what a loop does otherwise, by turns.

``python -m benchmarks.clipping`` prints both tables. Times are medians of turns; with other programs beside it the
processor time tells more than the clock. The peak of memory is that of a process of its own; it needs Linux's /proc.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from benchmarks.cases.shapes import resnet50
from benchmarks.entry import THREADS
from rmsprop.torch import RMSprop, step_in_backward

ROUNDS, MAX_NORM = 25, 1.0
SHAPES = {"one tensor of 8 M": ((8_000_000,),), "161 tensors of a ResNet-50, 8.6 M": resnet50(36)}
WAYS = ("step", "in backward")
Step = Callable[[], object]


def by_turns(steps: Mapping[str, Step], rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds of each step by the clock, and of processor time."""
    for step in steps.values():
        step()
        step()
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    shuffled = Random(0)
    for _ in range(rounds):
        for name in shuffled.sample(list(steps), len(steps)):
            wall, processor = perf_counter(), process_time()
            steps[name]()
            took[name].append((perf_counter() - wall, process_time() - processor))
    return {name: (1e3 * median(a for a, _ in each), 1e3 * median(b for _, b in each)) for name, each in took.items()}


def clipping_steps(shapes: tuple[tuple[int, ...], ...]) -> dict[str, Step]:
    """Return the ways to clip and step, each with tensors of its own."""

    def params() -> list[Tensor]:
        made = [torch.randn(shape, requires_grad=True) for shape in shapes]
        for param in made:
            param.grad = torch.randn_like(param)
        return made

    def with_torchs(optimizer: torch.optim.Optimizer) -> Step:
        of_optimizer = optimizer.param_groups[0]["params"]
        return lambda: (clip_grad_norm_(of_optimizer, MAX_NORM), optimizer.step())

    return {
        "max_grad_norm in the step": RMSprop(params(), max_grad_norm=MAX_NORM).step,
        "clip_grad_norm_, rmsprop": with_torchs(RMSprop(params())),
        "clip_grad_norm_, torch foreach": with_torchs(torch.optim.RMSprop(params(), foreach=True)),
        "no clipping": RMSprop(params()).step,
        "max_grad_value in the step": RMSprop(params(), max_grad_value=MAX_NORM).step,
        "max_update_rms in the step": RMSprop(params(), max_update_rms=MAX_NORM).step,
    }


def transformer(width: int = 320, blocks: int = 8) -> torch.nn.Module:
    """Return a model of about 10 million parameters."""
    layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True)
    return torch.nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)


def training_step(way: str, model: torch.nn.Module) -> Step:
    """Return a step of training: ``"step"``, ``"in backward"`` or ``"one optimizer per parameter"``."""
    x = torch.randn(1, 8, 320)
    optimizer = RMSprop(model.parameters(), lr=1e-5)
    if way == "in backward":
        step_in_backward(optimizer)
        return lambda: model(x).square().mean().backward()
    if way == "one optimizer per parameter":
        each = {param: torch.optim.RMSprop([param], lr=1e-5, foreach=True) for param in model.parameters()}

        def alone(param: Tensor) -> None:
            each[param].step()
            each[param].zero_grad()

        for param in each:
            param.register_post_accumulate_grad_hook(alone)
        return lambda: model(x).square().mean().backward()

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return step


def peak(way: str) -> int:
    """Return the bytes that three steps of training need at their peak beyond model and state."""
    model = transformer()
    step = training_step(way, model)
    step()
    for param in model.parameters():
        param.grad = None
    ctypes.CDLL(None).malloc_trim(0)  # gradients that were freed are free again
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _report() -> None:
    for title, shapes in SHAPES.items():
        print(f"\n{title}: milliseconds, and of processor time")
        for name, (wall, processor) in by_turns(clipping_steps(shapes)).items():
            print(f"  {name:32}{wall:8.2f}{processor:8.2f}")
    ways = (*WAYS, "one optimizer per parameter")
    models = {way: transformer() for way in ways}
    count = sum(param.numel() for param in models["step"].parameters())
    print(f"\ntransformer of {count / 1e6:.1f} M parameters: milliseconds of a turn of the loop; MB beyond at its peak")
    times = by_turns({way: training_step(way, model) for way, model in models.items()}, 15)
    for way in ways:
        command = [sys.executable, "-m", "benchmarks.clipping", way]
        beyond = int(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1]).stdout)
        print(f"  {way:32}{times[way][0]:8.2f}{times[way][1]:8.2f}{beyond / 1e6:8.1f}")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:]:
        print(peak(sys.argv[1]))
    else:
        _report()
