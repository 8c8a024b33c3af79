"""`rmsprop tune`: the options, its progress, and what it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli.choices import chosen_rule, rule_options
from rmsprop.cli.problems import chosen_problem, problem_options
from rmsprop.dialects import DIALECTS
from rmsprop.lab.problems.defaults import short_name
from rmsprop.lab.tune.budgets import BUDGETS
from rmsprop.rule import Rule

if TYPE_CHECKING:
    from rmsprop.lab.tune.tuning import Tuning


@click.command()
@problem_options
@click.option("--dialect", type=click.Choice(list(DIALECTS)), default="torch", help="Whose RMSProp.  [default: torch]")
@rule_options
@click.option(
    "--budget", type=click.Choice(list(BUDGETS)), default="standard", show_default=True, help="How much to try."
)
@click.option("--seeds", type=click.IntRange(min=2), help="Seeds of the last comparison.  [default: the budget's]")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to.  [default: runs/tune-PROBLEM]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, and nothing else.")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    *,
    dialect: str,
    budget: str,
    seeds: int | None,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Find a learning rate, a decay and an ε, and say how sure that is.

    PROBLEM is as in `rmsprop train`. A range test suggests a learning rate; short runs at a third, at it and at three
    times it verify it; maps and a joint search try decays and epsilons, outside and inside the root. The best are
    compared in runs of full length with seeds of their own. Learning rates are constant; the test rows are not read.

    An option of the rule fixes it; the rest is the dialect's, except for decay and ε, which are searched. DIR receives
    tune.html, tune.png and result.json.

    Exit codes: 0 done, 1 everything diverged or failed, 2 bad input, 130 interrupted (then nothing is written).
    """
    rule = {field.name: given.pop(field.name) for field in fields(Rule)}
    chosen_rule(dialect, rule)
    from rmsprop.cli import output
    from rmsprop.lab.tune import report, tuning

    folder = Path("runs", f"tune-{short_name(given['problem'])}") if out is None else out
    report.check_folder(folder)
    problem = chosen_problem(given)
    try:
        with _progress(quiet=as_json) as show:
            found = tuning.tune(problem, dialect=dialect, budget=budget, seeds=seeds, on_progress=show, **rule)
    except KeyboardInterrupt:
        click.echo("interrupted: nothing was written; --budget quick takes less time", err=True)
        ctx.exit(130)
    report.write_report(found, folder)
    if as_json:
        output.print_json(found.as_dict() | {"out": str(folder)})
    else:
        _print(found, folder)
    ctx.exit(1 if found.diverged else 0)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show the stage and how far it is on stderr: a live bar, or a line per stage where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=quiet, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal or quiet:
        yield lambda stage, done, total: console.print(f"{stage} done") if done == total else None
        return
    columns = (TextColumn("{task.description:18}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("")
        yield lambda stage, done, total: progress.update(task, description=stage, completed=done, total=total)


def _print(found: Tuning, folder: Path) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.tune.report import rows
    from rmsprop.lab.tune.words import words

    out = output.page()
    for sentence in words(found):
        out.print(sentence)
    out.print()
    table = output.table("setting", "lr", "decay", "ε", found.measure, "difference", "interval", "lost")
    for column in table.columns:
        column.no_wrap = column.header != found.measure
    for row in rows(found):
        role = f"{row['role']} *" if row["chosen"] else row["role"]
        table.add_row(role, *(row[n] for n in ("lr", "decay", "eps", "loss", "difference", "interval", "diverged")))
    out.print(table)
    out.print("* recommended; differences from the first row")
    out.print()
    if not found.diverged:
        for line in output.aligned(found.recommended.tried.setting.calls):
            out.print(line, soft_wrap=True)
        out.print()
    out.print(f"Files: {folder}", soft_wrap=True)
