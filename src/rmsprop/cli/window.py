"""`rmsprop window`: what a decay remembers, as tables and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli import completion
from rmsprop.cli.choices import known, out_option, table_options
from rmsprop.lab.errors import InputError
from rmsprop.lab.format import percent, short
from rmsprop.lab.options import option

if TYPE_CHECKING:
    from rich.table import Table

    from rmsprop.lab.window.decay import Window
    from rmsprop.lab.window.gradients import Recorded

_KINDS = (".png", ".svg")


@click.command()
@click.argument("decays", metavar="DECAY...", nargs=-1, type=float, required=True)
@click.option("--gradient", type=float, help="The gradient whose first steps are told.  [default: 0.01]")
@click.option(
    "--problem",
    metavar="PROBLEM",
    callback=known,
    shell_complete=completion.problem,
    help="Look at the gradients of a short real run, too: digits, wine, FILE.csv, ...",
)
@table_options
@click.option("--steps", type=int, help="How many steps of it.  [default: 300]")
@out_option(_KINDS, "Draw it, as .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def window(
    decays: tuple[float, ...],
    gradient: float | None,
    problem: str | None,
    steps: int | None,
    out: Path | None,
    as_json: bool,
    **about: Any,
) -> None:
    """Show what a decay remembers.

    For each DECAY, up to six of them: how long a squared gradient counts in the average v, how far v has filled after
    some steps, and how large the first steps are if v starts from 0, from 1, or is bias-corrected.
    """
    for name, value in {"steps": steps, **about}.items():
        if value not in (None, ()) and problem is None:
            raise InputError(f"{option(name)} is for a real run: name one with --problem, such as --problem digits")
    from rmsprop.lab.window.decay import GRADIENT, check, measure

    check(decays)
    gradient = GRADIENT if gradient is None else gradient
    windows = measure(decays, gradient)
    recorded = None if problem is None else _record(problem, steps, about, quiet=as_json)
    if out:
        from rmsprop.files import write_atomically
        from rmsprop.lab.window.picture import draw

        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, draw(windows, out.suffix.lower().removeprefix("."), gradient, recorded))
    if as_json:
        from rmsprop.cli import output

        output.print_json(_content(windows, gradient, recorded, out))
    else:
        _print(windows, gradient, recorded, out)


def _record(problem: str, steps: int | None, about: dict[str, Any], *, quiet: bool) -> Recorded:
    from rmsprop.cli.output import bar
    from rmsprop.lab.window.gradients import STEPS, record

    steps = STEPS if steps is None else steps
    with bar(problem, steps, quiet=quiet) as advance:
        return record(problem, steps, advance, **about)


def _content(windows: list[Window], gradient: float, recorded: Recorded | None, out: Path | None) -> dict[str, Any]:
    content: dict[str, Any] = {"gradient": gradient, "out": None if out is None else str(out), "decays": []}
    for window in windows:
        first = {
            start: {"sizes": dict(steps.sizes), "within_5_percent_from_step": steps.settled}
            for start, steps in window.first.items()
        }
        memory = {"half_life": window.half_life, "window": window.window, "mass_window_95": window.mass_window}
        content["decays"].append({"decay": window.decay, **memory, "filled": dict(window.filled), "first_steps": first})
    if recorded is not None:
        from rmsprop.lab.window.gradients import step_sizes

        sizes = step_sizes(recorded, [window.decay for window in windows])
        content["recorded"] = {
            "problem": recorded.problem,
            "steps": recorded.steps,
            "coordinates": recorded.gradients.shape[1],
            "batch_size": recorded.batch_size,
            "lr": recorded.lr,
            "median_step_sizes": [{"decay": decay, "sizes": of} for decay, of in sizes.items()],
        }
    return content


def _print(windows: list[Window], gradient: float, recorded: Recorded | None, out: Path | None) -> None:
    from rmsprop.cli import output

    page = output.page()
    page.print("How long a squared gradient counts in v, in steps, and how far v has filled from 0: 1 − ρᵗ")
    steps = list(windows[0].filled)
    table = _table(
        "decay ρ", "half-life", "window 1/(1−ρ)", "95\u00a0% in the last", *(f"t = {step}" for step in steps)
    )
    for window in windows:
        memory = (window.half_life, window.window, window.mass_window)
        filled = [_percent(window.filled[step]) for step in steps]
        table.add_row(str(window.decay), *(f"{value:,.4g}" for value in memory), *filled)
    page.print(table)
    page.print(f"\nFirst steps if the gradient stays at {short(gradient, 6)}, in units of lr, without ε")
    page.print(_constant_steps(windows))
    if recorded is not None:
        from rmsprop.lab.window.gradients import step_sizes

        count = recorded.gradients.shape[1]
        page.print(
            f"\nFirst steps on the gradients of {recorded.problem} (RMSProp, lr {short(recorded.lr, 6)}, batches of "
            f"{recorded.batch_size}): the median over those of {count} coordinates "
            "that have a gradient at that step, in units of lr"
        )
        page.print(_real_steps(step_sizes(recorded, [window.decay for window in windows])))
    if out:
        page.print(f"File: {out}", soft_wrap=True)


def _constant_steps(windows: list[Window]) -> Table:
    from rmsprop.lab.dialects.first_steps import SHOWN

    table = _table(
        "decay ρ", "v starts from", *(f"step {step}" for step in SHOWN), "within 5\u00a0% of lr from", words=2
    )
    for window in windows:
        for start, first in window.first.items():
            sizes = [short(first.sizes[step]) for step in SHOWN]
            table.add_row(str(window.decay), start, *sizes, f"step {first.settled}" if first.settled else "")
    return table


def _real_steps(sizes: dict[float, dict[str, dict[int, float]]]) -> Table:
    steps = list(next(iter(next(iter(sizes.values())).values())))
    table = _table("decay ρ", "v starts from", *(f"step {step}" for step in steps), words=2)
    for decay, starts in sizes.items():
        for start, of in starts.items():
            table.add_row(str(decay), start, *(short(size) for size in of.values()))
    return table


def _table(*headings: str, words: int = 1) -> Table:
    """Return a table whose first columns are words, the others numbers."""
    from rmsprop.cli import output

    table = output.table(*headings)
    for column in table.columns[words:]:
        column.justify = "right"
    return table


def _percent(share: float) -> str:
    return percent(share, 3) if share < 0.9995 else f"> {percent(0.999, 3)}"
