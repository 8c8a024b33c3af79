"""`rmsprop diagnose`: what a history shows, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.lab.folders import DIAGNOSIS, check_folder, claim_folder

if TYPE_CHECKING:
    from rich.console import Console

    from rmsprop.lab.diagnose.finding import Diagnosis
    from rmsprop.lab.diagnose.reading import Reading

Watch = Callable[[Sequence[Path]], Iterable[Path]]


@click.command(short_help="Say what the history of a training run shows.")
@click.argument("history", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--loss", metavar="COLUMN", help="The training loss: a CSV file's column, or a tag.  [default: guessed]")
@click.option("--validation", metavar="COLUMN", help="The validation loss.  [default: guessed]")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write diagnosis.html and .png to DIR.")
@click.option("--verbose", is_flag=True, help="Say as well what couldn't be judged, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def diagnose(
    history: Path, loss: str | None, validation: str | None, out: Path | None, verbose: bool, as_json: bool
) -> None:
    """Say what the history of a training run shows, with the evidence and the remedy.

    HISTORY is a file of rmsprop.lab.Recorder, a folder of rmsprop train, a file of CSV (also .tsv, .csv.gz, decimal
    commas) or JSON (lines, a Keras history, trainer_state.json), a folder of Lightning, ultralytics,
    Stable-Baselines3 or Hugging Face's Trainer, TensorBoard's event files, or a folder of such, such as runs/; - is
    standard input. The more it holds, the more can be judged: a recorder's file is the best.

    What was taken as time and as losses, and how many rows were read, is printed first. Several runs in one file are
    histories of their own.

    Exit codes: 0 diagnosed, whatever was found; 1 failed; 2 bad input; 130 interrupted.
    """
    from rmsprop.cli import output
    from rmsprop.lab.diagnose.readers import histories
    from rmsprop.lab.diagnose.rules import diagnose as judge

    if out is not None:
        check_folder(out, DIAGNOSIS)
    found = [judge(each) for each in histories(history, loss, validation, _watched("reading", as_json))]
    files = _written(found, out, _watched("writing reports", as_json)) if out else []
    if as_json:
        output.print_json({"runs": [_as_dict(each) for each in found], "files": [str(path) for path in files]})
        return
    page = output.page()
    for each in found:
        _print(page, each, verbose)
    if files:
        page.print(f"Files: {out}", soft_wrap=True)


def _watched(what: str, quiet: bool) -> Watch:
    """Return a function that gives things back one by one, and shows how many were taken."""
    from rmsprop.cli.output import bar

    def each(things: Sequence[Path]) -> Iterator[Path]:
        with bar(what, len(things), quiet=quiet) as advance:
            for thing in things:
                yield thing
                advance()

    return each


def _written(found: Sequence[Diagnosis], out: Path, watch: Watch) -> list[Path]:
    from rmsprop.lab.diagnose.report import write_report

    folders = _folders(found, out)
    with claim_folder(out, DIAGNOSIS):
        return [path for folder in watch(list(folders)) for path in write_report(folders[folder], folder)]


def _folders(found: Sequence[Diagnosis], out: Path) -> dict[Path, Diagnosis]:
    if len(found) == 1:
        return {out: found[0]}
    folders: dict[Path, Diagnosis] = {}
    for each in found:  # a folder may hold both mine.jsonl and mine/
        name, number = each.history.name, 2
        while out / name in folders:
            name, number = f"{each.history.name}-{number}", number + 1
        folders[out / name] = each
    return folders


def _as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis and how its history was read, as plain values for JSON."""
    reading = diagnosis.history.reading
    return diagnosis.as_dict() | {"reading": reading.as_dict() if reading else None}


def _print_reading(page: Console, reading: Reading) -> None:
    page.print(reading.sentence)
    for note in reading.notes:
        page.print(f"Note: {note}.")


def _print(page: Console, diagnosis: Diagnosis, verbose: bool) -> None:
    from rich.padding import Padding

    from rmsprop.lab.diagnose.finding import COURSE

    history = diagnosis.history
    page.print(f"{history.name} ({history.source})", style="bold")
    if history.reading:
        _print_reading(page, history.reading)
    for number, finding in enumerate(diagnosis.findings, start=1):
        page.print(f"{number}. {finding.severity}: {finding.headline}")
        page.print(Padding(f"{finding.evidence} {finding.remedy}".rstrip(), (0, 0, 0, 3), expand=False))
    reasons: dict[str, list[str]] = {}
    for what, why in diagnosis.not_judged.items():
        if verbose or what == COURSE:  # without it, silence would say that all is well
            reasons.setdefault(why, []).append(what)
    for why, what_all in reasons.items():
        page.print(f"Not judged: {', '.join(what_all)}. Why: {why}.")
    page.print()
