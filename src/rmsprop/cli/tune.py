"""`rmsprop tune`: the options, its progress, and what it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli.choices import chosen_problem, cluster_option, problem_options, rule_options
from rmsprop.cli.kept import fresh_option, interrupted, taken
from rmsprop.dialects import DIALECTS, get_dialect
from rmsprop.lab.errors import LostWorkerError
from rmsprop.lab.folders import TUNING, check_folder, claim_folder
from rmsprop.lab.options import rule_of_options, train_command
from rmsprop.lab.problems.defaults import short_name
from rmsprop.lab.tune.budgets import BUDGETS
from rmsprop.rule import Rule

if TYPE_CHECKING:
    from rich.console import Console

    from rmsprop.lab.tune.results import Tuning
    from rmsprop.lab.tune.trials import Setting


@click.command(short_help="Find a learning rate, a decay and an ε for a problem.")
@problem_options
@click.option("--dialect", type=click.Choice(list(DIALECTS)), default="torch", help="Whose RMSProp.  [default: torch]")
@rule_options
@click.option(
    "--budget", type=click.Choice(list(BUDGETS)), default="standard", show_default=True, help="How much to try."
)
@click.option("--seeds", type=click.IntRange(min=2), help="Seeds of the last comparison.  [default: the budget's]")
@cluster_option
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to.  [default: runs/tune-PROBLEM]")
@fresh_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, and nothing else.")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    *,
    dialect: str,
    budget: str,
    seeds: int | None,
    cluster: str | None,
    out: Path | None,
    fresh: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Find a learning rate, a decay and an ε, and say how sure that is.

    PROBLEM is as in `rmsprop train`. A range test suggests a learning rate; short runs at a third, at it and at three
    times it verify it; maps and a joint search try decays and epsilons, outside and inside the root. The best are
    compared in runs of full length with seeds of their own. Learning rates are constant; the test rows have no part.

    An option of the rule fixes it; the rest is the dialect's, except for decay and ε, which are searched. DIR receives
    tune.html, tune.png and result.json. Runs are kept in a cache ($RMSPROP_CACHE), and never done twice.

    Exit codes: 0 done, 1 nothing trains or a failure, 2 bad input, 130 interrupted (the same command goes on).
    """
    rule = {field.name: given.pop(field.name) for field in fields(Rule)}
    rule_of_options(dialect, rule)  # refused before anything is read
    from rmsprop.cli import output
    from rmsprop.cli.output import bar
    from rmsprop.lab.compare.cache import default_folder
    from rmsprop.lab.tune import report, tuning

    folder = Path("runs", f"tune-{short_name(given['problem'])}") if out is None else out
    check_folder(folder, TUNING)
    problem, cache = chosen_problem(given), default_folder()
    with claim_folder(folder, TUNING):
        try:
            with _progress(quiet=as_json) as show:
                found = tuning.tune(
                    problem,
                    dialect=dialect,
                    budget=budget,
                    seeds=seeds,
                    cluster=cluster,
                    cache=cache,
                    fresh=fresh,
                    on_progress=show,
                    **rule,
                )
        except KeyboardInterrupt:
            click.echo(interrupted(cache, fresh=fresh), err=True)
            ctx.exit(130)
        except LostWorkerError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        if not as_json:
            for note in (*taken(found.cached, found.runs, cache), *found.notes):
                click.echo(f"note: {note}", err=True)
        try:
            with bar("pictures", 1, quiet=as_json):
                report.write_report(found, folder)
        finally:  # a full disk doesn't lose what took minutes
            if as_json:
                output.print_json(report.content(found) | {"out": str(folder)})
            else:
                _print(found, _train_line(given, found.recommended.tried.setting))
    if not as_json:
        click.echo(f"Files: {folder}")
    ctx.exit(0 if found.works else 1)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show the stage and how far it is on stderr: a live bar, or a line per stage where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=quiet, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal or quiet:
        told: set[str] = set()  # one that goes on at further learning rates ends more than once
        yield lambda stage, done, total: _tell(console, told, stage) if done == total else None
        return
    columns = (TextColumn("{task.description:18}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("")
        yield lambda stage, done, total: progress.update(task, description=stage, completed=done, total=total)


def _tell(console: Console, told: set[str], stage: str) -> None:
    if stage not in told:
        told.add(stage)
        console.print(f"{stage} done")


def _train_line(given: Mapping[str, Any], setting: Setting) -> str:
    """Return the command that trains the problem with a setting."""
    from rmsprop.lab.dialects.calls import overrides

    rule = {"weight_decay": setting.rule.weight_decay} | overrides(get_dialect(setting.dialect), setting.rule)
    settings = {
        "problem": given["problem"],
        **given,
        "dialect": setting.dialect,
        "lr": setting.lr,
        **rule,
        "schedule": "constant",
    }
    return train_command(settings)


def _print(found: Tuning, train_line: str) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.tune.report import DIFFERENCE, rows
    from rmsprop.lab.tune.sentences import summary

    out = output.page()
    for sentence in summary(found):
        out.print(sentence)
    out.print()
    table = output.table("setting", "lr", "decay", "ε", "loss", "difference", "interval", "diverged")
    for row in rows(found):
        role = f"{row['role']} *" if row["chosen"] else row["role"]
        diverged = row["diverged"].replace(" of ", "/")
        table.add_row(role, *(row[n] for n in ("lr", "decay", "eps", "loss", "difference", "interval")), diverged)
    for column in table.columns:  # a narrow terminal folds intervals, and cuts nothing
        column.no_wrap = column.header != "interval"
    out.print(table)
    out.print(f"{'* recommended; ' * found.works}loss: {found.measure}; difference: {DIFFERENCE}")
    out.print()
    if found.works:
        for line in output.aligned({**found.recommended.tried.setting.calls, "shell": train_line}):
            out.print(line, soft_wrap=True)
        out.print()
