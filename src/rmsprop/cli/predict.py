"""`rmsprop predict`: a trained model's answers for the rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.lab.errors import InputError
from rmsprop.lab.folders import check_file
from rmsprop.lab.problems.defaults import STANDARD_INPUT, TEXT_SUFFIXES, table_suffix

if TYPE_CHECKING:
    from rmsprop.lab.train.trained import TrainedModel


@click.command(short_help="Predict the rows of a table with a trained model.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the CSV to FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def predict(run: Path, table: Path, out: Path | None, as_json: bool) -> None:
    """Predict the rows of a table with a trained model.

    RUN is a folder of rmsprop train on a table, and TABLE a file with the same columns: .csv, .tsv or .txt (also .gz),
    .xlsx, .parquet or .npz, or - for text from standard input. Its rows are read and prepared as those that the model
    was trained on; the target may be absent, and
    where it is there, scores are told. CSV is written with the column prediction and, for classes, a probability
    for each, a line for each row in its order. Notes say what was missing or unknown.

    Exit codes: 0 predicted; 1 failed; 2 bad input; 130 interrupted.
    """
    _check_out(out, table)
    from rmsprop.lab.train.trained import load

    model = load(run)
    answers = model.predict(table, probabilities=True) if model.classes else model.predict(table).to_frame()
    if out:
        from rmsprop.files import write_atomically

        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, answers.write_csv().encode())
    if as_json:
        from rmsprop.cli import output

        output.print_json(_content(model, answers.to_dict(as_series=False), run, table, out))
        return
    from rich.console import Console

    told = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for note in model.notes:
        told.print(f"note: {note}")
    if scores := model.scores():
        told.print(_score_line(model, scores))
    click.echo(f"File: {out} ({len(answers):,} rows)" if out else answers.write_csv(), nl=out is not None)


def _score_line(model: TrainedModel, scores: dict[str, Any]) -> str:
    from rmsprop.lab.train.score_table import told

    return f"Scores of {model.rows_scored:,} rows whose {model.target} is known: {told(scores, model.positive)}"


def _check_out(out: Path | None, table: Path) -> None:
    if out is None:
        return
    check_file(out)
    if table_suffix(str(out)) not in (None, TEXT_SUFFIXES[0]):
        raise InputError(f"--out {out}: predictions are written as CSV: give a name that ends in .csv")
    if str(table) != STANDARD_INPUT and out.exists() and table.exists() and out.samefile(table):
        raise InputError(f"--out {out} is the table itself: give another file")


def _content(
    model: TrainedModel, answers: dict[str, list[Any]], run: Path, table: Path, out: Path | None
) -> dict[str, Any]:
    from rmsprop.lab.train.trained import PREDICTION, PROBABILITY

    content: dict[str, Any] = {
        "run": str(run),
        "table": str(table),
        "out": None if out is None else str(out),
        "task": model.task,
        "target": model.target,
        "rows": len(answers[PREDICTION]),
        "notes": list(model.notes),
        "positive": model.positive,
        "rows_scored": model.rows_scored,
        "scores": model.scores(),
        "predictions": answers[PREDICTION],
    }
    if model.classes:
        content["probabilities"] = {name: answers[f"{PROBABILITY}{name}"] for name in model.classes}
    return content
