"""Optimizers compared on one problem: equally tuned, on the same seeds, with nothing left out.

Importing this package imports no framework: what needs torch is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmsprop.lab.compare.results import Budget, Comparison, Facts, Progress, Run, Trial
    from rmsprop.lab.compare.run import compare

__all__ = ["Budget", "Comparison", "Facts", "Progress", "Run", "Trial", "compare"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "run" if name == "compare" else "results"
    return getattr(import_module(f"rmsprop.lab.compare.{module}"), name)
