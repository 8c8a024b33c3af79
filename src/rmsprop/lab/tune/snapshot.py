"""What a trial run changes, put back to the last bit: models, an optimizer, a loader and every random state."""

from __future__ import annotations

import copy
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

_Undo = Callable[[], object]


class Snapshot:
    """Models, an optimizer and random states as they are now.

    Values of parameters and buffers are copied; gradients and the optimizer's state aren't, because a trial run works
    on others. What a module keeps in a list or another object of its own is not seen.

    Args:
        modules: The modules whose parameters, buffers, modes and other attributes are kept.
        optimizer: The optimizer that will run. Its parameters are kept too.
        sources: Objects that may hold a random generator: the loader.
        scaler: The scaler of gradients that will run; None if there is none.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        optimizer: Optimizer,
        sources: Iterable[Any] = (),
        scaler: GradScaler | None = None,
    ) -> None:
        """See the class."""
        self.optimizer = optimizer
        self._scaler = scaler
        self._scale = {} if scaler is None else copy.deepcopy(vars(scaler))
        self._modules = [part for module in modules for part in module.modules()]
        self._tensors = _tensors(self._modules, optimizer)
        self._values = [tensor.detach().clone() for tensor in self._tensors]
        self._attributes = [_attributes(module) for module in self._modules]
        self._undo = [
            *(_flags(tensor) for tensor in self._tensors if tensor.is_leaf),
            _optimizer(optimizer),
            *_random_states(),
            *(_generator(found) for source in sources for found in _generators(source)),
        ]
        self._state = dict(optimizer.state)
        self._groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]

    def rewind(self) -> None:
        """Begin a trial run: values as they were, no gradients, and a copy of the optimizer's state to work on."""
        self._put_modules_back()
        self._put_scaler_back()
        for tensor in self._tensors:
            if tensor.is_leaf:
                tensor.grad = None
        parameters = {id(tensor): tensor for tensor in self._tensors}  # keys of the state: the same objects
        state, groups = copy.deepcopy((self._state, self._groups), parameters)
        self.optimizer.state = copy.copy(self.optimizer.state)
        self.optimizer.state.clear()
        self.optimizer.state.update(state)
        for group, numbers in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(numbers)

    def restore(self) -> None:
        """Put everything back. A Ctrl-C waits until that is done."""
        with _interrupt_later():
            self._put_modules_back()
            self._put_scaler_back()
            for undo in self._undo:
                undo()

    def _put_modules_back(self) -> None:
        for undo in self._attributes:
            undo()
        with torch.no_grad():
            for tensor, value in zip(self._tensors, self._values, strict=True):
                tensor.copy_(value)

    def _put_scaler_back(self) -> None:
        if self._scaler is not None:
            vars(self._scaler).clear()
            vars(self._scaler).update(copy.deepcopy(self._scale))


@contextmanager
def kept(
    modules: Iterable[nn.Module], optimizer: Optimizer, loader: object, scaler: GradScaler | None = None
) -> Iterator[Snapshot]:
    """Put everything back when the context ends, however it ends.

    Args:
        modules: The modules that will run.
        optimizer: The optimizer that will run.
        loader: What gives the batches; the generators of a `torch.utils.data.DataLoader` and its samplers are kept.
        scaler: The scaler of gradients that will run. Default: none.

    Yields:
        The snapshot, to begin trial runs with.
    """
    snapshot = Snapshot(modules, optimizer, _sources(loader), scaler)
    try:
        yield snapshot
    finally:
        snapshot.restore()


def _tensors(modules: list[nn.Module], optimizer: Optimizer) -> list[Tensor]:
    """Return every parameter and buffer once."""
    found = [tensor for module in modules for tensor in (*module._parameters.values(), *module._buffers.values())]
    found += [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return list({id(tensor): tensor for tensor in found if tensor is not None}.values())


def _attributes(module: nn.Module) -> _Undo:
    saved = {name: copy.copy(v) if isinstance(v, dict) else v for name, v in vars(module).items()}

    def undo() -> None:
        for name in vars(module).keys() - saved.keys():
            del vars(module)[name]
        for name, value in saved.items():
            now = vars(module).get(name)
            if isinstance(value, dict) and isinstance(now, dict):  # the same dict, with what it held
                now.clear()
                now.update(value)
            else:
                vars(module)[name] = value

    return undo


def _flags(tensor: Tensor) -> _Undo:
    gradient, requires_grad = tensor.grad, tensor.requires_grad

    def undo() -> None:
        tensor.grad = gradient
        tensor.requires_grad_(requires_grad)

    return undo


def _optimizer(optimizer: Optimizer) -> _Undo:
    attributes = dict(vars(optimizer))  # the state itself among them: runs get another
    groups = [(group, dict(group)) for group in optimizer.param_groups]

    def undo() -> None:
        vars(optimizer).clear()
        vars(optimizer).update(attributes)
        for group, content in groups:
            group.clear()
            group.update(content)

    return undo


def _random_states() -> Iterator[_Undo]:
    states: list[tuple[Callable[[Any], object], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (np.random.set_state, np.random.get_state()),
        (random.setstate, random.getstate()),
    ]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    for put, state in states:
        yield lambda put=put, state=state: put(state)  # type: ignore[misc]


def _sources(loader: object) -> list[object]:
    """Return a loader and the parts of it that may have a generator of their own."""
    sources = [loader]
    for source in sources:
        parts = (getattr(source, name, None) for name in ("sampler", "batch_sampler", "dataset"))
        sources += [part for part in parts if part is not None and all(part is not known for known in sources)]
    return sources


def _generators(source: object) -> list[object]:
    kinds = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    return [value for value in getattr(source, "__dict__", {}).values() if isinstance(value, kinds)]


def _generator(generator: Any) -> _Undo:
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        state = bits.state
        return lambda: setattr(bits, "state", state)
    reading, writing = {
        torch.Generator: ("get_state", "set_state"),
        np.random.RandomState: ("get_state", "set_state"),
    }.get(type(generator), ("getstate", "setstate"))
    state = getattr(generator, reading)()
    return lambda: getattr(generator, writing)(state)


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Keep a Ctrl-C until the end of the context; another thread than the main one never gets any."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    waiting: list[tuple[Any, ...]] = []
    with ExitStack() as stack:
        signal.signal(signal.SIGINT, lambda *call: waiting.append(call))
        stack.callback(signal.signal, signal.SIGINT, previous)
        yield
    if waiting:
        previous(*waiting[0])
