"""What is proven: each framework as a row, with how to run it and what it does to precision."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from dialects import formulas, live_optax, live_tensorflow, live_torch
from dialects.agreement import Trace
from dialects.trajectories import CASES

RECORDED = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Framework:
    """A framework and the row that it proves.

    Args:
        dialect: A key of `rmsprop.DIALECTS`.
        run: Takes a case; returns the parameter after every step and the final state under the framework's names.
        state: The framework's name of each state -> rmsprop's; a name with a minus has the opposite sign.
        rounded: The hyperparameters that it keeps in float32 although it computes in float64. They are rounded for
            rmsprop too, which then agrees to the same 1e-12.
        why: What rounds them.
    """

    dialect: str
    run: Callable[..., tuple]
    state: Mapping[str, str] = field(default_factory=dict)
    rounded: tuple[str, ...] = ()
    why: str = "nothing is rounded: its hyperparameters are Python floats and its arithmetic is float64"


def recording(name):
    """Return what a recorder wrote."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def _replay(name, case):
    found = next(found for key, found in recording(name)["cases"].items() if CASES[key] == case)
    return np.array(found["params"]), {key: np.array(value) for key, value in found["state"].items()}


_TORCH = {name: name for name in ("square_avg", "grad_avg", "momentum_buffer")}
_SLOTS = {"rms": "square_avg", "mg": "grad_avg", "momentum": "momentum_buffer"}
_GRAVES = {"n": "square_avg", "g": "grad_avg", "delta": "-momentum_buffer"}

FRAMEWORKS = {
    "torch": Framework("torch", live_torch.torch_for_loop, _TORCH),
    "torch_foreach": Framework("torch", live_torch.torch_foreach, _TORCH),
    "timm": Framework("timm", live_torch.timm, _TORCH),
    "timm_foreach": Framework("timm", live_torch.timm_foreach, _TORCH),
    "sb3": Framework("sb3", live_torch.sb3, _TORCH),
    "optax": Framework("optax", live_optax.run, {"nu": "square_avg", "mu": "grad_avg", "trace": "momentum_buffer"}),
    "tensorflow1": Framework(
        "tensorflow1",
        live_tensorflow.tensorflow1,
        _SLOTS,
        rounded=("lr", "decay", "momentum", "eps"),
        why="_prepare makes float32 tensors of all four, which are then cast to the variable's type",
    ),
    "tensorflow_ops": Framework(
        "tensorflow1",
        live_tensorflow.operators,
        {"ms": "square_avg", "mg": "grad_avg", "mom": "momentum_buffer"},
    ),
    "keras_legacy": Framework(
        "keras_legacy",
        live_tensorflow.keras_legacy,
        _SLOTS,
        rounded=("lr", "decay", "momentum"),
        why="_set_hyper keeps them in float32 variables; epsilon becomes a tensor of the variable's type",
    ),
    "tf_keras": Framework(
        "keras",
        live_tensorflow.tf_keras_new,
        {"velocity": "square_avg", "average_gradient": "grad_avg", "momentum": "momentum_buffer"},
        rounded=("lr", "weight_decay"),
        why="the learning rate is a float32 variable, and tf.cast makes a float32 tensor of weight_decay first",
    ),
    "paddle": Framework(
        "paddle",
        partial(_replay, "paddle"),
        {"mean_square": "square_avg", "mean_grad": "grad_avg", "momentum": "momentum_buffer"},
        rounded=("decay", "momentum", "eps"),
        why="they are C++ floats as attributes of its operator; the learning rate is a tensor of the parameter's type",
    ),
    "mxnet": Framework(
        "mxnet",
        partial(_replay, "mxnet"),
        _GRAVES,
        rounded=("lr", "decay", "momentum", "eps", "weight_decay"),
        why="every parameter of its operators is a C++ float",
    ),
    "chainer": Framework("chainer", partial(_replay, "chainer"), {"ms": "square_avg"}),
    "chainer_graves": Framework("graves", partial(_replay, "chainer_graves"), _GRAVES),
    "mlx": Framework(
        "mlx",
        partial(_replay, "mlx"),
        {"v": "square_avg"},
        rounded=("lr",),
        why="the learning rate is a float32 array",
    ),
    "lecture": Framework("hinton", formulas.lecture, {"mean_square": "square_avg"}),
    "graves_equations": Framework("graves", formulas.graves_equations, _GRAVES),
    "dqn_lua": Framework("dqn", formulas.dqn_lua, {"g2": "square_avg", "g": "-grad_avg"}),
    "d2l_book": Framework("d2l", formulas.d2l_book, {"s": "square_avg"}),
}


@cache
def trace(framework, case):
    """Return the trajectory of a framework (a key of `FRAMEWORKS`) on a case (a key of `CASES`); each runs once."""
    row = FRAMEWORKS[framework]
    params, state = row.run(CASES[case])
    named = {}
    for name, ours in row.state.items():
        if name in state:
            named[ours.removeprefix("-")] = -state[name] if ours.startswith("-") else state[name]
    return Trace(params, named)
