"""RMSProp in every framework's dialect: exact, fast, and in the least memory.

The optimizers live in one module per framework: `rmsprop.torch` for PyTorch. This module holds what they share and
imports no framework.
"""

from rmsprop.dialects import DIALECTS, Dialect
from rmsprop.horizon import (
    decay_from_half_life,
    decay_from_mass_window,
    decay_from_window,
    half_life,
    mass_window,
    window,
)
from rmsprop.rule import Rule

__all__ = [
    "DIALECTS",
    "Dialect",
    "Rule",
    "decay_from_half_life",
    "decay_from_mass_window",
    "decay_from_window",
    "half_life",
    "mass_window",
    "window",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "RMSprop":
        raise ImportError("rmsprop has one RMSprop per framework: use `from rmsprop.torch import RMSprop` for PyTorch")
    raise AttributeError(f"module 'rmsprop' has no attribute {name!r}")
