"""Results for people: tables in the terminal, a page in Markdown, and everything in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cases import LIBRARIES, Case
from benchmarks.contenders import COMPOSITE, CONTENDERS, DEFAULT, ORDINARY, OURS
from benchmarks.goals import Goal
from benchmarks.startup import Start
from benchmarks.summary import FLOOR, Row

LABELS = {FLOOR: "floor: a stream kernel", **{contender.name: contender.label for contender in CONTENDERS}}
SHORT = {DEFAULT: "for-loop", "foreach": "foreach", "compiled": "compiled", "adagrad": "fused Adagrad"}
SHORT |= {"adam": "fused Adam", "hand-written": "hand-written", "careful": "careful", "optax": "Optax"}
SHORT |= {"stochastic": "stochastic", "kahan": "Kahan", "adamw-schedule-free": "schedulefree's AdamW"}
SHORT |= {COMPOSITE: "fused=False", ORDINARY: "ordinary", "keras": "Keras", "none": "no update"}

READING = (
    "The floor and the columns on the right say how many times as long as rmsprop's their step takes. They are medians "
    "of the quotients within each round, and need not be the quotients of two medians. The floor is a loop that moves "
    "the same bytes and computes next to nothing. torch's default is the for-loop."
)


@dataclass(frozen=True)
class Results:
    """Everything a run of the benchmarks found.

    Args:
        environment: What it was measured on.
        cases: The cases, in order.
        summaries: What `summary.summarize` returned for each, by name.
        first_steps: Per case and contender, the seconds of the first step.
        memory: What `memory.measure` yielded.
        startup: Medians by command.
        goals: Everything to reach.
        drawn: Whether there is a chart.
    """

    environment: Mapping[str, Any]
    cases: Sequence[Case]
    summaries: Mapping[str, Mapping[str, Any]]
    first_steps: Mapping[str, Mapping[str, float]]
    memory: Sequence[Mapping[str, Any]]
    startup: Mapping[str, Start]
    goals: Sequence[Goal]
    drawn: bool

    @property
    def caption(self) -> str:
        """The settings, in one sentence."""
        about = self.environment
        rounds = {case.rounds * case.placements for case in self.cases} or {0}
        return (
            f"float32, {about['threads']} threads (JAX: all CPUs), torch {about['torch']}, NumPy {about['numpy']}, "
            f"JAX {about['jax']}, {about['cpu']} ({about['cpus']} CPUs, {about['instruction set']}); whole step() as "
            f"called; {min(rounds)} to {max(rounds)} interleaved rounds: medians, of processor time middle means. With "
            "all options fused Adagrad moves 5/9 of the bytes, Adam (with amsgrad) the same."
        )


def duration(seconds: float) -> str:
    """Return a time with its unit and three digits: ``6.42 ms``."""
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{three_digits(seconds * factor)} {unit}"


def three_digits(number: float) -> str:
    """Return a number with three digits that count: ``0.94``, ``6.42``, ``28.1``, ``118``."""
    rounded = float(f"{number:.3g}")
    decimals = 2 if abs(rounded) < 10 else 1 if abs(rounded) < 100 else 0
    return f"{rounded:.{decimals}f}"


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Return the rows as a reader wants them: the floor, rmsprop, then the others."""
    order = [FLOOR, OURS, *(name for name in LABELS if name not in (FLOOR, OURS))]
    return sorted(rows, key=lambda row: order.index(row.contender))


