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
from rmsprop.lab.train.scores import Evaluation, Evaluations
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
        evaluations: Other scores of both, where outputs are classes or numbers.
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
    evaluations: Evaluations
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
    def keeps_average(self) -> bool:
        """Whether the weights that were kept are an average."""
        return self.kept is not None and self.epochs[self.kept - 1].averaged is not None

    @property
    def stopped_early(self) -> bool:
        """Whether the run was stopped because its validation loss got no lower."""
        return self.curves.patience is not None

    def as_dict(self) -> dict[str, Any]:
        """Return what came of it as plain values for JSON: a number that isn't finite is None, a lost loss a word."""
        lost, baseline, found = self.curves.lost, self.problem.baseline, self.evaluations
        values: dict[str, Any] = finite(
            {
                "format": _FORMAT,
                "kind": self.facts[0].kind,
                "epochs": len(self.epochs),
                "steps": self.epochs[-1].step if self.epochs else 0,
                "stopped_early": self.stopped_early,
                "kept": self.kept and self._kept(self.kept),
                "classes": list(found.answers.classes) if found.answers else [],
                "positive": found.answers.sought if found.answers else None,
                "scores": self._scores(self.scores, found.model),
                "baseline": baseline
                and {"answer": baseline.name, "scores": self._scores(self.baseline, found.baseline)},
                "confusion": self._confusion(),
                "optimum": self.problem.optimum,
                "line": self.line,
                "verdicts": [fact.as_dict() for fact in self.facts],
            }
        )
        # What the loss became tells what happened, also where JSON has no number for it.
        values["lost"] = None if lost is None else {"step": lost.step, "loss": number(lost.loss)}
        return values

    def _scores(self, scores: Scores, evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, Any]]:
        parts = scores if self.problem.holds_out else [part for part in ("train",) if part in scores]
        return {
            part: {"loss": scores[part][0]}
            | (evaluations[part].as_dict() if part in evaluations else {})
            | {self.problem.metric.name: scores[part][1]}
            for part in parts
        }

    def _confusion(self) -> dict[str, Any] | None:
        """Return how often each class (row) was answered with each (column), on the rows that were judged last."""
        if not self.evaluations.model:
            return None
        part, last = list(self.evaluations.model.items())[-1]
        return None if last.confusion is None else {"rows": part, "matrix": last.confusion.tolist()}

    def _kept(self, epoch: int) -> dict[str, Any]:
        of = self.epochs[epoch - 1]
        loss = of.kept_loss if self.problem.holds_out else None
        return {
            "weights": self.settings.keep,
            "epoch": epoch,
            "validation_loss": loss,
            "averaged": self.keeps_average,
        }

    def write(self, path: Path) -> None:
        """Write what came of it as JSON.

        Args:
            path: The file.
        """
        write_atomically(path, (json.dumps(self.as_dict(), indent=1) + "\n").encode())
