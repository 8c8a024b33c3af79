"""What there is to learn: problems, their data and their models.

Importing this package imports no framework: what needs torch is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmsprop.lab.problems.checks import check
    from rmsprop.lab.problems.loading import load
    from rmsprop.lab.problems.problem import Data, Metric, Problem

__all__ = ["Data", "Metric", "Problem", "check", "load"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rmsprop.lab.problems import checks, loading, problem

    modules = {"check": checks, "load": loading}
    return getattr(modules.get(name, problem), name)
