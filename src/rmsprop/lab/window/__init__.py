"""What a decay keeps: the weights of past gradients, the deficit of the first steps, and both on real gradients.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.window.decay import deficit, measure, weights

__all__ = ["deficit", "measure", "weights"]

__getattr__ = lazily(
    __name__,
    {
        "deficit": ".decay",
        "measure": ".decay",
        "weights": ".decay",
    },
)
