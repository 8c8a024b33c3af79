"""Scores of a model's answers, as scikit-learn computes them: what people ask for besides the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from rmsprop.lab.problems.answers import Answers
from rmsprop.lab.problems.problem import Problem, predict

Indices = npt.NDArray[np.int64]
CLASS_SCORES = ("accuracy", "balanced_accuracy", "auc", "f1")
NUMBER_SCORES = ("rmse", "mae", "r2")
# What the most frequent class has of the rarest one's rows, above which an accuracy alone would flatter.
_IMBALANCED = 2.0


@dataclass(frozen=True)
class Evaluation:
    """The scores of answers for some rows.

    Args:
        scores: Each score by name: `CLASS_SCORES` or `NUMBER_SCORES`. One that isn't defined for the rows is NaN.
        recall: Of each class, the share of its rows that were answered with it; NaN for a class without rows. Empty for
            numbers, and where outputs aren't finite.
        confusion: How many rows of each class (row) were answered with each (column); None where there is no recall.
    """

    scores: Mapping[str, float]
    recall: Mapping[str, float] = field(default_factory=dict)
    confusion: Indices | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the scores and the recall of each class as plain values for JSON."""
        return {**self.scores, **({"recall": dict(self.recall)} if self.recall else {})}


def evaluate(answers: Answers, outputs: Tensor, targets: Tensor) -> Evaluation:
    """Return the scores of a model's outputs.

    Args:
        answers: What outputs and targets stand for.
        outputs: The outputs.
        targets: The targets, at least one.

    Returns:
        The scores.

    Examples:
        >>> import torch
        >>> found = evaluate(Answers(), torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
        >>> round(found.scores["mae"], 2), found.scores["r2"]
        (0.5, -1.0)
    """
    if not outputs.isfinite().all():
        return Evaluation(dict.fromkeys(CLASS_SCORES if answers.classes else NUMBER_SCORES, math.nan))
    if not answers.classes:
        return Evaluation(_of_numbers(answers.numbers_of(targets).numpy(), answers.numbers_of(outputs).numpy()))
    return _of_classes(answers, answers.logits_of(outputs, targets), targets.flatten().long().numpy())


def _of_numbers(truth: npt.NDArray[np.float64], said: npt.NDArray[np.float64]) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "rmse": float(root_mean_squared_error(truth, said)),
        "mae": float(mean_absolute_error(truth, said)),
        "r2": float(r2_score(truth, said)) if len(truth) > 1 else math.nan,
    }


def _of_classes(answers: Answers, logits: Tensor, truth: Indices) -> Evaluation:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

    said, every = logits.argmax(dim=1).numpy(), range(len(answers.classes))
    recall = recall_score(truth, said, labels=every, average=None, zero_division=np.nan)
    # Of two classes F1 is that of the one that is looked for, of more the mean over those that occur.
    asked = [answers.classes.index(answers.sought)] if answers.sought else np.union1d(truth, said)
    scores = {
        "accuracy": float(accuracy_score(truth, said)),
        "balanced_accuracy": float(np.nanmean(recall)),
        "auc": _auc(logits, truth),
        "f1": float(f1_score(truth, said, labels=asked, average="macro", zero_division=np.nan)),
    }
    named = dict(zip(answers.classes, recall.tolist(), strict=True))
    return Evaluation(scores, named, confusion_matrix(truth, said, labels=every))


def _auc(logits: Tensor, truth: Indices) -> float:
    """Return the area under the ROC curve: of more than two classes their mean, each against the rest.

    Logarithms of probabilities order the rows as these do, and don't round those near 1 to the same number.
    """
    present = np.unique(truth)
    if len(present) < 2:
        return math.nan
    if logits.shape[1] == 2:
        return _area(truth == 1, (logits[:, 1] - logits[:, 0]).numpy())
    shares = logits.log_softmax(dim=1).numpy()
    return float(np.mean([_area(truth == index, shares[:, index]) for index in present]))


def _area(truth: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]) -> float:
    """Return the area as `sklearn.metrics.roc_auc_score` does, which checks its input for most of its time."""
    from sklearn.metrics import auc, roc_curve

    if shares.min() == shares.max():  # a constant answer, which is that of the baseline
        return 0.5
    false_positives, true_positives, _ = roc_curve(truth, shares)
    return float(auc(false_positives, true_positives))


@dataclass(frozen=True)
class Evaluations:
    """The scores of a run, for each part of the split that it is judged by.

    Args:
        answers: What outputs and targets stand for; None where there are no such scores.
        model: Those of the trained model; empty after a divergence.
        baseline: Those of the best constant answer; empty where there is none.
        imbalanced: Whether the most frequent class has more than twice the training rows of the rarest one.
    """

    answers: Answers | None = None
    model: Mapping[str, Evaluation] = field(default_factory=dict)
    baseline: Mapping[str, Evaluation] = field(default_factory=dict)
    imbalanced: bool = False


def evaluate_parts(problem: Problem, model: nn.Module | None) -> Evaluations:
    """Return the scores of a model and of the baseline on each part of the split.

    Args:
        problem: What was learnt.
        model: The trained model; None if there is none.

    Returns:
        The scores.
    """
    answers, baseline = problem.answers, problem.baseline
    if answers is None:
        return Evaluations()
    parts = problem.parts if problem.holds_out else {"train": problem.train}
    return Evaluations(
        answers,
        {name: evaluate(answers, predict(model, part.x), part.y) for name, part in parts.items()} if model else {},
        {name: evaluate(answers, baseline.outputs(len(part)), part.y) for name, part in parts.items()}
        if baseline
        else {},
        _imbalanced(answers, problem.train.y),
    )


def _imbalanced(answers: Answers, targets: Tensor) -> bool:
    if not answers.classes:
        return False
    counts = targets.flatten().long().bincount(minlength=len(answers.classes))
    return bool(counts.max() > _IMBALANCED * counts.min())
