"""What came of a run of `rmsprop train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rmsprop.lab.problems import Problem
from rmsprop.lab.train.settings import Settings
from rmsprop.lab.train.verdict import Record, Verdict


@dataclass(frozen=True)
class Result:
    """A run that ended.

    Args:
        settings: What it ran with.
        problem: What it learnt.
        folder: Where its files are.
        record: Its curves.
        verdicts: How it is judged; the first is the verdict.
        scores: For each part of the split the loss and the metric; empty after a divergence.
        line: The learned line of a linear model with one input.
        versions: The versions that it ran with.
    """

    settings: Settings
    problem: Problem
    folder: Path
    record: Record
    verdicts: tuple[Verdict, ...]
    scores: Mapping[str, tuple[float, float]]
    line: str | None
    versions: Mapping[str, str]

    @property
    def excess(self) -> float | None:
        """How far the training loss lies above the least one; None if that isn't known or the run diverged."""
        optimum = self.problem.optimum
        return None if optimum is None or not self.scores else self.scores["train"][0] - optimum

    @property
    def diverged(self) -> bool:
        """Whether the run lost its loss."""
        return self.record.lost_at is not None
