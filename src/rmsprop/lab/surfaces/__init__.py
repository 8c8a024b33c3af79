"""Paths of optimizers on functions of two variables: pictures, films, and a page that recomputes them.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.optimizers import choose
    from rmsprop.lab.problems.builtin.surfaces import SURFACES
    from rmsprop.lab.surfaces.paths import walk

__all__ = ["SURFACES", "choose", "walk"]

__getattr__ = lazily(
    __name__,
    {
        "SURFACES": "rmsprop.lab.problems.builtin.surfaces",
        "choose": "rmsprop.lab.optimizers",
        "walk": ".paths",
    },
)
