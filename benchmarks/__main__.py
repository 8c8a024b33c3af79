"""``python -m benchmarks``: measure everything, show it, write it down."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import chart, environment, history, memory, report, startup, summary, timing
from benchmarks.apart import measure_apart
from benchmarks.cases import CASES, Case
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.entry import THREADS
from rmsprop.files import write_atomically

FOLDER = Path(__file__).with_name("results")
NAMES = (*(case.name for case in CASES), startup.NAME)


@click.command()
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that everything runs; not for the history.")
@click.option("--skip-compile", is_flag=True, help="Leave torch.compile out, which takes minutes to compile.")
@click.option(
    "names",
    "--case",
    type=click.Choice(NAMES),
    metavar="NAME",
    multiple=True,
    help=f"Measure this case only, and draw no chart; can be given several times: {', '.join(NAMES)}.",
)
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(quick: bool, skip_compile: bool, names: tuple[str, ...], results: Path | None) -> None:
    """Measure steps of rmsprop against other ways to take one and against the floor of the memory."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    about = environment.describe()
    folder = results or FOLDER / f"{about['date']}-{environment.machine()}"
    contenders = [contender for contender in CONTENDERS if not (contender.compiled and skip_compile)]
    found, timings = _run(names or NAMES, quick, contenders, about)
    console = Console(width=100)
    report.show(found, console)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**timings, **_written(found)}.items():
        write_atomically(folder / name, content)
    if not quick:
        history.append(history.entries(found), history.HISTORY)
    console.print(f"written to {folder}", soft_wrap=True)


def _run(
    names: Sequence[str], quick: bool, contenders: Sequence[Contender], about: dict[str, str | int | float]
) -> tuple[report.Results, dict[str, bytes]]:
    """Measure what is named; return the results, and every timing as files to write."""
    cases = [case.quick() if quick else case for case in CASES if case.name in names]
    samples, first_steps = [], {}
    columns = TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True, width=100), transient=True) as progress:
        bar = progress.add_task("", total=sum(case.rounds * case.placements for case in cases))
        for nth, case in enumerate(cases):
            progress.update(bar, description=case.title)
            timings, first_steps[case.name] = _measure(case, contenders, lambda: progress.advance(bar))
            samples += timings
            progress.update(bar, completed=sum(case.rounds * case.placements for case in cases[: nth + 1]))
        progress.update(bar, description="memory and start-up", total=None)
        used = list(memory.measure(cases, contenders, quick))
        starts = startup.measure(3 if quick else 21) if startup.NAME in names else {}
    about["load after"] = environment.load()
    summaries = {case.name: summary.summarize(case, (s for s in samples if s.case == case.name)) for case in cases}
    goals = [goal for found in summaries.values() for goal in found["goals"]]
    goals += [*memory.goals(used), *startup.goals(starts)]
    drawn = set(names) == set(NAMES)
    results = report.Results(about, cases, summaries, first_steps, used, startup.medians(starts), goals, drawn)
    every_start = ((name, *start) for name, taken in starts.items() for start in taken)
    return results, {
        "timings.csv": _csv([field.name for field in fields(timing.Sample)], map(astuple, samples)),
        "startup.csv": _csv(["command", *startup.Start._fields], every_start),
    }


def _measure(
    case: Case, contenders: Sequence[Contender], on_round: Callable[[], object]
) -> tuple[list[timing.Sample], dict[str, float]]:
    return measure_apart(case) if case.backend else timing.measure(case, contenders, on_round)


def _written(results: report.Results) -> dict[str, bytes]:
    """Return the files that tell of results."""
    pages = {"results.json": report.to_json(results).encode(), "summary.md": report.to_markdown(results).encode()}
    return pages | ({"chart.png": chart.draw(results)} if results.drawn else {})


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


if __name__ == "__main__":
    main()
