"""From single timings to medians, goals and a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import Any

from benchmarks.goals import Goal
from benchmarks.gpu.cases import Case
from benchmarks.gpu.contenders import CONTENDERS, OURS
from benchmarks.gpu.timing import COPY, Once, Sample, copied_bytes

LABELS = {contender.name: contender.label for contender in CONTENDERS}
MOST_BEYOND = 1e6  # bytes
QUICK = "Made with --quick, in tiny sizes: this shows that everything runs, and no number here means anything."


@dataclass(frozen=True)
class Row:
    """A contender in a case; times in seconds per step.

    Args:
        contender: Who.
        gpu: The GPU's median time.
        low: Its lower quartile.
        high: Its upper quartile.
        processor: The median time that the call took.
        times_ours: Its median divided by ours.
        late: How many steps the GPU began before the call had returned: their time may hold waiting.
    """

    contender: str
    gpu: float
    low: float
    high: float
    processor: float
    times_ours: float
    late: int


@dataclass(frozen=True)
class Summary:
    """A case, summarized.

    Args:
        case: The case.
        rows: Its contenders, ours first.
        once: What was measured once, by contender.
        copy: The copy's bytes per second, read and written.
        in_cache: Whether what is copied fits in the GPU's cache, so that the copy may not be one of memory.
        goals: What to reach.
    """

    case: Case
    rows: Sequence[Row]
    once: Mapping[str, Once]
    copy: float
    in_cache: bool
    goals: Sequence[Goal]

    @property
    def of_copy(self) -> float:
        """Our bytes per second as a fraction of the copy's."""
        return self.case.bytes_per_step / self.rows[0].gpu / self.copy


def summarize(case: Case, samples: Iterable[Sample], once: Mapping[str, Once], cache: int = 0) -> Summary:
    """Summarize the timings of a case.

    Args:
        case: The case.
        samples: All its timings, in which ours are.
        once: What was measured once, by contender.
        cache: The bytes of the GPU's L2 cache. Default 0.

    Returns:
        The summary.
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.contender, []).append(sample)
    copy = 2 * copied_bytes(case) / (median(sample.gpu for sample in by_name.pop(COPY)) / 1e9)
    ours = median(sample.gpu for sample in by_name[OURS])
    rows = [_row(name, by_name[name], ours) for name in LABELS if name in by_name]
    found = Summary(case, rows, once, copy, 2 * copied_bytes(case) <= cache, [])
    return replace(found, goals=list(_goals(case, found)))


def _row(name: str, samples: Sequence[Sample], ours: float) -> Row:
    times = [sample.gpu for sample in samples]
    low, middle, high = quantiles(times, n=4, method="inclusive")
    processor = median(sample.processor for sample in samples)
    late = sum(not sample.ahead for sample in samples)
    return Row(name, middle / 1e9, low / 1e9, high / 1e9, processor / 1e9, middle / ours, late)


def _goals(case: Case, found: Summary) -> Iterable[Goal]:
    if case.tiny:
        return
    by_name = {row.contender: row for row in found.rows}
    for name, times in case.at_least.items():
        measured = by_name[name].times_ours if name in by_name else None
        yield Goal(case.title, f"times faster than {LABELS[name]}", times, measured)
    if case.of_copy is not None:
        yield Goal(case.title, "of the copy's bandwidth", case.of_copy, found.of_copy)
    if case.processor_seconds is not None:
        limit, measured = 1e6 * case.processor_seconds, 1e6 * by_name[OURS].processor
        yield Goal(case.title, "µs of the processor per step()", limit, measured, at_least=False)
    beyond = found.once[OURS].beyond / 1e6
    yield Goal(case.title, "MB beyond parameters, gradients and state", MOST_BEYOND / 1e6, beyond, at_least=False)


def page(summaries: Sequence[Summary], environment: Mapping[str, Any]) -> str:
    """Return the results as a page in Markdown.

    Args:
        summaries: One per case.
        environment: What it was measured on.
    """
    quick = any(summary.case.tiny for summary in summaries)
    lines = [
        f"# One step on a GPU{', quick' if quick else ''}",
        "",
        QUICK if quick else "Medians by the GPU's clock, each call put in line before the GPU began it.",
    ]
    lines += [] if quick else ["", *_goal_lines(summaries)]
    for summary in summaries:
        lines += ["", f"## {summary.case.title}", "", _about(summary), ""]
        header = ["", "GPU, ms", "quartiles", "× rmsprop", "processor, µs", "beyond, MB", "first step, s", "late"]
        lines += [_line(header), _line(["---", *["---:"] * 7])]
        lines += [_line(_cells(row, summary.once[row.contender])) for row in summary.rows]
        waiting = [LABELS[name] for name, once in summary.once.items() if once.waits]
        lines += [f"\n{label} waits for the GPU in its call; its times hold that waiting." for label in waiting]
        lines += [f"\n{LABELS[name]}: {once.missing}." for name, once in summary.once.items() if once.missing]
    lines += ["", "## Measured on", "", *(f"- {name}: {value}" for name, value in environment.items())]
    return "\n".join(lines) + "\n"


def _goal_lines(summaries: Sequence[Summary]) -> Iterable[str]:
    yield _line(["goal", "required", "measured", "verdict"])
    yield _line(["---", "---:", "---:", "---"])
    for goal in (goal for summary in summaries for goal in summary.goals):
        bound = f"{'≥' if goal.at_least else '≤'} {goal.required:g}"
        measured = "–" if goal.measured is None else f"{goal.measured:.3g}"
        yield _line([f"{goal.case}: {goal.text}", bound, measured, goal.verdict])


def _about(summary: Summary) -> str:
    moved = summary.case.bytes_per_step / 1e9
    where = " within the cache, in which it fits" if summary.in_cache else ""
    speed = f"a copy moves {summary.copy / 1e9:.0f} GB/s{where}"
    return f"{moved:.3g} GB per step; {speed}, rmsprop {summary.of_copy:.2f} of that."


def _cells(row: Row, once: Once) -> list[str]:
    quartiles = f"{1e3 * row.low:.4g} – {1e3 * row.high:.4g}"
    processor = "waits" if once.waits else f"{1e6 * row.processor:.0f}"
    times = f"{1e3 * row.gpu:.4g}", quartiles, f"{row.times_ours:.2f}", processor
    return [LABELS[row.contender], *times, f"{once.beyond / 1e6:.2f}", f"{once.first_step:.2f}", str(row.late)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
