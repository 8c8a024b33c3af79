"""Who is measured: each contender is a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import on_numpy, on_torch
from benchmarks.cases import Case
from benchmarks.entry import Entry
from benchmarks.on_numpy import NumpyEntry
from benchmarks.on_torch import TorchEntry

OURS, DEFAULT, COMPILED = "rmsprop", "for-loop", "compiled"


@dataclass(frozen=True)
class Contender:
    """A way to take a step.

    Args:
        library: Whose arrays it updates: it enters the cases of this library.
        name: A short key, one of its kind in the library.
        label: What a reader sees.
        enter: Builds its parameters, gradients and state for a case.
        compiled: Whether ``torch.compile`` makes the step. Default False.
    """

    library: str
    name: str
    label: str
    enter: Callable[[Case], Entry]
    compiled: bool = False


def _torch(name: str, label: str, make: on_torch.Make, compiled: bool = False) -> Contender:
    return Contender("torch", name, label, lambda case: TorchEntry(case, make, compiled), compiled)


def _numpy(name: str, label: str, make: on_numpy.Make) -> Contender:
    return Contender("numpy", name, label, lambda case: NumpyEntry(case, make))


def _jax(name: str, label: str, function: str) -> Contender:
    def enter(case: Case) -> Entry:
        from benchmarks import on_jax  # only here: JAX takes a second to load, and memory is measured without it

        return getattr(on_jax, function)(case)  # type: ignore[no-any-return]

    return Contender("jax", name, label, enter)


CONTENDERS = (
    _torch(OURS, "rmsprop", on_torch.ours),
    _torch(DEFAULT, "torch for-loop (default)", on_torch.torch_rmsprop(foreach=False)),
    _torch("foreach", "torch foreach", on_torch.torch_rmsprop(foreach=True)),
    _torch(COMPILED, "torch.compile'd step", on_torch.torch_rmsprop(), compiled=True),
    _torch("adagrad", "torch fused Adagrad", on_torch.fused_adagrad),
    _torch("adam", "torch fused Adam", on_torch.fused_adam),
    _numpy(OURS, "rmsprop", on_numpy.ours),
    _numpy("hand-written", "hand-written NumPy", on_numpy.hand_written),
    _numpy("careful", "careful NumPy (out=)", on_numpy.careful),
    _jax(OURS, "rmsprop", "ours"),
    _jax("optax", "optax.rmsprop", "optaxs"),
)


def entering(contenders: tuple[Contender, ...] | list[Contender], case: Case) -> list[Contender]:
    """Return those of some contenders that enter a case."""
    return [contender for contender in contenders if contender.library == case.library]
