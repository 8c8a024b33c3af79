"""How many bytes per parameter training takes: parameters, state and gradients, and the peak of the process.

    python -m benchmarks.low_bits_memory > benchmarks/results/<date>-<machine>-low-bits/memory.txt

Every row is a process of its own that trains a transformer on characters for some steps. Tensors are counted: those of
the parameters, all that the optimizer keeps, and the most bytes of gradients that are there at once, looked at whenever
one has been accumulated. Beside them stands what the system says (Linux's /proc): the most memory that the process had
while it trained, beyond what it had before there was a model, so that activations, temporaries and what no tensor
shows are in it. Others take part where they are installed: `pip install --no-deps bitsandbytes torchao torch-optimi`.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from benchmarks import environment
from benchmarks.low_bits_tasks import CharacterTransformer, training_loss
from rmsprop.torch import RMSprop, step_in_backward

LETTERS, LR, STEPS = 102, 1e-5, 3
# Width and number of blocks: the model of `benchmarks.low_bits`, and one as deep as GPT-2 medium.
MODELS = {"8 blocks": (320, 8), "24 blocks": (512, 24)}
# Memory that is freed goes back to the system at once, so that a peak is what was in use. Nothing is compiled: the
# compiler would take more memory than the models. No row but torchao's asks for it.
_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "TORCHDYNAMO_DISABLE": "1"}
Make = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True)
class Way:
    """A way to train.

    Args:
        dtype: The dtype of the weights, and so of the gradients.
        make: Makes the optimizer for a model.
        in_backward: Whether backward takes the steps; `make` sees to it. Default False.
        package: The package that the optimizer comes from. Default: it is always there.
    """

    dtype: torch.dtype
    make: Make
    in_backward: bool = False
    package: str = "torch"


def _ours(in_backward: bool = False, **options: Any) -> Make:
    def make(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = RMSprop(model.parameters(), lr=LR, **options)
        if in_backward:
            step_in_backward(optimizer)
        return optimizer

    return make


def _bitsandbytes(model: nn.Module) -> torch.optim.Optimizer:
    import bitsandbytes  # type: ignore[import-not-found, unused-ignore]  # whoever has it

    optimizer: torch.optim.Optimizer = bitsandbytes.optim.RMSprop8bit(model.parameters(), lr=LR)
    return optimizer


def _torchao(model: nn.Module) -> torch.optim.Optimizer:
    from torchao.optim import Adam8bit  # type: ignore[import-not-found, unused-ignore]  # whoever has it

    optimizer: torch.optim.Optimizer = Adam8bit(model.parameters(), lr=LR)
    return optimizer


def _optimi(model: nn.Module) -> torch.optim.Optimizer:
    import optimi  # type: ignore[import-not-found, unused-ignore]  # whoever has it

    optimizer: torch.optim.Optimizer = optimi.Adam(model.parameters(), lr=LR, gradient_release=True)
    optimi.prepare_for_gradient_release(model, optimizer, ignore_existing_hooks=True)
    return optimizer


_SINGLE, _HALF = torch.float32, torch.bfloat16
_SMALLEST = {"rounding": "stochastic", "state_dtype": "8bit"}
WAYS: Mapping[str, Way] = {
    "torch.optim.Adam": Way(_SINGLE, lambda model: torch.optim.Adam(model.parameters(), lr=LR)),
    "torch.optim.RMSprop": Way(_SINGLE, lambda model: torch.optim.RMSprop(model.parameters(), lr=LR)),
    "rmsprop": Way(_SINGLE, _ours()),
    "rmsprop, 8-bit state": Way(_SINGLE, _ours(state_dtype="8bit")),
    "rmsprop, 8-bit state, step in backward": Way(_SINGLE, _ours(True, state_dtype="8bit"), True),
    "bitsandbytes RMSprop8bit": Way(_SINGLE, _bitsandbytes, package="bitsandbytes"),
    "torchao Adam8bit": Way(_SINGLE, _torchao, package="torchao"),
    "torch.optim.Adam, bfloat16": Way(_HALF, lambda model: torch.optim.Adam(model.parameters(), lr=LR)),
    "torch.optim.RMSprop, bfloat16": Way(_HALF, lambda model: torch.optim.RMSprop(model.parameters(), lr=LR)),
    "optimi Adam, bfloat16, Kahan, gradient release": Way(_HALF, _optimi, True, "torch-optimi"),
    "bitsandbytes RMSprop8bit, bfloat16": Way(_HALF, _bitsandbytes, package="bitsandbytes"),
    "torchao Adam8bit, bfloat16": Way(_HALF, _torchao, package="torchao"),
    "rmsprop, bfloat16, 8-bit state": Way(_HALF, _ours(**_SMALLEST)),
    "rmsprop, bfloat16, 8-bit state, step in backward": Way(_HALF, _ours(True, **_SMALLEST), True),
}


def measure(way: Way, width: int, blocks: int) -> dict[str, int]:
    """Train in this process and return bytes, and how many parameters there are.

    Args:
        way: How.
        width: The width of the transformer.
        blocks: The number of its blocks.
    """
    _train(way, _model(way, 64, 1))  # threads and libraries are there from now on
    before = _settled()
    model = _model(way, width, blocks)
    optimizer, gradients = _train(way, model)
    peak = _status_bytes("VmHWM") - before
    params = list(model.parameters())
    return {
        "count": sum(param.numel() for param in params),
        "parameters": _bytes(params),
        "state": _bytes(_tensors(optimizer.state)),
        "gradients": gradients,
        "peak": peak,
    }


def _model(way: Way, width: int, blocks: int) -> nn.Module:
    """Return a model that was never kept in another dtype, which would be the peak."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(way.dtype)
    try:
        return CharacterTransformer(LETTERS, width, blocks)
    finally:
        torch.set_default_dtype(before)


