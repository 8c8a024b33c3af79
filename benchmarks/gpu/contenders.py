"""Who is measured on a GPU: each contender is a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.gpu.cases import Case
from rmsprop.torch import RMSprop

OURS = "rmsprop"
LEARNING_RATE = 1e-3
Make = Callable[[list[Tensor], Case], Optimizer]


@dataclass(frozen=True)
class Contender:
    """A way to take a step.

    Args:
        name: A short key.
        label: What a reader sees.
        make: Builds the optimizer for parameters and the case.
        compiled: Whether ``torch.compile`` makes the step. Default False.
    """

    name: str
    label: str
    make: Make
    compiled: bool = False


class Entry:
    """A contender at the start of a case, with parameters, gradients and state of its own.

    Args:
        contender: Who.
        case: What.
        device: Where.
    """

    def __init__(self, contender: Contender, case: Case, device: str) -> None:
        new = {"device": device, "dtype": case.dtype}
        self._params = [torch.randn(shape, requires_grad=True, **new) for shape in case.shapes]
        # Two gradients per parameter by turns: as in training, a step does not find them where the last one did. A
        # compiled step would be compiled again.
        self._grads = [
            [torch.randn(shape, **new) for shape in case.shapes] for _ in range(1 if contender.compiled else 2)
        ]
        self._optimizer = contender.make(self._params, case)
        step = self._optimizer.step
        self.step: Callable[[], Any] = torch.compile(step) if contender.compiled else step
        self.turn()

    @property
    def bytes(self) -> int:
        """What parameters, gradients and state take on the device now, in bytes."""
        kept = (value for state in self._optimizer.state.values() for value in state.values())
        state = [value for value in kept if isinstance(value, Tensor) and value.device == self._params[0].device]
        tensors = [*self._params, *(grad for grads in self._grads for grad in grads), *state]
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())

    def turn(self) -> None:
        """Give every parameter its other gradient."""
        self._grads.reverse()
        for param, grad in zip(self._params, self._grads[0], strict=True):
            param.grad = grad


def _torch(params: list[Tensor], case: Case) -> Optimizer:
    return torch.optim.RMSprop(params, LEARNING_RATE, foreach=True, **case.options)


def _ours(params: list[Tensor], case: Case) -> Optimizer:
    return RMSprop(params, LEARNING_RATE, fused=True, **case.options)


def _bitsandbytes(params: list[Tensor], case: Case) -> Optimizer:
    import bitsandbytes  # may be missing, which the report then says

    return bitsandbytes.optim.RMSprop(params, LEARNING_RATE, **case.options)  # type: ignore[no-any-return]


CONTENDERS = (
    Contender(OURS, "rmsprop", _ours),
    Contender("foreach", "torch foreach", _torch),
    Contender("compiled", "torch.compile'd step", _torch, compiled=True),
    Contender(
        "adagrad", "torch fused Adagrad", lambda params, _: torch.optim.Adagrad(params, LEARNING_RATE, fused=True)
    ),
    Contender("adam", "torch fused Adam", lambda params, _: torch.optim.Adam(params, LEARNING_RATE, fused=True)),
    Contender("bitsandbytes", "bitsandbytes RMSprop", _bitsandbytes),
)
