"""`rmsprop runs`: what was trained, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from rmsprop.lab.format import short
from rmsprop.lab.listing import DAMAGED, Column, ListedRun, Listing, in_order, runs_in

if TYPE_CHECKING:
    from rich.table import Table

# What a table names of what is no run; the rest is counted.
_SHOWN = 5
_DEFAULT = Path("runs")
_HEADINGS: Mapping[Column, str] = {"validation-loss": "val. loss", "test-score": "test score"}
# Room for the longest word of a verdict.
_VERDICT_WIDTH = len("overfitting")
_WORDS = ("name", "problem", "rule", "verdict")


@click.command(short_help="List what was trained, in one table.")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--sort", "column", type=click.Choice(get_args(Column)), default="when", show_default=True, help="In which order."
)
@click.option("--reverse", is_flag=True, help="The largest, or the newest, first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def runs(folder: Path | None, column: Column, reverse: bool, as_json: bool) -> None:
    """List the runs in FOLDER, and in its folders, in one table.

    FOLDER is runs/ unless another is given. Listed are the folders of rmsprop train, tune, compare and diagnose, with
    the problem, the dialect and what differs from it, the learning rate, the epochs (of how many, if it isn't done),
    the loss on the validation rows, the score on the test rows, how the run is judged, and when it was last written to.
    What is unfinished or damaged is listed as that. Rows that have no value in the column of --sort come last.

    Exit codes: 0 listed, also if there is no run; 1 failed; 2 bad input.
    """
    from rmsprop.cli import output

    place = folder or _DEFAULT
    listing = runs_in(place) if folder or place.exists() else Listing((), ())
    found = in_order(listing.runs, column, descending=reverse)
    if as_json:
        output.print_json({"folder": str(place), "runs": [run.as_dict() for run in found], "others": listing.others})
        return
    page = output.page()
    if found:
        page.print(_table(found))
    else:
        page.print(f"There is no run in {place}: rmsprop train PROBLEM makes one.", soft_wrap=True)
    if listing.others:
        page.print(_told(listing.others), soft_wrap=True)


def _table(found: Sequence[ListedRun]) -> Table:
    from rmsprop.cli import output

    columns: tuple[Column, ...] = get_args(Column)
    shown = output.table(*(_HEADINGS.get(name, name) for name in columns))
    for name, column in zip(columns, shown.columns, strict=True):
        column.no_wrap = name not in _WORDS
        column.justify = "left" if name in _WORDS else "right"
    if any(len(run.verdict) >= _VERDICT_WIDTH for run in found):  # a name is folded rather than a word of these
        shown.columns[columns.index("verdict")].width = _VERDICT_WIDTH
    for run in found:
        cells = _cells(run)
        shown.add_row(*(cells[name] for name in columns))
    return shown


def _cells(run: ListedRun) -> dict[Column, str]:
    return {
        "name": run.name,
        "problem": run.problem or "",
        "rule": run.rule or "",
        "lr": _number(run.lr),
        "epochs": _epochs(run),
        "validation-loss": _number(run.validation_loss),
        "test-score": f"{run.metric} {_score(run.test_score)}" if run.test_score is not None else "",
        "verdict": f"{run.verdict}: {run.file}" if run.verdict == DAMAGED else run.verdict,
        "when": f"{run.when:%Y-%m-%d %H:%M}",
    }


def _epochs(run: ListedRun) -> str:
    if run.epochs is None:
        return ""
    return str(run.epochs) if run.epochs == run.planned else f"{run.epochs}/{run.planned}"


def _number(value: float | None) -> str:
    return "" if value is None else short(value)


def _score(value: float) -> str:
    """Return a score, such as an error in the target's units, with the digits that `train` prints."""
    return short(value, 4)


def _told(others: Sequence[str]) -> str:
    names = ", ".join(others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
    return f"No run of rmsprop: {names} ({len(others)} in all)." if len(others) > 1 else f"No run of rmsprop: {names}."
