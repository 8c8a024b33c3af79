"""The contenders on PyTorch: optimizers with gradients in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from schedulefree import AdamWScheduleFree
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.cases import Case
from benchmarks.entry import LEARNING_RATE
from rmsprop.storage import Rounding
from rmsprop.torch import RMSprop, ScheduleFreeRMSprop

Make = Callable[[list[Tensor], Case], Optimizer]


class TorchEntry:
    """An optimizer at the start of a case.

    Args:
        case: What is measured.
        make: Builds the optimizer for parameters and the case.
        compiled: Whether ``torch.compile`` makes the step. Default False.
    """

    between = None

    def __init__(self, case: Case, make: Make, compiled: bool = False) -> None:
        self.params = [torch.randn(shape, requires_grad=True) for shape in case.shapes]
        for param in self.params:
            param.grad = torch.randn_like(param)
        self._optimizer = make(self.params, case)
        self.step: Callable[[], Any] = torch.compile(self._optimizer.step) if compiled else self._optimizer.step

    def _tensors(self, param: Tensor) -> list[Tensor]:
        state = self._optimizer.state[param].values()
        return [param, param.grad, *(value for value in state if value.shape == param.shape)]

    def arrays(self) -> list[list[np.ndarray]]:
        """Return, per parameter, views of it, its gradient and all state of its size."""
        return [[tensor.detach().numpy() for tensor in self._tensors(param)] for param in self.params]

    def move(self) -> None:
        """Move everything to fresh memory; objects stay the same, so nothing is compiled anew."""
        for param in self.params:
            for tensor in self._tensors(param):
                tensor.data = tensor.detach().clone()


def torch_rmsprop(**implementation: bool) -> Make:
    """Return what makes torch's own optimizer with one of its implementations."""

    def make(params: list[Tensor], case: Case) -> Optimizer:
        return torch.optim.RMSprop(params, LEARNING_RATE, **case.options, **implementation)

    return make


def ours(params: list[Tensor], case: Case) -> Optimizer:
    """Make rmsprop's optimizer."""
    return RMSprop(params, LEARNING_RATE, **case.options)


def rounded(rounding: Rounding) -> Make:
    """Return what makes rmsprop's optimizer with a rounding of 16-bit parameters."""
    return lambda params, case: RMSprop(params, LEARNING_RATE, **case.options, rounding=rounding)


def packed(state_dtype: torch.dtype | Literal["8bit"]) -> Make:
    """Return what makes rmsprop's optimizer with state in fewer bits."""
    return lambda params, case: RMSprop(params, LEARNING_RATE, **case.options, state_dtype=state_dtype)


def schedule_free(params: list[Tensor], case: Case) -> Optimizer:
    """Make rmsprop's optimizer that averages weights."""
    optimizer = ScheduleFreeRMSprop(params, LEARNING_RATE)
    optimizer.train()
    return optimizer


def adamw_schedule_free(params: list[Tensor], case: Case) -> Optimizer:
    """Make the optimizer of schedulefree that computes the same, with foreach operations."""
    optimizer: Optimizer = AdamWScheduleFree(params, LEARNING_RATE, foreach=True)
    optimizer.train()  # type: ignore[attr-defined]
    return optimizer


def composite(params: list[Tensor], case: Case) -> Optimizer:
    """Make rmsprop's optimizer from plain operations on tensors."""
    return RMSprop(params, LEARNING_RATE, **case.options, fused=False)


def fused_adagrad(params: list[Tensor], case: Case) -> Optimizer:
    """Make the optimizer that moves the same bytes, from torch's own fused kernels."""
    return torch.optim.Adagrad(params, LEARNING_RATE, weight_decay=case.options.get("weight_decay", 0.0), fused=True)


def fused_adam(params: list[Tensor], case: Case) -> Optimizer:
    """Make the fused optimizer that most people use."""
    return torch.optim.Adam(params, LEARNING_RATE, **case.adam_options, fused=True)
