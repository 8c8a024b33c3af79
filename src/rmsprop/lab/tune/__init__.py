"""Which learning rate, decay and epsilon: a range test, runs that verify it, and maps of its surroundings.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.tune.results import Tuning
    from rmsprop.lab.tune.sentences import summary
    from rmsprop.lab.tune.tuning import tune

__all__ = ["Tuning", "summary", "tune"]

__getattr__ = lazily(
    __name__,
    {
        "Tuning": ".results",
        "summary": ".sentences",
        "tune": ".tuning",
    },
)