def _train(way: Way, model: nn.Module) -> tuple[torch.optim.Optimizer, int]:
    """Take steps on one row of 8 letters; return the optimizer, and the most bytes of gradients at once."""
    most = 0

    def look(_: Tensor) -> None:
        nonlocal most
        most = max(most, _bytes(param.grad for param in model.parameters() if param.grad is not None))

    for param in model.parameters():
        param.register_post_accumulate_grad_hook(look)  # before the hook that takes the step
    optimizer = way.make(model)
    text = torch.arange(9)[None]
    for _ in range(STEPS):
        training_loss(model, text[:, :-1], text[:, 1:], way.dtype).backward()
        if not way.in_backward:
            optimizer.step()
            optimizer.zero_grad()
    return optimizer, most


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _tensors(kept: Any) -> list[Tensor]:
    """Return all plain tensors in a nest of dicts and of tensors that are made of others, each piece of memory once."""
    found = {tensor.untyped_storage().data_ptr(): tensor for tensor in _every_tensor(kept)}
    return list(found.values())


def _every_tensor(kept: Any) -> Iterable[Tensor]:
    if isinstance(kept, Mapping):
        for each in kept.values():
            yield from _every_tensor(each)
    elif is_traceable_wrapper_subclass(kept):
        for name in kept.__tensor_flatten__()[0]:
            yield from _every_tensor(getattr(kept, name))
    elif isinstance(kept, Tensor):
        yield kept


def _settled() -> int:
    """Return how many bytes this process has, from where its peak begins anew."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _apart(way: str, model: str) -> dict[str, int]:
    """Return what `measure` yields in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.low_bits_memory", way, model]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, env=os.environ | _ENVIRONMENT)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def line(way: str, found: Mapping[str, int]) -> str:
    """Return a line of the table, in bytes per parameter."""
    held = [found[name] for name in ("parameters", "state", "gradients")]
    cells = [each / found["count"] for each in (*held, sum(held), found["peak"])]
    return f"| {way} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"


def main() -> None:
    """Print a table per model; other packages take part in the first, which takes torchao a minute already."""
    installed = {way.package: version for way in WAYS.values() if (version := _version(way.package))}
    about = environment.describe() | installed
    for model, (width, blocks) in MODELS.items():
        taking_part = [name for name, way in WAYS.items() if way.package in installed]
        count = sum(param.numel() for param in CharacterTransformer(LETTERS, width, blocks).parameters())
        print(f"\ntransformer of {model}, {count / 1e6:.1f} M parameters: bytes per parameter\n")
        print("| | parameters | state | gradients | together | peak of the process |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name in taking_part:
            print(line(name, _apart(name, model)), flush=True)
        installed = {"torch": installed["torch"]}
    print()
    for name, value in (about | {"load after": environment.load()}).items():
        print(f"{name}: {value}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:]:
        name, shape = sys.argv[1:]
        print(json.dumps(measure(WAYS[name], *MODELS[shape])))
    else:
        main()
