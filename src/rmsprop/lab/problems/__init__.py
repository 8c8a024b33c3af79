"""What there is to learn: problems, their data and their models.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.problems.answers import Answers
    from rmsprop.lab.problems.checks import check
    from rmsprop.lab.problems.loading import load
    from rmsprop.lab.problems.problem import Baseline, Data, Metric, Problem

__all__ = ["Answers", "Baseline", "Data", "Metric", "Problem", "check", "load"]

__getattr__ = lazily(
    __name__,
    {
        "Answers": ".answers",
        "Baseline": ".problem",
        "Data": ".problem",
        "Metric": ".problem",
        "Problem": ".problem",
        "check": ".checks",
        "load": ".loading",
    },
)
