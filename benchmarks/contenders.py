"""Who is measured: each contender is a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch

from benchmarks import on_numpy, on_torch
from benchmarks.cases import LIBRARIES, Case
from benchmarks.entry import Entry
from benchmarks.on_numpy import NumpyEntry
from benchmarks.on_torch import TorchEntry
from benchmarks.situations import SituationEntry

OURS, DEFAULT, COMPILED = "rmsprop", "for-loop", "compiled"
COMPOSITE, ORDINARY = "composite", "ordinary"


@dataclass(frozen=True)
class Contender:
    """A way to take a step.

    Args:
        libraries: Whose arrays it updates.
        name: A short key, one of its kind in the library.
        label: What a reader sees.
        enter: Builds its parameters, gradients and state for a case.
        compiled: Whether ``torch.compile`` makes the step. Default False.
    """

    libraries: Sequence[str]
    name: str
    label: str
    enter: Callable[[Case], Entry]
    compiled: bool = False


def _torch(name: str, label: str, make: on_torch.Make, compiled: bool = False) -> Contender:
    def enter(case: Case) -> Entry:
        if case.situation:
            return SituationEntry(case, make, case.situation)
        return TorchEntry(case, make, compiled)

    return Contender(["torch"], name, label, enter, compiled)


def _numpy(name: str, label: str, make: on_numpy.Make) -> Contender:
    return Contender(["numpy"], name, label, lambda case: NumpyEntry(case, make))


def _loaded_late(libraries: Sequence[str], name: str, label: str, module: str, function: str) -> Contender:
    """Return a contender of a library that takes seconds to load, and that memory is measured without."""

    def enter(case: Case) -> Entry:
        return getattr(import_module(module), function)(case)  # type: ignore[no-any-return]

    return Contender(libraries, name, label, enter)


_KERAS = [library for library in LIBRARIES if library.startswith("keras-")]
CONTENDERS = (
    _torch(OURS, "rmsprop", on_torch.ours),
    _torch(COMPOSITE, "rmsprop, fused=False", on_torch.composite),
    Contender(["torch"], ORDINARY, "rmsprop, ordinary case", lambda case: SituationEntry(case, on_torch.ours, "")),
    _torch("stochastic", "rmsprop, stochastic rounding", on_torch.rounded("stochastic")),
    _torch("kahan", "rmsprop, Kahan's rounding", on_torch.rounded("kahan")),
    _torch("bfloat16-state", "rmsprop, state in bfloat16", on_torch.packed(torch.bfloat16)),
    _torch("8bit-state", "rmsprop, state in 8 bits", on_torch.packed("8bit")),
    _torch("schedule-free", "rmsprop, schedule-free", on_torch.schedule_free),
    _torch("adamw-schedule-free", "schedulefree's AdamW", on_torch.adamw_schedule_free),
    _torch(DEFAULT, "torch for-loop (default)", on_torch.torch_rmsprop(foreach=False)),
    _torch("foreach", "torch foreach", on_torch.torch_rmsprop(foreach=True)),
    _torch(COMPILED, "torch.compile'd step", on_torch.torch_rmsprop(), compiled=True),
    _torch("adagrad", "torch fused Adagrad", on_torch.fused_adagrad),
    _torch("adam", "torch fused Adam", on_torch.fused_adam),
    _numpy(OURS, "rmsprop", on_numpy.ours),
    _numpy("hand-written", "hand-written NumPy", on_numpy.hand_written),
    _numpy("careful", "careful NumPy (out=)", on_numpy.careful),
    _loaded_late(["jax"], OURS, "rmsprop", "benchmarks.on_jax", "ours"),
    _loaded_late(["jax"], "optax", "optax.rmsprop", "benchmarks.on_jax", "optaxs"),
    _loaded_late(_KERAS, OURS, "rmsprop", "benchmarks.on_keras", "ours"),
    _loaded_late(_KERAS, "keras", "Keras' own RMSprop", "benchmarks.on_keras", "kerass"),
    _loaded_late(_KERAS, "none", "no update at all", "benchmarks.on_keras", "none"),
)


def entering(contenders: Sequence[Contender], case: Case) -> list[Contender]:
    """Return those of some contenders that take part in a case."""
    return [one for one in contenders if case.library in one.libraries and one.name in case.contenders]
