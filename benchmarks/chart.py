"""The chart: a panel per case on PyTorch, one for memory and one for start-up."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.contenders import DEFAULT, OURS
from benchmarks.report import SHORT, Results, ordered, three_digits
from benchmarks.startup import LIMIT, QUICK
from benchmarks.summary import FLOOR

# Okabe and Ito's colours, which stay apart for colour-blind eyes.
BLUE, VERMILION, GREY, BLACK = "#0072B2", "#D55E00", "#999999", "#000000"
COLOURS = {OURS: BLUE, DEFAULT: VERMILION}
NOTE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}  # readable across the dashed line
STYLE = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(results: Results) -> bytes:
    """Draw the chart.

    Args:
        results: What to show.

    Returns:
        A PNG file's content.
    """
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 15.5), layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(4, 2).flat)
        cases = [case for case in results.cases if case.library == "torch" and not case.situation]
        for axes, case in zip(panels, cases, strict=False):
            _times(axes, results, case.name, case.title)
        _memory(panels[-2], results)
        _startup(panels[-1], results)
        figure.suptitle("One optimizer step: rmsprop against torch (shorter is better)", fontsize=20)
        caption = f"{results.caption} In brackets: how often rmsprop's step fits into theirs. Dashed: the floor."
        figure.supxlabel("\n".join(textwrap.wrap(caption, 92)), fontsize=14)
        figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _times(axes: Axes, results: Results, name: str, title: str) -> None:
    rows = {row.contender: row for row in ordered(results.summaries[name]["rows"])}
    slow = max(row.median for row in rows.values())
    unit, factor = ("ms", 1e3) if slow >= 1e-3 else ("µs", 1e6)
    floor = rows.pop(FLOOR, None)
    values = {who: row.median * factor for who, row in rows.items()}
    notes = [f"{three_digits(values[who])}  ({three_digits(row.times_ours)}×)" for who, row in rows.items()]
    notes[0] = three_digits(values[OURS]) + (f"  ({floor.times_ours:.2f} of floor)" if floor else "")
    _bars(axes, values, notes, f"{unit} per step")
    _title(axes, title)
    if floor:
        axes.axvline(floor.median * factor, color=BLACK, linestyle="--", linewidth=1.2)


def _memory(axes: Axes, results: Results) -> None:
    found = [row for row in results.memory if row["case"] == results.cases[0].name]
    values = {row["contender"]: row["beyond"] / 1e6 for row in found}
    _bars(axes, values, [f"{value:.0f}" for value in values.values()], "MB beyond the tensors")
    _title(axes, "peak memory, one tensor of 20 M")


def _startup(axes: Axes, results: Results) -> None:
    values = {name: 1e3 * results.startup[name].wall for name in QUICK}
    colours = [BLUE if "rmsprop" in name else GREY for name in values]
    _bars(axes, values, [f"{value:.0f}" for value in values.values()], "ms until a fresh process ends", colours)
    axes.axvline(1e3 * LIMIT, color=BLACK, linestyle="--", linewidth=1.2)
    axes.set_xlim(0, 1.3 * max(1e3 * LIMIT, *values.values()))
    _title(axes, "start-up (dashed: limit)")


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", x=-0.42)  # from above the labels, where long ones fit


def _bars(
    axes: Axes, values: dict[str, float], notes: Sequence[str], label: str, colours: Sequence[str] | None = None
) -> None:
    """Draw horizontal bars, the first on top, each with a note at its end."""
    labels = [SHORT.get(name, name) for name in values]
    bars = axes.barh(labels, list(values.values()), color=colours or [COLOURS.get(name, GREY) for name in values])
    axes.bar_label(bars, notes, padding=5, fontsize=14, bbox=NOTE)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values.values()) * 1.5)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)
