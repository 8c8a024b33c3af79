"""The report of a run: one HTML file with everything in it, safe to mail."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rmsprop.files import write_atomically
from rmsprop.horizon import half_life, mass_window
from rmsprop.lab.averages import NAMES
from rmsprop.lab.drawing import draw_figure, single
from rmsprop.lab.options import option, train_command
from rmsprop.lab.page import Picture, render
from rmsprop.lab.train import figures
from rmsprop.lab.train.methods import methods
from rmsprop.lab.train.score_table import ScoreTable, explanation, shown
from rmsprop.lab.train.sentences import kept, statements
from rmsprop.lab.train.settings import TUNED_SCHEDULES, show

if TYPE_CHECKING:
    from rmsprop.lab.problems import Problem
    from rmsprop.lab.train.history import Epoch
    from rmsprop.lab.train.result import Result

# A picture has room for so many classes.
_MOST_CLASSES = 25


def write_report(result: Result, figure: Path, report: Path) -> None:
    """Write the loss curve as a picture, and the report.

    Args:
        result: The run.
        figure: The PNG file.
        report: The HTML file.
    """
    pictures = _pictures(result)
    write_atomically(figure, draw_figure(pictures[0].paint, "png", f"{result.problem.name}: {_summary(result)}"))
    write_atomically(report, _html(result, pictures).encode())


def _pictures(result: Result) -> list[Picture]:
    averages = [epoch for epoch in result.epochs if epoch.averaged]
    pictures = [_loss(result, averages)]
    if optimum := result.problem.optimum:  # of 0 the loss itself shows it
        excess = single(partial(figures.excess_curve, result.curves, optimum, averages=averages))
        caption = f"The loss on {_rows(result.problem)} less the least that is possible, {optimum:.10g}."
        pictures.append(Picture("excess", "Above the optimum", caption, excess))
    if result.epochs:
        pictures += [_metric(result), _learning_rate(result), _effective_step(result)]
    decay = result.settings.rule.decay
    if 0.0 < decay < 1.0:
        window = single(partial(figures.decay_window, decay))
        pictures.append(Picture("window", "Decay window", _window(result), window))
    return pictures


def _loss(result: Result, averages: list[Epoch]) -> Picture:
    problem = result.problem
    dashed = f" Dashed: the {NAMES[result.settings.average]} of the weights." if averages else ""
    curve = partial(
        figures.loss_curve,
        result.curves,
        result.steps_per_epoch,
        problem.loss_name,
        problem.optimum,
        kept=_marked(result),
        averages=averages,
    )
    return Picture(
        "loss",
        "Loss",
        f"Loss after each epoch on {_rows(problem)}; epoch 0 is before the first step.{dashed} {_summary(result)}",
        single(curve),
    )


def _metric(result: Result) -> Picture:
    metric, problem = result.problem.metric, result.problem
    return Picture(
        "metric",
        metric.name.capitalize() if metric.name != "rmse" else "Root mean square error",
        f"After each epoch, on {_rows(problem)}; {'higher' if metric.higher_is_better else 'lower'} is better.",
        single(partial(figures.metric_curve, result.epochs, metric, problem.holds_out)),
    )


def _learning_rate(result: Result) -> Picture:
    return Picture(
        "lr",
        "Learning rate",
        f"That of each epoch's last step: {_schedule(result)}. RMSProp doesn't lower its own step.",
        single(partial(figures.learning_rate_curve, result.epochs)),
    )


def _effective_step(result: Result) -> Picture:
    return Picture(
        "step",
        "Effective step",
        "How far a parameter moves per unit of its gradient: the learning rate over √v with its ε, after each epoch. "
        "Line: median over the layer's parameters; band: 10 % to 90 % quantile.",
        single(partial(figures.effective_step_curves, result.epochs)),
    )


def _marked(result: Result) -> tuple[int, float] | None:
    """Return the epoch whose weights were kept, and their loss, if it isn't just the last one's."""
    if result.kept is None or result.settings.keep != "best":
        return None
    return result.kept, result.epochs[result.kept - 1].kept_loss


def _confusion(result: Result) -> Picture | None:
    """Return the confusion matrix of the rows that were judged last; of many classes those with the most errors."""
    found = result.evaluations
    part, last = list(found.model.items())[-1] if found.model else ("", None)
    if last is None or last.confusion is None or found.answers is None:
        return None
    matrix, names = last.confusion, found.answers.classes
    caption = f"How many {part} rows of each class were answered with each; darker is a larger share of the class."
    if len(names) > _MOST_CLASSES:
        wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
        kept = sorted((-wrong).argsort(kind="stable")[:_MOST_CLASSES])
        matrix, names = matrix[kept][:, kept], tuple(names[index] for index in kept)
        caption += (
            f" Shown are the {_MOST_CLASSES} of {len(found.answers.classes)} classes with the most errors; all are in "
            "result.json."
        )
    return Picture(
        "confusion",
        "Confusion matrix",
        caption,
        single(partial(figures.confusion_matrix, matrix, names)),
        size=(6.4, 4.8) if len(names) <= 12 else (6.4, 6.4),
    )


def _recall(result: Result) -> list[tuple[str, str, str]]:
    """Return each class with its number of rows and its recall, on the rows that were judged last."""
    found = result.evaluations
    last = list(found.model.values())[-1] if found.model else None
    if last is None or last.confusion is None:
        return []
    rows = last.confusion.sum(axis=1).tolist()
    return [(name, f"{count}", shown(share)) for (name, share), count in zip(last.recall.items(), rows, strict=True)]


def _rows(problem: Problem) -> str:
    if problem.holds_out:
        return f"{len(problem.train)} training and {len(problem.validation)} validation rows"
    return f"all {len(problem.train)} rows" if len(problem.train) > 1 else "the only row"


def _lead(result: Result) -> str:
    """Return a sentence on what was trained, and for how long."""
    problem, data = result.problem, result.problem.dataset
    what = problem.about or problem.name
    if data:
        inputs = f"{len(data.inputs)} input{'s' if len(data.inputs) > 1 else ''}"
        what = f"{data.task} of {data.target} from {inputs} and {data.rows} rows"
    steps = f" of {result.steps_per_epoch} step{'s' if result.steps_per_epoch > 1 else ''}"
    epochs = f"{len(result.epochs)} of {result.settings.epochs} epoch{'s' * (result.settings.epochs != 1)}{steps}"
    return f"{what[0].upper()}{what[1:]}, trained with RMSProp for {epochs}."


def _summary(result: Result) -> str:
    s = result.settings
    return (
        f"RMSProp ({s.dialect}), lr {show(s.lr)}, decay {show(s.rule.decay)}, batch size {s.batch_size}, seed {s.seed}."
    )


def _schedule(result: Result) -> str:
    s = result.settings
    if s.schedule in TUNED_SCHEDULES:
        return f"{s.schedule}, which begins at {show(s.lr)} and changes it in every step"
    warmup = f" after {s.warmup:g} epoch{'s' * (s.warmup != 1)} of warm-up" if s.warmup else ""
    held = f", constant from epoch {s.swa_start} on" if s.average == "swa" else ""
    return f"{s.schedule} schedule{warmup}, at most {show(s.lr)}{held}"


def _window(result: Result) -> str:
    decay, per_epoch = result.settings.rule.decay, result.steps_per_epoch
    epochs = float(f"{mass_window(decay) / per_epoch:.2g}")
    span = f": {epochs:g} epoch{'s' * (epochs != 1)} of {per_epoch} steps" if per_epoch > 1 else ""
    return (
        f"At decay {show(decay)} a squared gradient has lost half its weight in v after {half_life(decay):.3g} steps, "
        f"and the last {mass_window(decay):.3g} steps hold 95 %{span}."
    )


def _html(result: Result, pictures: list[Picture]) -> str:
    settings = {name: value for name, value in result.settings.as_dict().items() if name != "problem"}
    return render(
        "rmsprop.lab.train",
        "report.html.j2",
        result=result,
        statements=statements(result),
        lead=_lead(result),
        kept=kept(result),
        problem=result.problem,
        scores=ScoreTable(result),
        explanation=explanation(result),
        confusion=_confusion(result),
        recall=_recall(result),
        pictures=pictures,
        methods=methods(result, _schedule(result), _rows(result.problem)),
        command=train_command(result.settings.as_dict()),
        settings={option(name): show(value) for name, value in settings.items() if value not in (None, ())},
        versions=result.versions,
    )
