"""Dense copies, which a kernel updates in place of parameters, or reads in place of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rmsprop import layout
from rmsprop.averaging import Updating
from rmsprop.storage import NARROW_DTYPES
from rmsprop.torch.local import inside, is_dense, is_odd
from rmsprop.torch.state.packing import CODES, held
from rmsprop.torch.state.param_state import ParamState
from rmsprop.torch.state.rounding import state_dtype

_NARROW = {getattr(torch, name) for name in NARROW_DTYPES}


def copy_dtype(param: Tensor, state: Mapping[str, Any], rule: Updating) -> torch.dtype | None:
    """Return the dtype of the dense copy in which a kernel must update a parameter, or None if it needs none.

    It does if the parameter has gaps in memory or state in another memory order, and if its gradient is wider than
    itself, which must not be rounded before it is used.

    Args:
        param: The parameter.
        state: Its state, as far as there is any yet.
        rule: What decides which state is used.
    """
    memory, kept = (
        inside(param),
        [inside(held(state, name)) for name in rule.state_names if name in state or CODES[name] in state],
    )
    if param.grad is not None and param.grad.dtype != memory.dtype and memory.dtype in _NARROW:
        return state_dtype(param)
    has_other_order = len({_order(memory), *map(_order, kept)}) > 1
    return memory.dtype if has_other_order or is_odd(memory) else None


def _order(tensor: Tensor) -> tuple[int, ...]:
    return tuple(stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)


class DenseCopies:
    """The copies that a kernel works on instead of some parameters: all of one kind, so that all are copied or none.

    Args:
        params: The parameters.
        states: The state of each.
        rule: What decides which state is used.
        dtype: That of the copies that are updated in place of parameters; None if parameters are.
        of_gradients: Whether copies of gradients are read.
        read: What returns the memory of a parameter or its state.

    Attributes:
        memories: What is updated: copies, or the parameters' own memory.
        all: The copies, of whatever.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        states: Sequence[ParamState],
        rule: Updating,
        *,
        dtype: torch.dtype | None,
        of_gradients: bool,
        read: Callable[[Any], Any],
    ) -> None:
        self._params, self._read, self._copies_params = params, read, dtype is not None
        self.memories: list[Tensor] = list(map(read, params))
        if dtype is not None:
            alike = (read(held(state, rule.state_names[0])) for state in states)
            self.memories = [_dense(*each, dtype) for each in zip(self.memories, alike, strict=True)]
        self._of_gradients = [torch.empty_like(each) for each in self.memories] if of_gradients else []
        self._gradients: Sequence[Any] = ()
        self.all: Sequence[Tensor] = [*(self.memories if self._copies_params else ()), *self._of_gradients]
        self._places = self._places_of_originals()

    def _places_of_originals(self) -> list[Any]:
        """Return where the parameters are whose copies are updated."""
        originals = map(self._read, self._params if self._copies_params else ())
        return [(each.data_ptr(), each.shape, each.stride()) for each in originals]

    def originals_stay(self) -> bool:
        """Whether the parameters whose copies are updated are still where they were."""
        return self._places_of_originals() == self._places

    def of_gradients(self, gradients: Sequence[Any]) -> list[Any] | None:
        """Return the copies to be filled with gradients before the update; None if one can't hold its gradient."""
        self._gradients = gradients
        if not all(map(can_hold, self.memories, gradients)):
            return None
        return [None if grad is None else copy for grad, copy in zip(gradients, self._of_gradients, strict=True)]

    def fill(self, sizes: Iterable[int]) -> None:
        """Fill the copies of parameters that are about to be updated there, and of gradients.

        Args:
            sizes: The sizes of all parameters in the step, `rmsprop.layout.RESTS` where one takes no part.
        """
        with torch.no_grad():
            for i in self._at_work(sizes):
                self.memories[i].copy_(self._read(self._params[i]))
            for copy, grad in zip(self._of_gradients, self._gradients, strict=False):
                if grad is not None:
                    copy.copy_(grad)

    def copies_out(self, sizes: Iterable[int]) -> list[Callable[[], Any]]:
        """Return the calls that write copies, once they are updated, back to their parameters.

        Args:
            sizes: As for `fill`.
        """
        return [partial(self._read(self._params[i]).copy_, self.memories[i]) for i in self._at_work(sizes)]

    def _at_work(self, sizes: Iterable[int]) -> list[int]:
        return [i for i, size in enumerate(sizes) if size != layout.RESTS] if self._copies_params else []

    def release(self) -> None:
        """Let go of the gradients, so that they can be freed."""
        self._gradients = ()


def _dense(memory: Tensor, alike: Tensor, dtype: torch.dtype) -> Tensor:
    """Return dense memory for a copy of a tensor, in the memory order of another one, its state."""
    if is_dense(alike):
        return torch.empty_strided(memory.shape, alike.stride(), dtype=dtype, device=memory.device)
    return torch.empty(memory.shape, dtype=dtype, device=memory.device)


def can_hold(memory: Tensor, grad: Any) -> bool:
    """Whether a copy of a gradient can be made in the parameter's dtype without rounding it before it is used."""
    if grad is None:
        return True
    if grad.layout != torch.strided or grad.shape != memory.shape:
        return False
    return memory.dtype not in _NARROW or torch.promote_types(grad.dtype, memory.dtype) == memory.dtype


def in_order(memory: Tensor, grad: Any) -> Any:
    """Return a gradient, copied into its parameter's memory order if it has another one."""
    if grad is None or not can_hold(memory, grad):
        return grad
    same = grad.dtype == memory.dtype and grad.stride() == memory.stride() and not is_odd(grad)
    return grad if same else torch.empty_like(memory).copy_(grad)
