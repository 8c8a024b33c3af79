"""RMSProp in every framework's variant of it: exact and fast.

The optimizers live in one module per framework: `rmsprop.torch`, `rmsprop.numpy`, `rmsprop.jax` (for Optax) and
`rmsprop.keras`; `rmsprop.checkpoint` carries their state from one to another. This module holds what they share and
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
from rmsprop.recipes import RECIPES, Recipe
from rmsprop.rule import Rule

__all__ = [
    "DIALECTS",
    "RECIPES",
    "Dialect",
    "Recipe",
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
        raise ImportError(
            "rmsprop has one RMSprop per framework: from rmsprop.torch, rmsprop.numpy or rmsprop.keras import RMSprop, "
            "or use rmsprop.jax.rmsprop with Optax"
        )
    raise AttributeError(f"module 'rmsprop' has no attribute {name!r}")
