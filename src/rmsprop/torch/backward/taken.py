"""Parameters whose steps backward takes, each for one optimizer.

A second one would find no gradient, because the first has used and freed it, and train nothing without a word.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, MutableMapping
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_takers: MutableMapping[Tensor, weakref.ref[Any]] = WeakTensorKeyDictionary()


def check_free(param: Tensor, name: str, taker: object) -> None:
    """Refuse a parameter whose steps backward takes for another optimizer.

    Args:
        param: The parameter.
        name: What an error calls it.
        taker: Who asks.

    Raises:
        RuntimeError: If there is another.
    """
    if param in _takers and _takers[param]() not in (None, taker):
        raise RuntimeError(
            f"backward takes the steps of parameter {name} for another optimizer already, and frees its gradient: "
            "remove() that one's handle"
        )


def take(param: Tensor, taker: object) -> None:
    """Note who takes the steps of a parameter."""
    _takers[param] = weakref.ref(taker)


def give_back(params: Iterable[Tensor]) -> None:
    """Note that nobody does any more."""
    for param in params:
        _takers.pop(param, None)
