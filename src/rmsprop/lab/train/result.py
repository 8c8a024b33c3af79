"""What came of a run of `rmsprop train`, as data: of this its sentences, its report and its result.json are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmsprop.files import write_atomically
from rmsprop.lab.format import finite, number
from rmsprop.lab.problems import Problem
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.settings import Settings
from rmsprop.lab.verdict.curves import LossCurves
from rmsprop.lab.verdict.facts import Fact

_FORMAT = 1
Scores = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Result:
    """A run that ended.

    Args:
        settings: What it ran with.
        problem: What it learnt.
        folder: Where its files are.
        epochs: The epochs that were completed.
        steps_per_epoch: Steps per epoch.
        curves: Its losses.
        facts: How it is judged; the first is the verdict.
        scores: For each part of the split the loss and the metric of the weights that were kept; empty if none were.
        baseline: The same of the best constant answer; empty where there is no such thing.
        line: The learned line of a linear model with one input.
        kept: The epoch whose weights were kept, which are what the scores are of; None if none were.
        versions: The versions that it ran with.
    """

    settings: Settings
    problem: Problem
    folder: Path
    epochs: Sequence[Epoch]
    steps_per_epoch: int
    curves: LossCurves
    facts: tuple[Fact, ...]
    scores: Scores
    baseline: Scores
    line: str | None
    kept: int | None
    versions: Mapping[str, str]

    @property
    def excess(self) -> float | None:
        """How far the training loss lies above the least one; None if that isn't known or nothing was kept."""
        optimum = self.problem.optimum
        return None if optimum is None or not self.scores else self.scores["train"][0] - optimum

    @property
    def diverged(self) -> bool:
        """Whether the run lost its loss."""
        return self.curves.lost is not None

    @property
    def stopped_early(self) -> bool:
        """Whether the run was stopped because its validation loss got no lower."""
        return self.curves.patience is not None

    @property
    def table(self) -> list[tuple[str, int, float, float]]:
        """The rows of a table of scores: name, number of rows, loss and metric; the baseline is that of the last."""
        rows = [(part, len(self.problem.parts[part]), *score) for part, score in self.scores.items()]
        if rows and self.baseline and self.problem.baseline:
            part, number, *_ = rows[-1]
            rows.append((f"{part}, {self.problem.baseline.name}", number, *self.baseline[part]))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return what came of it as plain values for JSON: a number that isn't finite is None, a lost loss a word."""
        lost, metric, baseline = self.curves.lost, self.problem.metric.name, self.problem.baseline
        parts = self.problem.parts if self.problem.holds_out else ("train",)
        values: dict[str, Any] = finite(
            {
                "format": _FORMAT,
                "kind": self.facts[0].kind,
                "epochs": len(self.epochs),
                "steps": self.epochs[-1].step if self.epochs else 0,
                "stopped_early": self.stopped_early,
                "kept": self.kept and self._kept(self.kept),
                "scores": {part: {"loss": loss, metric: value} for part, (loss, value) in self.scores.items()},
                "baseline": baseline
                and {
                    "answer": baseline.name,
                    "scores": {
                        part: {"loss": self.baseline[part][0], metric: self.baseline[part][1]} for part in parts
                    },
                },
                "optimum": self.problem.optimum,
                "line": self.line,
                "verdicts": [fact.as_dict() for fact in self.facts],
            }
        )
        # What the loss became tells what happened, also where JSON has no number for it.
        values["lost"] = None if lost is None else {"step": lost.step, "loss": number(lost.loss)}
        return values

    def _kept(self, epoch: int) -> dict[str, Any]:
        loss = self.epochs[epoch - 1].validation_loss if self.problem.holds_out else None
        return {"weights": self.settings.keep, "epoch": epoch, "validation_loss": loss}

    def write(self, path: Path) -> None:
        """Write what came of it as JSON.

        Args:
            path: The file.
        """
        write_atomically(path, (json.dumps(self.as_dict(), indent=1) + "\n").encode())
