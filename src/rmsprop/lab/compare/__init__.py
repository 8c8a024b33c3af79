"""Optimizers compared on one problem: equally tuned, on the same seeds, with nothing left out.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.compare.analysis import analyse
    from rmsprop.lab.compare.results import Budget, Comparison, Facts, Progress, Run, Trial
    from rmsprop.lab.compare.run import compare
    from rmsprop.lab.compare.sentences import headline

__all__ = ["Budget", "Comparison", "Facts", "Progress", "Run", "Trial", "analyse", "compare", "headline"]

__getattr__ = lazily(
    __name__,
    {
        "Budget": ".results",
        "Comparison": ".results",
        "Facts": ".results",
        "Progress": ".results",
        "Run": ".results",
        "Trial": ".results",
        "analyse": ".analysis",
        "compare": ".run",
        "headline": ".sentences",
    },
)
