"""Who is measured: each contender is a row, built on parameters, gradients and state of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.cases import Case
from rmsprop.torch import RMSprop

LEARNING_RATE = 1e-3
OURS, DEFAULT, COMPILED = "rmsprop", "for-loop", "compiled"


@dataclass(frozen=True)
class Contender:
    """A way to take a step.

    Args:
        name: A short key.
        label: What a reader sees.
        make: Builds the optimizer for parameters and a case.
        compiled: Whether ``torch.compile`` makes the step. Default False.
    """

    name: str
    label: str
    make: Callable[[list[Tensor], Case], Optimizer]
    compiled: bool = False


def _torch_rmsprop(**implementation: bool) -> Callable[[list[Tensor], Case], Optimizer]:
    def make(params: list[Tensor], case: Case) -> Optimizer:
        return torch.optim.RMSprop(params, LEARNING_RATE, **case.options, **implementation)

    return make


def _ours(params: list[Tensor], case: Case) -> Optimizer:
    return RMSprop(params, LEARNING_RATE, **case.options)


def _fused_adagrad(params: list[Tensor], case: Case) -> Optimizer:
    return torch.optim.Adagrad(params, LEARNING_RATE, weight_decay=case.options.get("weight_decay", 0.0), fused=True)


def _fused_adam(params: list[Tensor], case: Case) -> Optimizer:
    return torch.optim.Adam(params, LEARNING_RATE, **case.adam_options, fused=True)


CONTENDERS = (
    Contender(OURS, "rmsprop", _ours),
    Contender(DEFAULT, "torch for-loop (default)", _torch_rmsprop(foreach=False)),
    Contender("foreach", "torch foreach", _torch_rmsprop(foreach=True)),
    Contender(COMPILED, "torch.compile'd step", _torch_rmsprop(), compiled=True),
    Contender("adagrad", "torch fused Adagrad", _fused_adagrad),
    Contender("adam", "torch fused Adam", _fused_adam),
)


class Entry:
    """A contender at the start of a case: its optimizer, with gradients in place.

    Args:
        contender: Who.
        case: What.
    """

    def __init__(self, contender: Contender, case: Case) -> None:
        self.name = contender.name
        self.params = [torch.randn(shape, requires_grad=True) for shape in case.shapes]
        for param in self.params:
            param.grad = torch.randn_like(param)
        self.optimizer = contender.make(self.params, case)
        self.step: Callable[[], Any] = self.optimizer.step
        if contender.compiled:
            self.step = torch.compile(self.optimizer.step)

    def arrays(self, param: Tensor) -> list[Tensor]:
        """Return a parameter, its gradient and its state as far as it has elements like the parameter."""
        state = self.optimizer.state[param].values()
        return [param, param.grad, *(value for value in state if value.shape == param.shape)]

    def move(self) -> None:
        """Move everything to fresh memory; objects stay the same, so nothing is compiled anew."""
        for param in self.params:
            for array in self.arrays(param):
                array.data = array.detach().clone()
