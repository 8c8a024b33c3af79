"""What a framework calls the learning rate and the fields of `rmsprop.Rule`, where it has a word of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TORCH: Mapping[str, str] = MappingProxyType({"decay": "alpha"})
OPTAX: Mapping[str, str] = MappingProxyType(
    {"lr": "learning_rate", "eps_inside_sqrt": "eps_in_sqrt", "initial_square_avg": "initial_scale"}
)
KERAS: Mapping[str, str] = MappingProxyType({"lr": "learning_rate", "decay": "rho", "eps": "epsilon"})