def to_json(results: Results) -> str:
    """Return everything but the single timings."""
    cases = {
        case.name: {
            "title": case.title,
            "library": case.library,
            "situation": case.situation,
            "parameters": case.parameters,
            "tensors": len(case.shapes),
            "bytes_per_step": case.bytes_per_step,
            "gigabytes_per_second": results.summaries[case.name]["gigabytes_per_second"],
            "first_step_seconds": results.first_steps[case.name],
            "seconds_per_step": [asdict(row) for row in results.summaries[case.name]["rows"]],
        }
        for case in results.cases
    }
    content = {
        "environment": dict(results.environment),
        "cases": cases,
        "memory": list(results.memory),
        "startup_seconds": {name: start._asdict() for name, start in results.startup.items()},
        "goals": [asdict(goal) | {"verdict": goal.verdict} for goal in results.goals],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def show(results: Results, console: Console) -> None:
    """Print a table per case and one of the goals."""
    for case in results.cases:
        summary = results.summaries[case.name]
        speed = f", rmsprop at {summary['gigabytes_per_second']:.1f} GB/s" if case.floor is not None else ""
        table = Table(title=case.heading + speed, title_justify="left")
        for heading in ("", "median", "quartiles", "× rmsprop", "processor", "× rmsprop"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for row in ordered(summary["rows"]):
            quartiles = f"{duration(row.low)} – {duration(row.high)}"
            wall = duration(row.median), quartiles, three_digits(row.times_ours)
            table.add_row(LABELS[row.contender], *wall, duration(row.processor), three_digits(row.processor_times_ours))
        console.print(table)
    console.print(_goals_table(results.goals))


def _goals_table(goals: Sequence[Goal]) -> Table:
    table = Table(title="goals", title_justify="left")
    table.add_column("")  # the one that may take two lines: numbers are not cut
    for heading in ("what", "to reach", "measured", ""):
        table.add_column(heading, no_wrap=True)
    for goal in goals:
        *cells, verdict = _goal_cells(goal)
        table.add_row(*cells, verdict if verdict == "reached" else f"[bold]{verdict}[/bold]")
    return table


def _goal_cells(goal: Goal) -> list[str]:
    sign = "≥" if goal.at_least else "≤"
    measured = "–" if goal.measured is None else three_digits(goal.measured)
    return [goal.case, goal.text, f"{sign} {goal.required:.3g}", measured, goal.verdict]


def to_markdown(results: Results) -> str:
    """Return the page for the README and the details below it."""
    chart = ["![Times per step, memory and start-up](chart.png)", ""] if results.drawn else []
    lines = ["# Benchmarks", "", *chart, results.caption, ""]
    for name, library in LIBRARIES.items():
        cases = [case for case in results.cases if case.library == name]
        lines += _table_lines(results, library, [case for case in cases if not case.situation or case.backend])
        lines += _table_lines(results, f"{library}, unusual", [c for c in cases if c.situation and not c.backend])
    lines += [READING, ""]
    lines += [*_memory_lines(results), *_startup_lines(results), *_goal_lines(results), *_details(results)]
    return "\n".join(lines) + "\n"


def _table_lines(results: Results, title: str, cases: Sequence[Case]) -> list[str]:
    if not cases:
        return []
    found = {row.contender for case in cases for row in results.summaries[case.name]["rows"]}
    names = [name for name in SHORT if name in found]
    head = [title, "rmsprop", "floor", *(SHORT[name] for name in names)]
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    return [*lines, *(_line(_overview(results, case, names)) for case in cases), ""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _overview(results: Results, case: Case, names: Sequence[str]) -> list[str]:
    rows = {row.contender: row for row in results.summaries[case.name]["rows"]}
    speed = f", {results.summaries[case.name]['gigabytes_per_second']:.0f} GB/s" if case.floor is not None else ""
    reached = f"{rows[FLOOR].times_ours:.2f}" if case.floor is not None else "–"
    times = (f"{three_digits(rows[name].times_ours)}×" if name in rows else "–" for name in names)
    return [case.title, f"{duration(rows[OURS].median)}{speed}", reached, *times]


def _memory_lines(results: Results) -> list[str]:
    if not results.memory:
        return []
    titles = {case.name: case.heading for case in results.cases}
    lines = [
        _line(["peak memory beyond parameters, gradients and state (no compiler running)", "MB"]),
        _line(["---", "---:"]),
    ]
    for found in results.memory:
        what = f"{LABELS[found['contender']]}: {titles[found['case']]}"
        lines.append(_line([what, f"{found['beyond'] / 1e6:.1f}"]))
    return [*lines, ""]


def _startup_lines(results: Results) -> list[str]:
    if not results.startup:
        return []
    lines = [_line(["fresh process", "median", "processor"]), _line(["---", "---:", "---:"])]
    lines += [_line([f"`{name}`", *map(duration, start)]) for name, start in results.startup.items()]
    return [*lines, ""]


def _goal_lines(results: Results) -> list[str]:
    lines = [_line(["goal", "what", "to reach", "measured", ""]), _line(["---", "---", "---:", "---:", "---"])]
    return [*lines, *(_line(_goal_cells(goal)) for goal in results.goals), ""]


def _details(results: Results) -> list[str]:
    lines = ["## Details", ""]
    lines += [f"- {name}: {value}" for name, value in results.environment.items()]
    for case in results.cases:
        first = results.first_steps[case.name]
        lines += ["", f"### {case.heading}", ""]
        lines.append(
            _line(["seconds per step", "median", "quartiles", "least", "× rmsprop", "processor", "× rmsprop", "first"])
        )
        lines.append(_line(["---", *["---:"] * 7]))
        for row in ordered(results.summaries[case.name]["rows"]):
            begun = duration(first[row.contender]) if row.contender in first else "–"
            quartiles = f"{duration(row.low)} – {duration(row.high)}"
            wall = duration(row.median), quartiles, duration(row.least), three_digits(row.times_ours)
            processor = duration(row.processor), three_digits(row.processor_times_ours)
            lines.append(_line([LABELS[row.contender], *wall, *processor, begun]))
    return lines
