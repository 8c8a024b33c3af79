"""``python -m benchmarks.confusion``: what `rmsprop diagnose` says of histories whose truth is known.

Each kind of run is written in each format with noise of 0 to 20 % on every loss, and read back from the file. A miss is
a run whose truth isn't found; a false alarm is a run in which something else is called wrong, or which is called level
or falling where it isn't.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from benchmarks import environment
from benchmarks.histories import FORMATS, NOISES, TRUTHS, curves
from rmsprop.files import write_atomically
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.errors import InputError

FOLDER = Path(__file__).with_name("results")
LIMIT = 1 / 20
# Thresholds were chosen while looking at smaller seeds, so that from here on histories are new to them.
FIRST_SEED = 1000


@dataclass(frozen=True)
class Judged:
    """A history, what it is, and what was found in it: everything, and what of it is wrong to say."""

    form: str
    truth: str
    noise: float
    seed: int
    found: Sequence[str]

    @property
    def is_missed(self) -> bool:
        return TRUTHS[self.truth] not in self.found

    @property
    def is_false_alarm(self) -> bool:
        return bool(set(self.found) - {TRUTHS[self.truth]} - ({"converged"} if self.truth == "spike" else set()))


def judge(form: str, truth: str, noise: float, seed: int) -> Judged:
    """Write a history, read it and diagnose it."""
    row = FORMATS[form]
    run = curves(truth, noise, seed, row.train_times, row.validation_times)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = [finding.kind for finding in diagnose(histories(row.write(Path(folder), run))[0]).findings]
        except InputError:
            found = ["refused"]
    return Judged(form, truth, noise, seed, found)


def cases(forms: Iterable[str], seeds: Iterable[int]) -> list[tuple[str, str, float, int]]:
    """Return all histories to judge; without validation nobody can tell overfitting."""
    return [
        (form, truth, noise, seed)
        for form in forms
        for truth in TRUTHS
        if truth != "overfit" or FORMATS[form].validates
        for noise in NOISES
        for seed in seeds
    ]


def shares(judged: Sequence[Judged]) -> tuple[float, float]:
    """Return the shares of false alarms and of misses."""
    return tuple(sum(map(bool, flags)) / len(judged) for flags in _flags(judged))  # type: ignore[return-value]


def _flags(judged: Sequence[Judged]) -> tuple[list[bool], list[bool]]:
    return [each.is_false_alarm for each in judged], [each.is_missed for each in judged]


def summary(judged: Sequence[Judged]) -> str:
    """Return false alarms and misses by format and noise, and the confusion table, in Markdown."""
    forms = list(dict.fromkeys(each.form for each in judged))
    lines = [
        "False alarms / misses:\n",
        "| format | " + " | ".join(f"noise {noise:.0%}" for noise in NOISES) + " | all |",
        "|---|" + "---|" * (len(NOISES) + 1),
    ]
    for form in [*forms, "all"]:
        of = [each for each in judged if form in (each.form, "all")]
        parts = [[each for each in of if each.noise == noise] for noise in NOISES]
        lines.append(f"| {form} | " + " | ".join(_cell(part) for part in [*parts, of]) + " |")
    columns = [*sorted({kind for each in judged for kind in each.found}), "nothing"]
    lines += ["\nWhat is found:\n", f"| truth | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for truth in TRUTHS:
        of = [each for each in judged if each.truth == truth]
        counted = Counter(kind for each in of for kind in (each.found or ["nothing"]))
        lines.append(f"| {truth} ({len(of)}) | {' | '.join(str(counted[kind] or '') for kind in columns)} |")
    cells = {(each.form, each.noise) for each in judged}
    worst = max(max(shares([each for each in judged if (each.form, each.noise) == cell])) for cell in cells)
    goal = "met" if worst <= LIMIT else "missed"
    return "\n".join(lines) + f"\n\nAt most {LIMIT:.0%} in each format at each noise: {goal} (at worst {worst:.1%}).\n"


def _cell(judged: Sequence[Judged]) -> str:
    return " / ".join(f"{share:.1%}" for share in shares(judged))


@click.command()
@click.option("--seeds", default=20, show_default=True, help="Histories of each kind, noise and format.")
@click.option("--first-seed", default=FIRST_SEED, show_default=True, help="The seed of the first of them.")
@click.option("--formats", default=",".join(FORMATS), help="Names, with commas between them.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(seeds: int, first_seed: int, formats: str, results: Path | None) -> None:
    """Count what is said of histories whose truth is known."""
    about = environment.describe()
    todo = cases(formats.split(","), range(first_seed, first_seed + seeds))
    judged = [judge(*each) for each in track(todo, "histories", console=Console(stderr=True), transient=True)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["format", "truth", "noise", "seed", "found"])
    writer.writerows([each.form, each.truth, each.noise, each.seed, "; ".join(each.found)] for each in judged)
    facts = "".join(f"- {name}: {value}\n" for name, value in (about | {"load after": environment.load()}).items())
    page = f"# What is said of histories whose truth is known\n\n{summary(judged)}\n{facts}"
    folder = results or FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{environment.machine()}-confusion"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "histories.csv", text.getvalue().encode())
    write_atomically(folder / "summary.md", page.encode())
    click.echo(page + f"\nwritten to {folder}")


if __name__ == "__main__":
    main()
