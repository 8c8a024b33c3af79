"""What `rmsprop train` shows: the progress of a run, and its result."""

from __future__ import annotations

import math

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rmsprop.cli.output import page
from rmsprop.cli.output import print_json as print_object
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.result import Result
from rmsprop.lab.train.runs import TrainingRun
from rmsprop.lab.train.training import Divergence

# Without a terminal there is no bar; so many lines tell how it goes.
_LINES = 10


def follow(run: TrainingRun, *, quiet: bool) -> Result:
    """Train to the end and show how it goes on stderr: a live bar, or some lines where there is no terminal.

    Args:
        run: The run.
        quiet: Show nothing.

    Returns:
        The result.
    """
    console = Console(stderr=True, quiet=quiet, markup=False, highlight=False, soft_wrap=True)
    for note in (*run.problem.notes, *run.notes):
        console.print(f"note: {note}")
    divergence = None
    try:
        if console.is_terminal and not quiet:
            _with_bar(run, console)
        else:
            _with_lines(run, console)
    except Divergence as lost:
        divergence = lost
    return run.finish(divergence)


def _with_bar(run: TrainingRun, console: Console) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),  # a problem may be called [/b]
        BarColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(
            run.problem.name, total=run.settings.epochs, completed=run.training.epoch, losses="epoch 1"
        )
        for epoch in run.train():
            progress.update(task, completed=epoch.epoch, losses=_losses(run, epoch))


def _with_lines(run: TrainingRun, console: Console) -> None:
    every = math.ceil(run.settings.epochs / _LINES)
    for epoch in run.train():
        if epoch.epoch % every == 0 or epoch.epoch == run.settings.epochs:
            console.print(_losses(run, epoch))


def _losses(run: TrainingRun, epoch: Epoch) -> str:
    held_out = f"  validation loss {epoch.validation_loss:.4g}" if run.problem.holds_out else ""
    return f"epoch {epoch.epoch}/{run.settings.epochs}  train loss {epoch.train_loss:.4g}{held_out}"


def print_result(result: Result) -> None:
    """Print the result as a table, the verdict in words, and where the files are.

    Args:
        result: The run.
    """
    out = page()
    metric = result.problem.metric
    if result.scores:
        table = Table("rows", "number", "loss", metric.name, title=f"{result.problem.name}, after training")
        for column in table.columns[1:]:
            column.justify = "right"
        for part, (loss, value) in result.scores.items():
            table.add_row(part, str(len(getattr(result.problem, part))), f"{loss:.4g}", f"{value:.4g}")
        out.print(table)
    if metric.unit and result.scores:
        out.print(f"{metric.name} is in {metric.unit}.")
    if result.excess is not None:
        out.print(f"The loss is {result.excess:.3g} above the optimum, {result.problem.optimum:.6g}.")
    if result.line:
        out.print(f"Learned line: {result.line}")
    for verdict in result.verdicts:
        out.print(f"{verdict.headline[0].upper()}{verdict.headline[1:]}. {verdict.evidence} {verdict.remedy}".rstrip())
    out.print(f"Files: {result.folder}", soft_wrap=True)


def print_json(result: Result) -> None:
    """Print the result as one JSON object.

    Args:
        result: The run.
    """
    metric = result.problem.metric.name
    last = result.record.epochs[-1] if result.record.epochs else None
    content = {
        "problem": result.problem.name,
        "out": str(result.folder),
        "epochs": last.epoch if last else 0,
        "steps": last.step if last else 0,
        "diverged_at_step": result.record.lost_at,
        "scores": {part: {"loss": loss, metric: value} for part, (loss, value) in result.scores.items()},
        "optimum": result.problem.optimum,
        "line": result.line,
        "verdicts": [
            {"kind": verdict.kind, "since": verdict.since, "evidence": verdict.evidence, "remedy": verdict.remedy}
            for verdict in result.verdicts
        ],
        "notes": list(result.problem.notes),
        "settings": result.settings.as_dict(),
        "versions": dict(result.versions),
    }
    print_object(content)
