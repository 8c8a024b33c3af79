"""``python -m benchmarks.false_alarms``: how often `rmsprop diagnose` finds something wrong with a healthy run.

A healthy run is a built-in problem with its default settings. It is judged twice: by its epochs, as `rmsprop train`
does, and by the file of a `Recorder` that saw its steps.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import track

from benchmarks import environment
from rmsprop.files import write_atomically
from rmsprop.lab import Recorder
from rmsprop.lab.diagnose.curves import SEVERITIES
from rmsprop.lab.diagnose.finding import Diagnosis
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.problems import load
from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.train.settings import resolve
from rmsprop.lab.train.training import Divergence, Training
from rmsprop.lab.verdict.facts import Fact
from rmsprop.lab.verdict.judge import judge

FOLDER = Path(__file__).with_name("results")
LIMIT = 1 / 20
# Thresholds were chosen while looking at smaller seeds, so that from here on runs are new to them.
FIRST_SEED = 1000


class Recorded(Training):
    """A training of `rmsprop train` whose steps are recorded as a person's own loop would be."""

    recorder: Recorder

    def to(self, path: Path, every: int | None) -> tuple[Diagnosis, tuple[Fact, ...]]:
        epochs, divergence = [], None
        with Recorder(self.optimizer, path, model=self.model, every=every) as self.recorder:
            try:
                while self.epoch < self.settings.epochs:
                    epochs.append(self.run_epoch())
                    if self.problem.holds_out:
                        self.recorder.validation(loss=epochs[-1].validation_loss)
            except Divergence as lost:
                divergence = lost
        return diagnose(histories(path)[0]), judge(self.curves(epochs, divergence))

    def _check(self, batch_loss: float) -> None:
        self.recorder.loss(batch_loss)
        super()._check(batch_loss)


@dataclass(frozen=True)
class Judged:
    """A healthy run, and what was found wrong with it: by its steps and by its epochs."""

    problem: str
    seed: int
    steps: Sequence[str]
    epochs: Sequence[str]
    notes: Sequence[str]


def run(problem: str, seed: int, every: int | None = None) -> Judged:
    """Train a built-in problem with its defaults and return what was found wrong with it."""
    settings = resolve({"problem": problem, "seed": seed})
    with tempfile.TemporaryDirectory() as folder:
        training = Recorded(load(problem, model=settings.model, hidden=settings.hidden), settings)
        diagnosis, facts = training.to(Path(folder) / "record.jsonl", every)
    return Judged(
        problem,
        seed,
        [finding.headline for finding in diagnosis.findings if finding.severity in ("bad", "warning")],
        [f"{fact.kind}: {fact.sign}" for fact in facts if SEVERITIES[fact.kind] in ("bad", "warning")],
        [finding.headline for finding in diagnosis.findings if finding.severity in ("note", "fine")],
    )


def summary(judged: Sequence[Judged]) -> str:
    """Return how many runs had something wrong, by problem, as a table in Markdown."""
    lines = ["| problem | runs | alarms by steps | alarms by epochs | which |", "|---|---|---|---|---|"]
    for problem in dict.fromkeys(each.problem for each in judged):
        lines.append(_row(problem, [each for each in judged if each.problem == problem]))
    lines.append(_row("all", judged))
    share = max(sum(bool(each.steps) for each in judged), sum(bool(each.epochs) for each in judged)) / len(judged)
    goal = "met" if share <= LIMIT else "missed"
    return "\n".join(lines) + f"\n\nAt most {LIMIT:.0%} of the runs: {goal} ({share:.1%}).\n"


def _row(name: str, judged: Sequence[Judged]) -> str:
    which = "; ".join(
        f"seed {each.seed}: {', '.join([*each.steps, *each.epochs])}" for each in judged if each.steps or each.epochs
    )
    counts = (len(judged), sum(bool(each.steps) for each in judged), sum(bool(each.epochs) for each in judged))
    return f"| {name} | {' | '.join(map(str, counts))} | {'' if name == 'all' else which} |"


@click.command()
@click.option("--seeds", default=10, help="Runs of each problem.")
@click.option("--first-seed", default=FIRST_SEED, show_default=True, help="The seed of the first of them.")
@click.option("--problems", default=",".join(PROBLEMS), help="Names, with commas between them.")
@click.option("--every", type=int, help="Measure every so many steps.  [default: as often as costs allow]")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(seeds: int, first_seed: int, problems: str, every: int | None, results: Path | None) -> None:
    """Count what is found wrong with healthy runs of the built-in problems."""
    torch.set_num_threads(1)
    about = environment.describe()
    runs = [(problem, seed) for problem in problems.split(",") for seed in range(first_seed, first_seed + seeds)]
    judged = [run(*each, every) for each in track(runs, "healthy runs", console=Console(stderr=True), transient=True)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["problem", "seed", "by steps", "by epochs", "notes"])
    writer.writerows(
        [each.problem, each.seed, *map("; ".join, (each.steps, each.epochs, each.notes))] for each in judged
    )
    facts = "".join(f"- {name}: {value}\n" for name, value in (about | {"load after": environment.load()}).items())
    page = f"# Alarms on healthy runs\n\n{summary(judged)}\n{facts}"
    folder = results or FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{environment.machine()}-false-alarms"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "runs.csv", text.getvalue().encode())
    write_atomically(folder / "summary.md", page.encode())
    click.echo(page + f"\nwritten to {folder}")


if __name__ == "__main__":
    main()
