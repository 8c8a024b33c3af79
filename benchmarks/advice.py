"""``python -m benchmarks.advice``: what becomes of sick runs that do what they are advised.

Each piece of advice is followed literally: that of `rmsprop diagnose` from layers, with as many steps as before, and
that of `rmsprop train` from curves. tests/lab/diagnose/test_advice.py and tests/lab/verdict/test_advice_followed.py
hold that none ends worse.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from rich.console import Console
from rich.progress import track

from benchmarks import environment
from benchmarks.advised import ADVISED, Advised, Obeyed
from benchmarks.followed import RUNS, follow, write_tables
from rmsprop.files import write_atomically

FOLDER = Path(__file__).with_name("results")

# The finding, the run, the words that are followed, and what came of it.
Row = tuple[str, str, str, Obeyed]


def table(rows: Sequence[Row]) -> str:
    """Return the losses before and after, a line per piece of advice."""
    cells = [("finding", "run", "before", "after", "advice")]
    cells += [
        (finding, name, f"{found.before:.4g}", f"{found.after:.4g}", found.remedy) for finding, name, _, found in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    lines = ["  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in cells]
    worse = sum(not found.helped for *_, found in rows)
    return "\n".join([*lines, "", f"{len(rows)} pieces of advice followed, {worse} ended worse."]) + "\n"


def _from_layers(advised: Advised) -> Row:
    return advised.finding, advised.name, advised.advice, advised.obey()


def _from_curves(name: str) -> list[Row]:
    with TemporaryDirectory() as folder, chdir(folder):
        write_tables(Path(folder))
        return [(each.finding, name, each.change, each.obeyed) for each in follow(name)]


@click.command()
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(results: Path | None) -> None:
    """Follow each piece of advice and write down the loss before and after."""
    torch.set_num_threads(1)
    about = environment.describe()
    console = Console(stderr=True)
    rows = [_from_layers(each) for each in track(ADVISED, "from layers", console=console, transient=True)]
    for name in track(RUNS, "from curves", console=console, transient=True):
        rows += _from_curves(name)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["finding", "run", "words followed", "before", "after", "remedy"])
    writer.writerows(
        [finding, name, words, found.before, found.after, found.remedy] for finding, name, words, found in rows
    )
    facts = "".join(f"{name}: {value}\n" for name, value in (about | {"load after": environment.load()}).items())
    page = f"{table(rows)}\n{facts}"
    folder = results or FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{environment.machine()}-advice"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "advice.csv", text.getvalue().encode())
    write_atomically(folder / "advice.txt", page.encode())
    click.echo(page + f"\nwritten to {folder}")


if __name__ == "__main__":
    main()
