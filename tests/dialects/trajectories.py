"""The inputs of every proof: what the frameworks are run on, live or by a recorder.

NumPy is all this needs, so that a recorder can run it beside a framework of another decade. Every gradient and every
starting point is a short binary fraction: float32 and float64 frameworks get the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

STEPS = 24
COLUMNS = ("plain", "tiny", "large", "constant", "gaps", "late", "growing", "fading")


def gradients():
    """Return one row per step, one column per kind of gradient; the update is elementwise, so they do not mix.

    The second moment of ``tiny`` (about 1e-12) is where the place and the size of ε show. Columns that never leave
    zero or repeat one value for long would make v − m² cancel in a framework that subtracts: with a decay of at least
    0.9, the constant column loses a factor of 1/0.9²⁴ = 13 at the end and the others less.
    """
    generator = np.random.default_rng(2012)
    size = generator.integers(512, 2048, (STEPS, len(COLUMNS))) / 1024.0  # 0.5 to 2
    grads = size * generator.choice([-1.0, 1.0], size.shape)
    step = np.arange(STEPS)
    scales = {
        "tiny": 2.0**-20,
        "large": 2.0**20,
        "gaps": np.where(step % 3 == 0, 1.0, 0.0),
        "late": np.where(step < 5, 0.0, 1.0),
        "growing": 2.0 ** (step - 12),
        "fading": 2.0 ** -(step - 4.0),
    }
    for name, scale in scales.items():
        grads[:, COLUMNS.index(name)] *= scale
    grads[:, COLUMNS.index("constant")] = 0.75
    return grads


@dataclass(frozen=True)
class Case:
    """One trajectory: what is switched on, and which learning rates.

    Args:
        settings: Fields of ``rmsprop.Rule`` that are passed; all others stay the framework's own defaults.
        lr: The first learning rate, or None where none is passed.
        falling: Whether the learning rate falls, which is what tells a buffer of lr·u from one of u.
        start: Where each element starts. From zero, a parameter is the sum of its changes, with all their digits.
        still: How many gradients at the beginning are replaced by zero.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    lr: float | None = 0.01
    falling: bool = True
    start: float = 0.0
    still: int = 0

    def learning_rates(self):
        """Return the learning rate of every step, or None where none is passed."""
        if self.lr is None:
            return None
        return [self.lr * (0.75 ** (step // 3) if self.falling else 1.0) for step in range(STEPS)]

    def gradients(self):
        """Return the gradients of every step."""
        grads = gradients()
        grads[: self.still] = 0.0
        return grads

    def parameter(self):
        """Return the parameter before the first step."""
        return np.full(len(COLUMNS), self.start)


CASES = {
    "defaults": Case(lr=None, falling=False),
    "constant": Case(falling=False),
    "falling": Case(),
    "given": Case({"decay": 0.75, "eps": 1e-3}),
    "eps_inside": Case({"eps_inside_sqrt": True}),
    "eps_outside": Case({"eps_inside_sqrt": False}),
    "no_eps": Case({"eps": 0.0}, falling=False),
    "no_eps_falling": Case({"eps": 0.0}),
    "initial_one": Case({"initial_square_avg": 1.0}),
    "momentum": Case({"momentum": 0.5}, falling=False),
    "momentum_falling": Case({"momentum": 0.9}),
    "lr_outside": Case({"momentum": 0.9, "lr_in_momentum": False}),
    "nesterov": Case({"momentum": 0.9, "nesterov": True}),
    "centered": Case({"centered": True}),
    "centered_eps_outside": Case({"centered": True, "eps_inside_sqrt": False}),
    "centered_momentum": Case({"centered": True, "momentum": 0.8}),
    "bias_correction": Case({"bias_correction": True}),
    "bias_correction_momentum": Case({"bias_correction": True, "momentum": 0.9}),
    # At step 1 the corrected variance of any gradient is 0, of which a framework that subtracts keeps the rounding
    # errors only. After a step without a gradient it is well defined.
    "bias_correction_centered": Case({"bias_correction": True, "centered": True}, still=1),
    "weight_decay": Case({"weight_decay": 0.1}, start=1.0),
    "weight_decay_momentum": Case({"weight_decay": 0.1, "momentum": 0.9}, start=1.0),
    "weight_decay_centered": Case({"weight_decay": 0.1, "centered": True}, start=1.0),
    "decoupled": Case({"weight_decay": 0.1, "weight_decay_mode": "decoupled", "momentum": 0.9}, start=1.0),
}

_ANY = ("constant", "falling")
_MOMENTUM = ("momentum", "momentum_falling")
_CENTERED = ("centered", "centered_momentum")
_DECAY = ("weight_decay", "weight_decay_momentum", "weight_decay_centered")
_TORCH = ("defaults", *_ANY, "given", *_MOMENTUM, *_CENTERED, *_DECAY)
_OPTAX = ("eps_outside", "initial_one", "nesterov", "centered_eps_outside")
_CORRECTED = ("bias_correction", "bias_correction_momentum", "bias_correction_centered")

# What each framework can be asked for. One without "defaults" has no default learning rate.
FRAMEWORK_CASES = {
    "torch": _TORCH,
    "torch_foreach": _TORCH,
    "timm": (*_TORCH, "lr_outside", "decoupled"),
    "timm_foreach": (*_TORCH, "lr_outside", "decoupled"),
    "sb3": _TORCH,
    "optax": (*_ANY, "given", *_MOMENTUM, *_CENTERED, *_OPTAX, *_CORRECTED),
    "tensorflow1": (*_ANY, "given", *_MOMENTUM, *_CENTERED),
    "tensorflow_ops": (*_ANY, "given", *_MOMENTUM, *_CENTERED),
    "keras_legacy": ("defaults", *_ANY, "given", *_MOMENTUM, *_CENTERED),
    "tf_keras": ("defaults", *_ANY, "given", *_MOMENTUM, *_CENTERED, *_DECAY),
    "paddle": (*_ANY, "given", *_MOMENTUM, *_CENTERED, *_DECAY),
    "mxnet": ("defaults", *_ANY, "given", *_CENTERED, "weight_decay", "weight_decay_centered"),
    "chainer": ("defaults", *_ANY, "given", "eps_inside"),
    "chainer_graves": ("defaults", *_ANY, "given", *_MOMENTUM),
    "mlx": (*_ANY, "given"),
    "lecture": ("no_eps", "no_eps_falling"),
    "graves_equations": ("defaults", *_ANY),
    "dqn_lua": ("defaults", *_ANY, "weight_decay"),
    "d2l_book": ("defaults", *_ANY),
}
