"""``python -m benchmarks.redraw FOLDER``: what a run left, told anew from its timings; nothing is measured."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import chart, report, summary
from benchmarks.cases import CASES
from benchmarks.goals import Goal
from benchmarks.startup import Start
from benchmarks.timing import Sample
from rmsprop.files import write_atomically


def read(folder: Path) -> report.Results:
    """Return the results of a run.

    Args:
        folder: Where its ``results.json`` and ``timings.csv`` are.

    Returns:
        Medians and quotients computed from all timings; everything else as it was written.
    """
    stored = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    with (folder / "timings.csv").open(encoding="utf-8", newline="") as file:
        samples = [_sample(row) for row in csv.DictReader(file)]
    cases = [case for case in CASES if case.name in stored["cases"]]
    return report.Results(
        environment=stored["environment"],
        cases=cases,
        summaries={case.name: summary.summarize(case, (s for s in samples if s.case == case.name)) for case in cases},
        first_steps={name: case["first_step_seconds"] for name, case in stored["cases"].items()},
        memory=stored["memory"],
        startup={name: Start(**start) for name, start in stored["startup_seconds"].items()},
        goals=[_goal(goal) for goal in stored["goals"]],
        drawn=(folder / "chart.png").exists(),
    )


def _sample(row: dict[str, Any]) -> Sample:
    text = "case", "contender"
    return Sample(**{name: value if name in text else int(value) for name, value in row.items()})


def _goal(stored: dict[str, Any]) -> Goal:
    return Goal(**{name: value for name, value in stored.items() if name != "verdict"})


def main(folder: str) -> None:
    """Write a run's page, its results and its chart anew.

    Args:
        folder: Where they are.
    """
    results = read(Path(folder))
    write_atomically(Path(folder, "summary.md"), report.to_markdown(results).encode())
    write_atomically(Path(folder, "results.json"), report.to_json(results).encode())
    if results.drawn:
        write_atomically(Path(folder, "chart.png"), chart.draw(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
