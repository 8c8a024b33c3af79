"""What is measured on a GPU: each case is a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch

from benchmarks.cases import Shapes, resnet50


@dataclass(frozen=True, kw_only=True)
class Case:
    """Tensors to update, and what to reach.

    Args:
        name: A short key.
        title: What a reader sees.
        shapes: The parameters' shapes.
        dtype: Of parameters and gradients. Default float32.
        options: Options of RMSprop beside the learning rate.
        arrays: State arrays per parameter, in float32. Default 1.
        without: Contenders that do not enter, because they would compute something else or compile for minutes.
        rounds: Steps that are timed, in each of two passes. Default 30.
        at_least: The contender to be faster than -> how many times.
        of_copy: The fraction of the copy's bandwidth to reach. Default None.
        processor_seconds: What a call of ``step()`` may take of the processor's time. Default None.
        tiny: Whether the case only shows that the benchmarks run, so that nothing is to be reached. Default False.
    """

    name: str
    title: str
    shapes: Shapes
    dtype: torch.dtype = torch.float32
    options: Mapping[str, Any] = field(default_factory=dict)
    arrays: int = 1
    without: tuple[str, ...] = ()
    rounds: int = 30
    at_least: Mapping[str, float] = field(default_factory=dict)
    of_copy: float | None = None
    processor_seconds: float | None = None
    tiny: bool = False

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(map(prod, self.shapes))

    @property
    def bytes_per_step(self) -> int:
        """What one step of RMSprop must read and write, in bytes."""
        return self.parameters * (3 * self.dtype.itemsize + 2 * 4 * self.arrays)

    def quick(self) -> Case:
        """Return the case in a size that takes no time, to see that the benchmarks run."""
        shapes = tuple((min(shape[0], 16), *shape[1:2]) for shape in self.shapes[:5])
        return replace(self, shapes=shapes, rounds=3, tiny=True)


BILLION = ((4096, 814),) * 300  # 1.0002 billion
CASES = (
    Case(
        name="billion",
        title="300 tensors, 1 B",
        shapes=BILLION,
        rounds=15,
        at_least={"foreach": 3.0, "compiled": 1.0},
        of_copy=0.92,
    ),
    Case(
        name="resnet",
        title="161 tensors, ResNet-50, 25.6 M",
        shapes=resnet50(64),
        at_least={"foreach": 3.0, "adagrad": 1.2},
        processor_seconds=100e-6,
    ),
    Case(
        name="many",
        title="1000 tensors of 1000",
        shapes=((1000,),) * 1000,
        without=("compiled",),
        at_least={"foreach": 5.0},
    ),
    Case(
        name="bfloat16",
        title="300 bfloat16 tensors, float32 state, 1 B",
        shapes=BILLION,
        dtype=torch.bfloat16,
        without=("foreach", "compiled", "adagrad", "adam", "bitsandbytes"),  # theirs have state of other sizes
        rounds=15,
        of_copy=0.85,
    ),
    Case(
        name="all-options",
        title="momentum, centered, decay: 100 tensors, 200 M",
        shapes=((2000, 1000),) * 100,
        options={"momentum": 0.9, "centered": True, "weight_decay": 1e-4},
        arrays=3,
        without=("compiled", "adagrad", "adam", "bitsandbytes"),
        at_least={"foreach": 3.0},
        of_copy=0.85,
    ),
)
