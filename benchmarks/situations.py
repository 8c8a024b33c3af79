"""Situations on PyTorch that are out of the ordinary: what parameters are like, what happens between steps."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count, cycle
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.cases import Case, Shapes
from benchmarks.on_torch import Make

MakeParams = Callable[[Shapes], list[Tensor]]
MakeBetween = Callable[[Optimizer, list[Tensor]], Callable[[], Any]]


def _plain(shapes: Shapes) -> list[Tensor]:
    return [_with_gradient(torch.randn(shape, requires_grad=True)) for shape in shapes]


def _with_gradient(param: Tensor) -> Tensor:
    param.grad = torch.randn_like(param)
    return param


class _Parameter(torch.nn.Parameter):
    """A parameter of a class of its own, as libraries for geometry have them."""


def _of_a_subclass(shapes: Shapes) -> list[Tensor]:
    return [_with_gradient(_Parameter(torch.randn(shape))) for shape in shapes]


def _with_gaps(shapes: Shapes) -> list[Tensor]:
    """Make plain parameters and, last, one of every second number in its memory."""
    last = torch.randn(*shapes[-1], 2)[..., 0].requires_grad_()
    return [*_plain(shapes[:-1]), _with_gradient(last)]


def _of_shared_memory(shapes: Shapes) -> list[Tensor]:
    """Make plain parameters and, last, one that lies where the first does."""
    params = _plain(shapes[:-1])
    return [*params, _with_gradient(params[0].detach().view(shapes[-1]).requires_grad_())]


def _in_bfloat16(shapes: Shapes) -> list[Tensor]:
    return [_with_gradient(torch.randn(shape, dtype=torch.bfloat16).requires_grad_()) for shape in shapes]


ROWS = 4096  # of a sparse gradient


def _rows_of(param: Tensor) -> Tensor:
    """Return a sparse gradient of rows drawn at random."""
    places = torch.randint(0, len(param), (1, min(ROWS, len(param))))
    values = torch.randn(places.shape[1], *param.shape[1:])
    return torch.sparse_coo_tensor(places, values, param.shape, check_invariants=True)


def _with_rows(shapes: Shapes) -> list[Tensor]:
    params = [torch.randn(shape, requires_grad=True) for shape in shapes]
    for param in params:
        param.grad = _rows_of(param)
    return params


def _sharded(shapes: Shapes) -> list[Tensor]:
    from torch.distributed.tensor import Shard, distribute_tensor  # only here: it takes a second to load

    mesh = _mesh_of_one()
    params = []
    for shape in shapes:
        param, grad = (distribute_tensor(torch.randn(shape), mesh, [Shard(0)]) for _ in range(2))
        params.append(param.requires_grad_())
        param.grad = grad
    return params


@cache
def _mesh_of_one() -> Any:
    from torch import distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    atexit.register(distributed.destroy_process_group)
    return distributed.init_device_mesh("cpu", (1,))


def _turns(optimizer: Optimizer, params: list[Tensor]) -> Callable[[], None]:
    """Return what gives gradients to another random half of the parameters each time."""
    grads, random = [param.grad for param in params], Random(0)

    def between() -> None:
        chosen = set(random.sample(range(len(params)), len(params) // 2))
        for index, (param, grad) in enumerate(zip(params, grads, strict=True)):
            param.grad = grad if index in chosen else None

    return between


def _other_rows(optimizer: Optimizer, params: list[Tensor]) -> Callable[[], None]:
    """Return what gives each parameter the next of eight sparse gradients."""
    grads = [cycle([_rows_of(param) for _ in range(8)]) for param in params]

    def between() -> None:
        for param, following in zip(params, grads, strict=True):
            param.grad = next(following)

    return between


def _every_other_step(optimizer: Optimizer, params: list[Tensor]) -> Callable[[], None]:
    """Return what takes the gradients from half of the parameters, and gives them back the next time."""
    some, times = [(param, param.grad) for param in params[::2]], count()

    def between() -> None:
        there = next(times) % 2
        for param, grad in some:
            param.grad = grad if there else None

    return between


def _another_momentum(optimizer: Optimizer, params: list[Tensor]) -> Callable[[], None]:
    """Return what changes the momentum within the range of ``OneCycleLR``, 0.85 to 0.95, each time."""
    times = count()

    def between() -> None:
        momentum = 0.85 + next(times) % 1000 * 1e-4
        for group in optimizer.param_groups:
            group["momentum"] = momentum

    return between


@dataclass(frozen=True)
class Situation:
    """What is out of the ordinary.

    Args:
        params: Makes parameters of given shapes, with gradients. Default: plain, dense, all of their own memory.
        between: Returns what is done before each step. Default None: nothing.
    """

    params: MakeParams = _plain
    between: MakeBetween | None = None


SITUATIONS: Mapping[str, Situation] = {
    "": Situation(),
    "dtensor": Situation(_sharded),
    "dtensor-large": Situation(_sharded),
    "subclass": Situation(_of_a_subclass),
    "bfloat16": Situation(_in_bfloat16),
    "bfloat16-resnet": Situation(_in_bfloat16),
    "gap": Situation(_with_gaps),
    "shared": Situation(_of_shared_memory),
    "turns": Situation(between=_turns),
    "momentum": Situation(between=_another_momentum),
    "none": Situation(between=_every_other_step),
    "rows": Situation(_with_rows, _other_rows),
}


class SituationEntry:
    """An optimizer at the start of a case, in a situation.

    Args:
        case: What is measured.
        make: Builds the optimizer.
        situation: A key of `SITUATIONS`.
    """

    def __init__(self, case: Case, make: Make, situation: str) -> None:
        self._case, self._make, self._situation = case, make, SITUATIONS[situation]
        self.move()

    def move(self) -> None:
        """Make everything anew; the old is freed first."""
        self.step = self.between = None
        params = self._situation.params(self._case.shapes)
        optimizer = self._make(params, self._case)
        self.step = optimizer.step
        self.between = self._situation.between and self._situation.between(optimizer, params)
