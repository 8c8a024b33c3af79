"""Which learning rate, decay and epsilon: a range test, runs that verify it, and maps of its surroundings.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.tune.tuning import Tuning, tune
    from rmsprop.lab.tune.words import summary

__all__ = ["Tuning", "summary", "tune"]

__getattr__ = lazily(
    __name__,
    {
        "Tuning": ".tuning",
        "summary": ".words",
        "tune": ".tuning",
    },
)
