"""The scores of a run as a table and sentences; which scores a terminal shows, and which a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rmsprop.lab.train.scores import CLASS_SCORES, NUMBER_SCORES, Evaluation

if TYPE_CHECKING:
    from rmsprop.lab.train.result import Result

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "f1": "F1",
    "rmse": "rmse",
    "mae": "MAE",
    "r2": "R²",
}
# A terminal has room for the recall of so many classes; of more it tells the lowest ones.
_TOLD, _LOWEST = 5, 3


class ScoreTable:
    """The scores of a run's parts: headings, and rows of cells.

    Args:
        result: The run.
        short: Whether it is for a terminal, which shows fewer: of balanced classes the AUC, of others also what doesn't
            flatter a model that answers with the most frequent class. Default False: all.
    """

    def __init__(self, result: Result, *, short: bool = False) -> None:
        """See the class."""
        metric, found = result.problem.metric, result.evaluations
        names = _shown(result, short=short)
        unit = f" ({metric.unit})" if metric.unit and not short else ""
        told = [f"{NAMES[name]}{unit if name == 'mae' else ''}" for name in names]
        self.headings = ["rows", "number", "loss", f"{metric.name}{unit}", *told]
        parts = result.problem.parts
        self.rows = [
            [part, f"{len(parts[part])}", *_cells(score, found.model.get(part), names)]
            for part, score in result.scores.items()
        ]
        baseline = result.problem.baseline
        if self.rows and baseline and result.baseline:
            part = list(result.scores)[-1]
            cells = _cells(result.baseline[part], found.baseline.get(part), names)
            self.rows.append([f"{part}, {baseline.name}", f"{len(parts[part])}", *cells])


def _shown(result: Result, *, short: bool) -> list[str]:
    """Return the names of the scores that the table shows beside the metric."""
    found = result.evaluations
    if found.answers is None:
        return []
    names: Sequence[str] = CLASS_SCORES if found.answers.classes else NUMBER_SCORES
    if short and found.answers.classes and not found.imbalanced:
        names = ("auc",)
    return [name for name in names if name != result.problem.metric.name]


def _cells(score: tuple[float, float], found: Evaluation | None, names: Sequence[str]) -> list[str]:
    return [*map(shown, score), *(_score(name, found.scores[name] if found else math.nan) for name in names)]


def _score(name: str, value: float) -> str:
    """Return a score; shares have four places, so that the R² of a mean is 0 and no rounding error."""
    return shown(value if name in ("rmse", "mae") or math.isnan(value) else round(value, 4) + 0.0)


def shown(value: float) -> str:
    """Return a score as it is printed.

    Args:
        value: The score; NaN if it isn't defined.

    Returns:
        Four digits, or a word.

    Examples:
        >>> shown(0.123456), shown(math.nan)
        ('0.1235', 'n/a')
    """
    return "n/a" if math.isnan(value) else f"{value:.4g}"


def told(scores: Mapping[str, Any], positive: str | None = None) -> str:
    """Return scores in a line.

    Args:
        scores: Score -> value, as `Evaluation.as_dict` gives them.
        positive: Of two classes, the one that F1 is of. Default None.

    Returns:
        The line, without the recall of each class.

    Examples:
        >>> told({"rmse": 1.5, "mae": 1.0, "r2": 0.87654})
        'rmse 1.5, MAE 1, R² 0.8765'
    """
    names = NAMES | ({"f1": f"F1 of {positive!r}"} if positive else {})
    return ", ".join(f"{names[name]} {_score(name, value)}" for name, value in scores.items() if name in names)


def explanation(result: Result, *, short: bool = False) -> str:
    """Return sentences on what the scores of a table mean.

    Args:
        result: The run.
        short: As for `ScoreTable`. Default False.

    Returns:
        The sentences; none where there is nothing to say.
    """
    answers, metric = result.evaluations.answers, result.problem.metric
    names = _shown(result, short=short) if result.scores else []
    said = []
    if metric.unit and result.scores and short:
        units = [metric.name, *(NAMES[name] for name in names if name == "mae")]
        said.append(f"{' and '.join(units)} {'is' if len(units) == 1 else 'are'} in {metric.unit}.")
    if answers and "f1" in names:
        means = "AUC (each class against the rest) and F1 are means over the classes."
        said.append(f"F1 is that of {answers.sought!r}." if answers.sought else means)
    table = ScoreTable(result, short=short)
    if any("n/a" in row for row in table.rows):
        said.append(
            "n/a: not defined for these rows, such as an AUC of one class or scores of outputs that aren't finite."
        )
    return " ".join(said)


def recall_line(result: Result) -> str:
    """Return a sentence on the recall of each class, on the rows that were judged last; empty for balanced classes.

    Args:
        result: The run.

    Returns:
        The sentence: of imbalanced classes, and of the lowest ones where there are many.
    """
    found = result.evaluations
    if not found.imbalanced or not found.model:
        return ""
    part, last = list(found.model.items())[-1]
    recall = {name: share for name, share in last.recall.items() if not math.isnan(share)}
    if not recall:
        return ""
    never = sum(share == 0.0 for share in recall.values())
    if len(recall) > _TOLD and never > _LOWEST:
        return f"Recall on {part} rows is 0 for {never} of {len(recall)} classes."
    kept = sorted(recall, key=lambda name: recall[name])[:_LOWEST] if len(recall) > _TOLD else list(recall)
    told = ", ".join(f"{name!r} {_score('recall', recall[name])}" for name in kept)
    return f"{'Lowest recall' if len(kept) < len(recall) else 'Recall'} on {part} rows: {told}."
