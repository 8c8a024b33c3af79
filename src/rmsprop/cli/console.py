"""What `rmsprop train` shows: the progress of a run, and its result."""

from __future__ import annotations

import math
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rmsprop.cli.output import page
from rmsprop.cli.output import print_json as print_object
from rmsprop.lab.averages import NAMES
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.result import Result
from rmsprop.lab.train.runs import TrainingRun
from rmsprop.lab.train.score_table import ScoreTable, explanation, recall_line
from rmsprop.lab.train.sentences import kept, statements
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
    average = f"  averaged {epoch.kept_loss:.4g}" if epoch.averaged else ""
    return f"epoch {epoch.epoch}/{run.settings.epochs}  train loss {epoch.train_loss:.4g}{held_out}{average}"


def print_result(result: Result) -> None:
    """Print the result as a table, the verdict in words, and where the files are.

    Args:
        result: The run.
    """
    out = page()
    if result.scores:
        scores = ScoreTable(result, short=True)
        table = Table(*scores.headings, title=f"{result.problem.name}, {_whose(result)}")
        for column in table.columns[1:]:
            column.justify = "right"
            column.no_wrap = True  # a name of a class is folded instead
        table.columns[0].overflow = "fold"
        for row in scores.rows:
            table.add_row(*map(Text, row))  # a class may be called [/b]
        out.print(table)
    if told := " ".join(filter(None, (explanation(result, short=True), recall_line(result)))):
        out.print(told)
    if result.excess is not None:
        out.print(f"The loss is {result.excess:.3g} above the optimum, {result.problem.optimum:.6g}.")
    if result.line:
        out.print(f"Learned line: {result.line}")
    for said in statements(result):
        out.print(f"{said.headline[0].upper()}{said.headline[1:]}. {said.evidence} {said.remedy}".rstrip())
    if sentence := kept(result):
        out.print(sentence)
    out.print(f"Files: {result.folder}", soft_wrap=True)


def _whose(result: Result) -> str:
    if result.keeps_average:
        return f"{NAMES[result.settings.average]} weights of epoch {result.kept}"
    return "after training" if result.kept == len(result.epochs) else f"weights of epoch {result.kept}"


def print_json(result: Result) -> None:
    """Print the result as one JSON object.

    Args:
        result: The run.
    """
    facts = result.as_dict()
    verdicts = zip(facts["verdicts"], statements(result), strict=True)
    content = {
        "problem": result.problem.name,
        "out": str(result.folder),
        **facts,
        "diverged_at_step": result.curves.lost.step if result.curves.lost else None,
        "verdicts": [fact | asdict(said) for fact, said in verdicts],
        "notes": list(result.problem.notes),
        "settings": result.settings.as_dict(),
        "versions": dict(result.versions),
    }
    print_object(content)
