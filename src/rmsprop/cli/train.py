"""`rmsprop train`: the options, and what happens between them and the lab."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, get_args

import click

from rmsprop.cli.choices import problem_options, rule_options
from rmsprop.dialects import DIALECTS
from rmsprop.lab.averages import Average
from rmsprop.lab.problems.defaults import FUNCTION, PROBLEMS, TABLE, Defaults, Keep, Schedule
from rmsprop.lab.train.settings import show

_COLUMNS = ("model", "hidden", "epochs", "batch_size", "lr", "schedule", "weight_decay")


def _defaults() -> str:
    """Return the table of defaults that the help shows; the backspaces keep click from filling its lines."""
    rows = [("", *(name.replace("_", "-") for name in _COLUMNS))]
    rows += [(name, *_row(row)) for name, row in {**PROBLEMS, "FILE": TABLE, "FUNCTION": FUNCTION}.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    about = [f"{name.ljust(widths[0])}  {row.about}" for name, row in PROBLEMS.items()]
    return "\b\nProblems:\n" + "\n".join(about) + "\n\n\b\nDefaults:\n" + "\n".join(lines)


def _row(defaults: Defaults) -> tuple[str, ...]:
    return (defaults.model or "its own", *(show(getattr(defaults, name)) for name in _COLUMNS[1:]))


def _earlier(ctx: click.Context, _: click.Parameter, value: Path | None) -> dict[str, Any] | None:
    """Read the settings of an earlier run before anything else is asked for: PROBLEM may be among them."""
    if value is None:
        return None
    from rmsprop.lab.train.earlier import earlier_settings

    earlier = earlier_settings(value)
    ctx.default_map = {"problem": earlier["problem"]}
    return earlier


@click.command(epilog=_defaults())
@problem_options
@click.option("--dialect", type=click.Choice(list(DIALECTS)), help="Whose RMSProp.  [default: torch]")
@click.option("--lr", type=float, help="Learning rate, at the top of the schedule.")
@rule_options
@click.option("--schedule", type=click.Choice(get_args(Schedule)), help="How the learning rate changes.")
@click.option("--warmup", type=float, metavar="EPOCHS", help="Raise the learning rate from near 0 first.  [default: 0]")
@click.option(
    "--gamma", type=float, help="Factor of step and plateau [default: 0.1], per epoch of exponential [0.01 in all]."
)
@click.option("--step-size", type=int, metavar="EPOCHS", help="Between two drops of step.  [default: a third]")
@click.option("--keep", type=click.Choice(get_args(Keep)), help="Whose weights.  [default: best, by validation loss]")
@click.option("--early-stop", type=int, metavar="N", help="Stop after N epochs without a lower validation loss.")
@click.option(
    "--average", type=click.Choice(get_args(Average)), help="Keep an average of the weights.  [default: none]"
)
@click.option(
    "--ema-decay", type=float, help="What an ema keeps of itself at a step.  [default: fits the run's length]"
)
@click.option(
    "--swa-start", type=int, metavar="EPOCH", help="The first that swa averages.  [default: the last quarter]"
)
@click.option("--swa-lr", type=float, help="Learning rate from then on.  [default: what the schedule has there]")
@click.option("--seed", type=int, help="Decides weights and order of rows.  [default: 0]")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run's folder.  [default: runs/NAME]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="RUN",
    is_eager=True,
    callback=_earlier,
    help="Begin with the settings of an earlier run: its folder or config.json. What is typed wins.",
)
@click.option("--resume", is_flag=True, help="Continue the run in DIR; its settings are kept.")
@click.option("--force", is_flag=True, help="Replace the run in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, and nothing else.")
@click.pass_context
def train(
    ctx: click.Context,
    /,
    *,
    config: dict[str, Any] | None,
    out: Path | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a model with RMSProp and judge the run.

    PROBLEM is a built-in problem (see below), a table FILE with --target, or package.module:function that returns a
    Problem. FILE is .csv, .tsv or .txt (also .gz), .xlsx, .parquet or .npz, or - for text from standard input. What the
    options of the rule leave open is the dialect's; learning rate and weight decay are the problem's. Of a table,
    numbers and dates are standardised, categories one-hot encoded, missing values imputed, identifiers left out; notes
    say what was taken for what. 60 % of the rows are trained on, 20 % validate, 20 % test: --split says which, --test
    names a table of its own. The weights with the lowest validation loss are kept; with --average, an average of the
    weights (ema: of every step; swa: of the last epochs) takes their place. DIR receives config.json,
    history.csv, checkpoint.safetensors, model.safetensors, loss.png, result.json and report.html.

    Exit codes: 0 done, 1 diverged or failed, 2 bad input, 130 interrupted (continue with --resume).
    """
    if resume and force:
        raise click.UsageError("--resume continues a run and --force replaces it: give one of them")
    if resume and config:
        raise click.UsageError("--resume goes on with the settings of the run in DIR: leave out --config")
    settings |= {name: settings[name] or None for name in ("drop", "na")}
    if config:
        from rmsprop.lab.train.earlier import over_earlier

        settings = over_earlier(settings, config)
    from rmsprop.cli import console
    from rmsprop.lab.train import runs

    try:
        with runs.begin(settings, out, resuming=resume, force=force) as run:
            result = console.follow(run, quiet=as_json)
    except runs.Interrupted as interrupted:
        again = shlex.join(["rmsprop", "train", settings["problem"], "--out", str(interrupted.folder), "--resume"])
        after = (
            f"after epoch {interrupted.epoch}: continue"
            if interrupted.epoch
            else "before epoch 1 was done: start again"
        )
        click.echo(f"interrupted {after} with {again}", err=True)
        ctx.exit(130)
    if as_json:
        console.print_json(result)
    else:
        console.print_result(result)
    ctx.exit(1 if result.diverged else 0)
